"""HAProxy's keywords that follow the address of a `bind` or a `server` (see keywords.py).

The second column is the number of arguments.
"""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.haproxy.keywords import Table

BIND: Final = Table(
    "bind keyword",
    """
    accept-netscaler-cip | 1 | not yet |
    accept-proxy | 0 | yes | on all addresses of its proxy or on none
    allow-0rtt | 0 | not yet |
    alpn | 1 | yes |
    backlog | 1 | yes | on the only bind of its proxy
    ca-file | 1 | yes |
    ca-ignore-err | 1 | not yet |
    ca-sign-file | 1 | not yet |
    ca-sign-pass | 1 | not yet |
    ca-verify-file | 1 | not yet |
    cc | 1 | not yet |
    ciphers | 1 | yes |
    ciphersuites | 1 | yes |
    client-sigalgs | 1 | not yet |
    crl-file | 1 | yes |
    crt | 1 | yes |
    crt-ignore-err | 1 | not yet |
    crt-list | 1 | yes | files and names; options of one certificate and `!names` not yet
    curves | 1 | yes |
    default-crt | 1 | yes |
    defer-accept | 0 | quiet | a client is looked at when it speaks
    ecdhe | 1 | yes |
    expose-fd | 1 | quiet |
    force-sslv3 | 0 | not yet |
    force-tlsv10 | 0 | not yet |
    force-tlsv11 | 0 | not yet |
    force-tlsv12 | 0 | yes |
    force-tlsv13 | 0 | yes |
    generate-certificates | 0 | not yet |
    gid | 1 | not yet |
    group | 1 | not yet |
    guid-prefix | 1 | quiet |
    id | 1 | inert | addresses have no numbers
    idle-ping | 1 | not yet |
    interface | 1 | not yet |
    label | 1 | quiet |
    level | 1 | inert | of a stats socket only
    maxconn | 1 | yes | on the only bind of its proxy
    mode | 1 | not yet |
    mss | 1 | inert | the system's number is used
    name | 1 | quiet |
    namespace | 1 | yes | the namespace of the name; made with `ip netns add`
    nbconn | 1 | not yet |
    nice | 1 | inert | all connections are equal
    no-alpn | 0 | yes |
    no-ca-names | 0 | not yet |
    no-sslv3 | 0 | quiet | TLS 1.2 is the oldest there is
    no-strict-sni | 0 | yes |
    no-tls-tickets | 0 | yes |
    no-tlsv10 | 0 | quiet | TLS 1.2 is the oldest there is
    no-tlsv11 | 0 | quiet | TLS 1.2 is the oldest there is
    no-tlsv12 | 0 | yes |
    no-tlsv13 | 0 | yes |
    npn | 1 | not yet |
    ocsp-update | 1 | not yet |
    prefer-client-ciphers | 0 | inert | the order of this side counts
    process | 1 | inert | the kernel gives connections to workers
    proto | 1 | not yet |
    severity-output | 1 | inert | of a stats socket only
    shards | 1 | inert | the kernel gives connections to workers
    sigalgs | 1 | not yet |
    ssl | 0 | yes |
    ssl-max-ver | 1 | yes | TLS 1.2 and 1.3
    ssl-min-ver | 1 | yes | TLS 1.2 and 1.3
    strict-sni | 0 | yes |
    tcp-md5sig | 1 | not yet |
    tcp-ut | 1 | inert | the system's number is used
    tfo | 0 | inert | TCP fast open is off
    thread | 1 | inert | the kernel gives connections to workers
    tls-ticket-keys | 1 | not yet |
    tls-tickets | 0 | yes |
    transparent | 0 | yes | for all addresses of its proxy
    uid | 1 | not yet |
    user | 1 | not yet |
    v4v6 | 0 | yes |
    v6only | 0 | yes |
    verify | 1 | yes |
    """,
)

