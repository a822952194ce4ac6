"""HAProxy's keywords for the process as a whole, and those of a stats socket (see keywords.py)."""

from __future__ import annotations

from typing import Final

from ferryman.config.dialects.haproxy.keywords import Table, word_set

GLOBAL: Final = Table(
    "keyword",
    """
    51degrees-cache-size | g | not yet |
    51degrees-data-file | g | not yet |
    51degrees-property-name-list | g | not yet |
    51degrees-property-separator | g | not yet |
    anonkey | g | quiet |
    busy-polling | g | inert | workers sleep while there is nothing to do
    ca-base | g | yes |
    chroot | g | yes |
    close-spread-time | g | inert | a stop ends connections at once, or drains them
    cluster-secret | g | quiet |
    cpu-map | g | inert | the kernel places the workers
    cpu-policy | g | inert | the kernel places the workers
    cpu-set | g | inert | the kernel places the workers
    crt-base | g | yes |
    daemon | g | yes | honoured by `ferryman start`, noted by `ferryman run`
    debug | g | inert | use `ferryman run`
    default-path | g | not yet | files are found from the working folder
    description | g | quiet |
    deviceatlas-json-file | g | not yet |
    deviceatlas-log-level | g | not yet |
    deviceatlas-properties-cookie | g | not yet |
    deviceatlas-separator | g | not yet |
    expose-deprecated-directives | g | quiet |
    expose-experimental-directives | g | quiet |
    external-check | g | not yet |
    fd-hard-limit | g | inert | the limit of the process is used
    force-cfg-parser-pause | g | quiet |
    gid | g | yes |
    grace | g | inert | listeners close at once when a stop begins
    group | g | yes |
    h1-accept-payload-with-any-method | g | quiet | of HTTP mode only
    h1-case-adjust | g | quiet | of HTTP mode only
    h1-case-adjust-file | g | quiet | of HTTP mode only
    h1-do-not-close-on-insecure-transfer-encoding | g | quiet | of HTTP mode only
    h2-workaround-bogus-websocket-clients | g | quiet | of HTTP mode only
    hard-stop-after | g | yes |
    harden.reject-privileged-ports.tcp | g | not yet |
    harden.reject-privileged-ports.quic | g | not yet |
    http-err-codes | g | quiet | of HTTP mode only
    http-fail-codes | g | quiet | of HTTP mode only
    httpclient.resolvers.disabled | g | quiet |
    httpclient.resolvers.id | g | quiet |
    httpclient.resolvers.prefer | g | quiet |
    httpclient.retries | g | quiet |
    httpclient.ssl.ca-file | g | quiet |
    httpclient.ssl.verify | g | quiet |
    httpclient.timeout.connect | g | quiet |
    insecure-fork-wanted | g | quiet |
    insecure-setuid-wanted | g | quiet |
    issuers-chain-path | g | inert | intermediate certificates are looked for in the file and its folder
    key-base | g | quiet | keys are in the file of the certificate, or beside it
    limited-quic | g | quiet |
    localpeer | g | quiet |
    log | g | yes |
    log-send-hostname | g | yes |
    log-tag | g | yes |
    lua-load | g | not yet |
    lua-load-per-thread | g | not yet |
    lua-prepend-path | g | not yet |
    master-worker | g | quiet | there always is a supervisor with workers
    max-spread-checks | g | inert | checks are always spread
    maxcompcpuusage | g | quiet | of HTTP mode only
    maxcomprate | g | quiet | of HTTP mode only
    maxconn | g | yes |
    maxconnrate | g | not yet |
    maxpipes | g | inert | pipes are taken as the kernel gives them
    maxsessrate | g | not yet |
    maxsslconn | g | inert | write `maxconn`
    maxsslrate | g | inert | the rate is not limited
    maxzlibmem | g | quiet | of HTTP mode only
    mworker-max-reloads | g | inert | a reload leaves no process behind
    nbproc | g | removed | leave it out, or write `nbthread`: one worker per CPU is the default
    nbthread | g | yes | the number of workers
    nbtgroups | g | removed | leave it out
    no | g | yes | before busy-polling, log, set-dumpable, strict-limits and the like
    no-memory-trimming | g | quiet |
    no-quic | g | quiet |
    node | g | yes |
    noepoll | g | inert | there is only epoll
    noevports | g | quiet |
    nogetaddrinfo | g | inert | there is only getaddrinfo
    nokqueue | g | quiet |
    nopoll | g | quiet |
    noreuseport | g | quiet |
    nosplice | g | inert | long streams are always spliced
    numa-cpu-mapping | g | quiet |
    pidfile | g | yes |
    pp2-never-send-local | g | quiet |
    prealloc-fd | g | quiet |
    presetenv | g | yes |
    profiling.memory | g | quiet |
    profiling.tasks | g | quiet |
    quiet | g | quiet |
    resetenv | g | yes |
    server-state-base | g | inert | a reload keeps the servers' states without a file
    server-state-file | g | inert | a reload keeps the servers' states without a file
    set-dumpable | g | quiet |
    set-var | g | not yet |
    set-var-fmt | g | not yet |
    setcap | g | not yet |
    setenv | g | yes |
    spread-checks | g | inert | checks are always spread
    ssl-default-bind-ciphers | g | yes |
    ssl-default-bind-ciphersuites | g | yes |
    ssl-default-bind-client-sigalgs | g | inert | OpenSSL decides
    ssl-default-bind-curves | g | yes |
    ssl-default-bind-options | g | yes |
    ssl-default-bind-sigalgs | g | inert | OpenSSL decides
    ssl-default-server-ciphers | g | yes |
    ssl-default-server-ciphersuites | g | yes |
    ssl-default-server-client-sigalgs | g | inert | OpenSSL decides
    ssl-default-server-curves | g | yes |
    ssl-default-server-options | g | yes |
    ssl-default-server-sigalgs | g | inert | OpenSSL decides
    ssl-dh-param-file | g | inert | OpenSSL decides
    ssl-engine | g | inert | OpenSSL decides
    ssl-load-extra-del-ext | g | inert | FILE.key, FILE.ocsp and FILE.issuer are read where they are
    ssl-load-extra-files | g | inert | FILE.key, FILE.ocsp and FILE.issuer are read where they are
    ssl-mode-async | g | inert | OpenSSL decides
    ssl-propquery | g | inert | OpenSSL decides
    ssl-provider | g | inert | OpenSSL decides
    ssl-provider-path | g | inert | OpenSSL decides
    ssl-security-level | g | inert | OpenSSL decides
    ssl-server-verify | g | yes |
    ssl-skip-self-issued-ca | g | inert | OpenSSL decides
    stats | g | yes | socket and timeout
    stats-file | g | inert | a reload keeps the counters without a file
    strict-limits | g | inert | a limit too low is said in the log
    thread-group | g | inert | the kernel places the workers
    thread-groups | g | inert | the kernel places the workers
    thread-hard-limit | g | inert | write `nbthread`
    uid | g | yes |
    ulimit-n | g | inert | the limit of the process is used
    unix-bind | g | not yet |
    unsetenv | g | yes |
    user | g | yes |
    warn-blocked-traffic-after | g | quiet |
    wurfl-cache-size | g | not yet |
    wurfl-data-file | g | not yet |
    wurfl-information-list | g | not yet |
    wurfl-information-list-separator | g | not yet |
    zero-warning | g | inert | use `ferryman check --strict`
    """,
)

