"""HAProxy's keywords, and what ferryman makes of each: the tables everything else in this dialect looks into.

A row is: name, the sections it may stand in (d defaults, f frontend, l listen, b backend; g global), what becomes of
it, and a note for people. Read by the sections' readers, by the reference documentation and by its test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word

YES: Final = "yes"  # does what it does in HAProxy
QUIET: Final = "quiet"  # accepted without a word: leaving it out changes nothing an operator could notice
INERT: Final = "inert"  # accepted with a warning: it has no effect
HTTP: Final = "http"  # of HTTP mode only: no effect on TCP proxies, as in HAProxy, where it warns as well
NOT_YET: Final = "not yet"  # refused by name
REMOVED: Final = "removed"  # HAProxy has it no more; the note says what took its place


@dataclass(frozen=True, slots=True)
class Keyword:
    """One row of a table."""

    name: str
    where: str
    support: str
    note: str = ""


class Table:
    """Keywords by name. `what` is how messages call one of them."""

    def __init__(self, what: str, rows: str) -> None:
        self.what = what
        self.rows: dict[str, Keyword] = {}
        for row in filter(None, map(str.strip, rows.splitlines())):
            name, where, support, note = (cell.strip() for cell in (row + " | | ").split("|")[:4])
            self.rows[name] = Keyword(name, where, support, note)

    def __iter__(self) -> Iterator[Keyword]:
        return iter(self.rows.values())

    def names(self, support: str) -> list[str]:
        return [row.name for row in self if row.support == support]

    def find(self, word: Word, known: str = "") -> Keyword:
        """The row of a word. Raises Mistake when there is none, or when ferryman (or HAProxy by now) lacks it.

        `known` is what stood before the word, as in `option`.
        """
        row = self.rows.get(word.text)
        shown = f"{known} {word.text}".strip()
        if row is None:
            near = nearest(word.text, self.rows)
            raise Mistake(word, f"unknown {self.what} {shown!r}", near)
        if row.support == NOT_YET:
            raise Mistake(word, f"{shown!r} is HAProxy's, not supported by ferryman yet", row.note)
        if row.support == REMOVED:
            raise Mistake(word, f"{shown!r} is gone from HAProxy", row.note)
        return row


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


SECTIONS: Final = Table(
    "section",
    """
    global | | yes | several are united
    defaults | | yes | also named, and `from` another
    frontend | | yes | in mode tcp, and in mode http for the statistics page
    backend | | yes | in mode tcp
    listen | | yes | a listener and a backend of the same name
    peers | | not yet |
    resolvers | | not yet | names are resolved by the system
    mailers | | not yet |
    userlist | | not yet |
    cache | | not yet |
    program | | not yet |
    http-errors | | not yet |
    ring | | not yet |
    log-forward | | not yet |
    log-profile | | not yet |
    fcgi-app | | not yet |
    crt-store | | not yet |
    traces | | not yet |
    acme | | not yet |
    namespace_list | | not yet |
    ruleset | | removed | it never was in a release; write the rules where they are used
    """,
)

PROXY: Final = Table(
    "keyword",
    """
    acl | dflb | yes | in named defaults: not yet
    backlog | dfl | yes |
    balance | dlb | yes | roundrobin, static-rr, leastconn, first, source, random
    bind | fl | yes |
    bind-process | dflb | inert | HAProxy ignores it as well
    capture | fl | http |
    clitcpka-cnt | dfl | inert | the system's numbers for keep-alive are used
    clitcpka-idle | dfl | inert | the system's numbers for keep-alive are used
    clitcpka-intvl | dfl | inert | the system's numbers for keep-alive are used
    compression | dflb | http |
    cookie | dlb | http |
    declare | fl | not yet |
    default-server | dlb | yes |
    default_backend | dfl | yes |
    description | flb | quiet |
    disabled | dflb | yes | of a backend alone: not yet
    dispatch | lb | not yet | name the target with `server`
    email-alert | dflb | not yet |
    enabled | dflb | yes |
    errorfile | dflb | quiet | of HTTP mode only
    errorfiles | dflb | quiet | of HTTP mode only
    errorloc | dflb | quiet | of HTTP mode only
    errorloc302 | dflb | quiet | of HTTP mode only
    errorloc303 | dflb | quiet | of HTTP mode only
    error-log-format | dfl | inert | there is one format for all lines
    external-check | dlb | not yet |
    filter | flb | not yet |
    force-persist | lb | http |
    fullconn | dlb | inert | there is no `minconn` that it would act on
    guid | flb | quiet |
    hash-balance-factor | dlb | inert | of `hash-type consistent` only
    hash-preserve-affinity | dlb | not yet |
    hash-type | dlb | yes | map-based; consistent: not yet
    http-after-response | dflb | http |
    http-check | dlb | yes | connect (first), send, expect status and rstatus; others: not yet
    http-error | dflb | quiet | of HTTP mode only
    http-request | dflb | http |
    http-response | dflb | http |
    http-reuse | dlb | quiet | of HTTP mode only
    http-send-name-header | dlb | http |
    id | flb | inert | proxies are numbered in the order of the file
    ignore-persist | lb | http |
    load-server-state-from-file | dlb | inert | a reload keeps the servers' states without a file
    log | dflb | yes |
    log-format | dfl | yes |
    log-format-sd | dfl | not yet |
    log-profile | dfl | not yet |
    log-steps | dfl | not yet |
    log-tag | dflb | yes |
    max-keep-alive-queue | dlb | quiet | of HTTP mode only
    maxconn | dfl | yes |
    mode | dflb | yes | tcp; http only for the statistics page
    monitor | fl | http |
    monitor-uri | dfl | http |
    no | dflb | yes | before `option` and `log`
    option | dflb | yes | see below
    persist | dlb | not yet |
    publish | b | not yet |
    quic-initial | dfl | not yet |
    rate-limit | dfl | not yet |
    redirect | flb | http |
    retries | dlb | yes |
    retry-on | dlb | http |
    server | lb | yes |
    server-state-file-name | dlb | inert | a reload keeps the servers' states without a file
    server-template | lb | not yet | write the servers out
    source | dlb | yes | with usesrc (client, clientip, an address) and interface, without ranges of ports
    srvtcpka-cnt | dlb | inert | the system's numbers for keep-alive are used
    srvtcpka-idle | dlb | inert | the system's numbers for keep-alive are used
    srvtcpka-intvl | dlb | inert | the system's numbers for keep-alive are used
    stats | dflb | yes | see below
    stick | lb | not yet |
    stick-table | flb | not yet |
    tcp-check | dlb | yes | connect (first), send, send-binary, expect string, rstring, binary; others: not yet
    tcp-request | dflb | yes | see below; in named defaults: not yet
    tcp-response | dlb | not yet |
    timeout | dflb | yes | see below
    transparent | dlb | not yet |
    unique-id-format | dfl | http |
    unique-id-header | dfl | http |
    use-fcgi-app | lb | not yet |
    use-server | lb | yes |
    use-service | fl | not yet |
    use_backend | fl | yes | also with %[…]
    appsession | dlb | removed | there is nothing in its place
    block | dflb | removed | use `tcp-request content reject`
    clitimeout | dfl | removed | write `timeout client`
    contimeout | dlb | removed | write `timeout connect`
    srvtimeout | dlb | removed | write `timeout server`
    cliexp | dfl | removed | write `timeout client-fin`
    srvexp | dlb | removed | write `timeout server-fin`
    grace | dflb | removed | there is nothing in its place
    monitor-net | dfl | removed | write `tcp-request connection reject if { src … }`
    redisp | dlb | removed | write `option redispatch`
    redispatch | dlb | removed | write `option redispatch`
    reqadd | dflb | removed | write `http-request add-header`
    reqallow | dflb | removed | write `http-request allow`
    reqdel | dflb | removed | write `http-request del-header`
    reqdeny | dflb | removed | write `http-request deny`
    reqiallow | dflb | removed | write `http-request allow`
    reqidel | dflb | removed | write `http-request del-header`
    reqideny | dflb | removed | write `http-request deny`
    reqipass | dflb | removed | write `http-request allow`
    reqirep | dflb | removed | write `http-request replace-header`
    reqitarpit | dflb | removed | write `http-request tarpit`
    reqpass | dflb | removed | write `http-request allow`
    reqrep | dflb | removed | write `http-request replace-header`
    reqsetbe | dflb | removed | write `use_backend`
    reqtarpit | dflb | removed | write `http-request tarpit`
    rspadd | dflb | removed | write `http-response add-header`
    rspdel | dflb | removed | write `http-response del-header`
    rspdeny | dflb | removed | write `http-response deny`
    rspidel | dflb | removed | write `http-response del-header`
    rspideny | dflb | removed | write `http-response deny`
    rspirep | dflb | removed | write `http-response replace-header`
    rsprep | dflb | removed | write `http-response replace-header`
    """,
)

OPTIONS: Final = Table(
    "option",
    """
    abortonclose | dlb | quiet | a client that leaves while it waits is always let go
    accept-invalid-http-request | dfl | http |
    accept-invalid-http-response | dlb | http |
    accept-unsafe-violations-in-http-request | dfl | http |
    accept-unsafe-violations-in-http-response | dlb | http |
    allbackups | dlb | yes |
    checkcache | dlb | http |
    clitcpka | dfl | yes |
    contstats | dfl | quiet | counters are always up to date
    disable-h2-upgrade | dfl | http |
    dontlog-normal | dfl | yes |
    dontlognull | dfl | yes |
    external-check | dlb | not yet |
    forwardfor | dflb | http |
    h1-case-adjust-bogus-client | dfl | quiet | of HTTP mode only
    h1-case-adjust-bogus-server | dlb | quiet | of HTTP mode only
    http-buffer-request | dflb | http |
    http-ignore-probes | dfl | http |
    http-keep-alive | dflb | quiet | of HTTP mode only
    http-no-delay | dflb | http |
    http-pretend-keepalive | dlb | http |
    http-restrict-req-hdr-names | dflb | quiet | of HTTP mode only
    http-server-close | dflb | quiet | of HTTP mode only
    http-use-proxy-header | dfl | http |
    httpchk | dlb | yes |
    httpclose | dflb | quiet | of HTTP mode only
    httplog | dfl | yes | in mode tcp as tcplog, with a warning
    httpslog | dfl | yes | in mode tcp as tcplog, with a warning
    idle-close-on-response | dfl | http |
    independent-streams | dflb | inert | a tunnel's time-outs count both directions
    ldap-check | dlb | not yet | without it a check is a connection that stands
    log-health-checks | dlb | quiet | changes of state are always logged
    log-separate-errors | dfl | yes |
    logasap | dfl | yes |
    mysql-check | dlb | not yet | without it a check is a connection that stands
    nolinger | dflb | inert | connections end as their peers end them
    originalto | dflb | http |
    persist | dlb | inert | there are no cookies to persist by
    pgsql-check | dlb | not yet | without it a check is a connection that stands
    prefer-last-server | dlb | http |
    redis-check | dlb | not yet | without it a check is a connection that stands
    redispatch | dlb | yes |
    smtpchk | dlb | not yet | without it a check is a connection that stands
    socket-stats | dfl | inert | addresses of a listener are not counted one by one
    splice-auto | dflb | quiet | long streams are always spliced
    splice-request | dflb | quiet | long streams are always spliced
    splice-response | dflb | quiet | long streams are always spliced
    spop-check | dlb | not yet | without it a check is a connection that stands
    srvtcpka | dlb | yes |
    ssl-hello-chk | dlb | yes | the hello is one of TLS 1.2 and 1.3, not of SSL 3
    tcp-check | dlb | yes |
    tcp-smart-accept | dfl | quiet |
    tcp-smart-connect | dlb | quiet |
    tcpka | dflb | yes |
    tcplog | dfl | yes |
    transparent | dlb | not yet |
    forceclose | dflb | removed | leave it out
    http-tunnel | dflb | removed | leave it out
    http_proxy | dflb | removed | leave it out
    http-use-htx | dflb | removed | leave it out
    tcpsplice | dflb | removed | leave it out
    """,
)

TIMEOUTS: Final = Table(
    "timeout",
    """
    check | dlb | yes |
    client | dfl | yes |
    client-fin | dfl | yes |
    client-hs | dfl | not yet | leave it out: `tcp-request inspect-delay` bounds the wait for a hello
    connect | dlb | yes |
    http-keep-alive | dflb | quiet | of HTTP mode only
    http-request | dflb | quiet | of HTTP mode only
    queue | dlb | yes |
    server | dlb | yes |
    server-fin | dlb | yes |
    tarpit | dflb | quiet | of HTTP mode only
    tunnel | dlb | yes |
    """,
)

STATS: Final = Table(
    "stats keyword",
    """
    admin | flb | not yet | use the control socket, or a stats socket of level admin
    auth | dflb | yes |
    enable | dflb | yes |
    hide-version | dflb | yes |
    http-request | flb | not yet |
    realm | dflb | yes |
    refresh | dflb | yes | its unit is seconds
    scope | dflb | yes |
    show-desc | dflb | yes | the text becomes the page's heading
    show-legends | dflb | quiet | legends are always shown
    show-modules | dflb | quiet |
    show-node | dflb | quiet | the node's name is always shown
    uri | dflb | yes |
    """,
)

RULES: Final = Table(
    "tcp-request keyword",
    """
    connection | fl | yes |
    content | flb | yes | in a backend: not yet
    inspect-delay | flb | yes |
    session | fl | yes |
    """,
)

ACTIONS: Final = Table(
    "action",
    """
    accept | | yes |
    reject | | yes |
    silent-drop | | yes |
    capture | | yes | `tcp-request content` only
    attach-srv | | not yet |
    close | | not yet |
    deny | | not yet |
    do-log | | not yet |
    do-resolve | | not yet |
    expect-netscaler-cip | | not yet |
    expect-proxy | | yes | `tcp-request connection expect-proxy layer4`, for everybody or `if { src … }`
    lua.* | | not yet |
    ot-group | | not yet |
    sc-add-gpc | | not yet |
    sc-inc-gpc | | not yet |
    sc-inc-gpc0 | | not yet |
    sc-inc-gpc1 | | not yet |
    sc-set-gpt | | not yet |
    sc-set-gpt0 | | not yet |
    send-spoe-group | | not yet |
    set-bandwidth-limit | | not yet |
    set-bc-mark | | not yet |
    set-bc-tos | | not yet |
    set-dst | | not yet |
    set-dst-port | | not yet |
    set-fc-mark | | not yet |
    set-fc-tos | | not yet |
    set-log-level | | not yet |
    set-mark | | not yet |
    set-nice | | not yet |
    set-priority-class | | not yet |
    set-priority-offset | | not yet |
    set-retries | | not yet |
    set-src | | not yet |
    set-src-port | | not yet |
    set-tos | | not yet |
    set-var | | not yet |
    set-var-fmt | | not yet |
    switch-mode | | not yet |
    track-sc0 | | not yet |
    track-sc1 | | not yet |
    track-sc2 | | not yet |
    unset-var | | not yet |
    use-service | | not yet |
    """,
)