SERVER: Final = Table(
    "server keyword",
    """
    addr | 1 | yes |
    agent-addr | 1 | not yet |
    agent-check | 0 | not yet |
    agent-inter | 1 | not yet |
    agent-port | 1 | not yet |
    agent-send | 1 | not yet |
    allow-0rtt | 0 | not yet |
    alpn | 1 | yes |
    backup | 0 | yes |
    ca-file | 1 | yes |
    check | 0 | yes |
    check-alpn | 1 | yes |
    check-pool-conn-name | 1 | not yet |
    check-proto | 1 | not yet |
    check-reuse-pool | 0 | not yet |
    check-send-proxy | 0 | yes |
    check-sni | 1 | yes | without it checks ask for the name of `sni str(NAME)`, else for none
    check-ssl | 0 | yes |
    check-via-socks4 | 0 | not yet |
    ciphers | 1 | yes |
    ciphersuites | 1 | yes |
    client-sigalgs | 1 | not yet |
    cookie | 1 | http |
    crl-file | 1 | not yet |
    crt | 1 | yes |
    curves | 1 | yes |
    disabled | 0 | yes |
    downinter | 1 | yes |
    enabled | 0 | yes |
    error-limit | 1 | not yet |
    fall | 1 | yes |
    fastinter | 1 | yes |
    force-sslv3 | 0 | not yet |
    force-tlsv10 | 0 | not yet |
    force-tlsv11 | 0 | not yet |
    force-tlsv12 | 0 | yes |
    force-tlsv13 | 0 | yes |
    guid | 1 | quiet |
    hash-key | 1 | quiet | of `hash-type consistent` only
    id | 1 | inert | servers are numbered in the order of the file
    idle-ping | 1 | not yet |
    init-addr | 1 | quiet | last, libc and none; names are looked up again while the process runs
    init-state | 1 | not yet |
    inter | 1 | yes |
    log-bufsize | 1 | not yet |
    log-proto | 1 | not yet |
    max-reuse | 1 | http |
    maxconn | 1 | yes |
    maxqueue | 1 | yes |
    minconn | 1 | not yet | write a fixed `maxconn`
    namespace | 1 | not yet |
    no-agent-check | 0 | quiet |
    no-backup | 0 | yes |
    no-check | 0 | yes |
    no-check-reuse-pool | 0 | quiet |
    no-check-send-proxy | 0 | yes |
    no-check-ssl | 0 | yes |
    no-send-proxy | 0 | yes |
    no-send-proxy-v2 | 0 | yes |
    no-send-proxy-v2-ssl | 0 | yes |
    no-send-proxy-v2-ssl-cn | 0 | yes |
    no-ssl | 0 | yes |
    no-ssl-reuse | 0 | yes |
    no-sslv3 | 0 | quiet |
    no-tfo | 0 | quiet |
    no-tls-tickets | 0 | quiet |
    no-tlsv10 | 0 | quiet |
    no-tlsv11 | 0 | quiet |
    no-tlsv12 | 0 | yes |
    no-tlsv13 | 0 | yes |
    no-verifyhost | 0 | yes |
    non-stick | 0 | quiet |
    npn | 1 | not yet |
    observe | 1 | not yet |
    on-error | 1 | not yet |
    on-marked-down | 1 | yes | shutdown-sessions
    on-marked-up | 1 | not yet |
    pool-conn-name | 1 | http |
    pool-low-conn | 1 | http |
    pool-max-conn | 1 | http |
    pool-purge-delay | 1 | http |
    port | 1 | yes |
    proto | 1 | not yet |
    proxy-v2-options | 1 | yes | all but cert-sig and cert-key; unique-id is 16 random bytes, or the one received
    redir | 1 | http |
    resolve-net | 1 | inert | names are resolved by the system
    resolve-opts | 1 | inert | names are resolved by the system
    resolve-prefer | 1 | inert | names are resolved by the system
    resolvers | 1 | not yet | leave it out: names are resolved by the system, again and again
    rise | 1 | yes |
    send-proxy | 0 | yes |
    send-proxy-v2 | 0 | yes |
    send-proxy-v2-ssl | 0 | yes |
    send-proxy-v2-ssl-cn | 0 | yes |
    set-proxy-v2-tlv-fmt | 2 | not yet |
    shard | 1 | not yet |
    sigalgs | 1 | not yet |
    slowstart | 1 | not yet |
    sni | 1 | yes | ssl_fc_sni, req.ssl_sni, str(NAME); without `ssl` it does nothing, which earns a warning
    sni-auto | 0 | not yet |
    socks4 | 1 | not yet |
    source | 1 | yes | with usesrc and interface, without ranges of ports
    ssl | 0 | yes |
    ssl-max-ver | 1 | yes | TLS 1.2 and 1.3
    ssl-min-ver | 1 | yes | TLS 1.2 and 1.3
    ssl-reuse | 0 | yes |
    stick | 0 | quiet |
    strict-maxconn | 0 | quiet |
    tcp-md5sig | 1 | not yet |
    tcp-ut | 1 | inert | the system's number is used
    tfo | 0 | inert | TCP fast open is off
    tls-tickets | 0 | quiet |
    track | 1 | not yet |
    usesrc | 1 | yes | after source: client, clientip or an address; hdr_ip: not yet
    verify | 1 | yes |
    verifyhost | 1 | yes |
    weight | 1 | yes |
    ws | 1 | http |
    """,
)