TUNE: Final = word_set(
    """
    applet.zero-copy-forwarding buffers.limit buffers.reserve bufsize bufsize.large bufsize.small comp.maxlevel
    disable-fast-forward disable-zero-copy-forwarding epoll.mask-events events.max-events-at-once fail-alloc
    fd.edge-triggered glitches.kill.cpu-usage h1.zero-copy-fwd-recv h1.zero-copy-fwd-send h2.be.glitches-threshold
    h2.be.initial-window-size h2.be.max-concurrent-streams h2.be.rxbuf h2.fe.glitches-threshold
    h2.fe.initial-window-size h2.fe.max-concurrent-streams h2.fe.max-total-streams h2.fe.rxbuf h2.header-table-size
    h2.initial-window-size h2.max-concurrent-streams h2.max-frame-size h2.zero-copy-fwd-send http.cookielen
    http.logurilen http.maxhdr idle-pool.shared idletimer listener.default-shards listener.multi-queue
    lua.bool-sample-conversion lua.burst-timeout lua.forced-yield lua.log.loggers lua.log.stderr lua.maxmem
    lua.service-timeout lua.session-timeout lua.task-timeout max-checks-per-thread max-rules-at-once maxaccept
    maxpollevents maxrewrite memory.hot-size notsent-lowat.client notsent-lowat.server pattern.cache-size
    peers.max-updates-at-once pipesize pool-high-fd-ratio pool-low-fd-ratio pt.zero-copy-forwarding
    quic.frontend.conn-tx-buffers.limit quic.frontend.max-idle-timeout quic.frontend.max-streams-bidi
    quic.retry-threshold quic.socket-owner quic.zero-copy-fwd-send rcvbuf.backend rcvbuf.client rcvbuf.frontend
    rcvbuf.server recv_enough renice.runtime renice.startup ring.queues runqueue-depth sched.low-latency
    sndbuf.backend sndbuf.client sndbuf.frontend sndbuf.server ssl.cachesize ssl.capture-buffer-size
    ssl.capture-cipherlist-size ssl.default-dh-param ssl.force-private-cache ssl.hard-maxrecord ssl.keylog
    ssl.lifetime ssl.maxrecord ssl.ocsp-update.maxdelay ssl.ocsp-update.mindelay ssl.ssl-ctx-cache-size
    stick-counters takeover-other-tg-connections vars.check-max-size vars.global-max-size vars.proc-max-size
    vars.reqres-max-size vars.sess-max-size vars.txn-max-size zlib.memlevel zlib.windowsize
    """
)
"""What may follow `tune.`: accepted with a warning that it has no effect."""

SOCKET: Final = Table(
    "stats socket keyword",
    """
    expose-fd | 1 | quiet | listeners are kept over a reload without it
    gid | 1 | yes |
    group | 1 | yes |
    id | 1 | quiet |
    level | 1 | yes |
    maxconn | 1 | inert |
    mode | 1 | yes |
    name | 1 | quiet |
    process | 1 | quiet |
    severity-output | 1 | not yet |
    thread | 1 | quiet |
    uid | 1 | yes |
    user | 1 | yes |
    """,
)
"""The second column is the number of arguments."""
