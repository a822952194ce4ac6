"""What the doctor can find: each code with who is at fault, what it means for a migration, and what to change.

One table, from which docs/reference/verdicts.md is made. In remedies {host}, {port}, {target}, {proxy} stand for
those of the path examined. Sources: RFC 9110 and 9112; the manuals of Squid, HAProxy, rsync and stunnel. Longer than
other modules because it is a table.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Severity = Literal["error", "warning", "hint"]
Blame = Literal["proxy", "target", "network", "credentials", "unclear"]


class Verdict(NamedTuple):
    """`severity`: error, it will not carry a migration; warning, it may break one; hint, good to know."""

    code: str
    severity: Severity
    blame: Blame
    title: str
    means: str
    remedy: str  # lines of configuration are indented


_SPLICE: Final = """in squid.conf, before every line that bumps:
  acl migration_routes ssl::server_name {host}
  acl step1 at_step SslBump1
  ssl_bump peek step1
  ssl_bump splice migration_routes
or take the target out of interception altogether, by the name in CONNECT:
  acl migration_names dstdomain {host}
  ssl_bump splice migration_names"""

_POLICY: Final = """allow it in the source namespace (`ferryman policy check` says what denies it):
  NetworkPolicy: egress to the proxy's address and port, and to the name service (5353 in openshift-dns)
  EgressNetworkPolicy, EgressFirewall: `type: Allow` for the address, in front of the first Deny that matches"""

_ROWS: Final = (
    # names and reach
    Verdict("PROXY_NAME_UNKNOWN", "error", "network", "The proxy's name does not resolve.",
        "Every attempt ends before a byte is sent.",
        "correct the name in the proxy's URL, or allow DNS from here (egress to the name service, port 53, in "
        "OpenShift 5353); an address in place of the name works too"),
    Verdict("TARGET_NAME_UNKNOWN", "error", "network", "The target's name does not resolve here.",
        "Without a proxy the name has to resolve where the migration starts.",
        "correct the name, or allow DNS from here; through a proxy it is the proxy that resolves it (--via)"),
    Verdict("NO_PROXY_LISTENER", "error", "proxy", "Nobody listens at the proxy's address and port.",
        "Every attempt is refused at once.",
        "start the proxy, or correct the port in its URL; Squid listens where squid.conf says so:\n"
        "  http_port 3128"),
    Verdict("TARGET_REFUSED", "error", "target", "Nobody listens at the target.",
        "The connection is refused at once.",
        "is the route or service there, and are the rsync pods up? A route answers on 443, a NodePort on its own"),
    Verdict("EGRESS_DROPPED", "error", "network", "The way to the first hop swallows packets.",
        "Connections are never answered: rsync's pods fail after 20 seconds each, again and again.", _POLICY),
    Verdict("NO_ROUTE", "error", "network", "The network says that the first hop cannot be reached.",
        "Every attempt ends at once with `No route to host` or the like.", _POLICY),
    Verdict("ACL_RESET", "error", "proxy", "The proxy accepts the connection and resets it before it was asked.",
        "It, or a firewall in front of it, does not want this client.",
        "allow the address that connections come from, as in squid.conf:\n"
        "  acl migration src 192.0.2.0/24\n"
        "  http_access allow CONNECT migration"),
    # TLS to the proxy
    Verdict("PROXY_CERTIFICATE", "error", "proxy", "TLS with the proxy itself fails.",
        "With https:// the proxy is spoken to in TLS, and its certificate has to be good for its name.",
        "give the authority that signed it (--via-ca FILE), or correct the certificate; http:// if it has no TLS"),
    Verdict("PROXY_WANTS_TLS", "error", "proxy", "The proxy speaks TLS on this port.",
        "stunnel, and so the original's migration, speaks to a proxy without TLS only.",
        "give a plain port of the proxy; ferryman itself can use this one: https:// in its URL"),
    Verdict("TLS_TO_PROXY", "hint", "proxy", "The proxy is reached by TLS.",
        "ferryman can do that. The MigrationController ignores the scheme and speaks plain HTTP to it, which fails.",
        "for stunnel_tcp_proxy give a plain port of the proxy"),
    # CONNECT
    Verdict("OPEN_PROXY", "hint", "proxy", "The proxy takes anybody, though credentials are given.",
        "The migration works; the credentials do nothing, and everybody else can use the proxy, too.",
        "demand them, as in squid.conf, if that is meant:\n"
        "  acl known proxy_auth REQUIRED\n"
        "  http_access allow CONNECT known"),
    Verdict("CREDENTIALS_NEEDED", "error", "credentials", "The proxy wants credentials and none were given.",
        "Every attempt ends with 407.",
        "put user and password into the proxy's URL: http://user:password@{proxy}, special characters escaped (%40 for "
        "@)"),
    Verdict("BAD_CREDENTIALS", "error", "credentials", "The proxy does not take these credentials.",
        "Every attempt ends with 407; after some of them the account may be locked.",
        "check user and password: special characters are escaped in a URL (p@x is written p%40x), letter case counts, "
        "and a user without a password is not sent at all"),
    Verdict("OTHER_AUTH_ONLY", "error", "proxy", "The proxy wants an authentication other than Basic.",
        "stunnel, and so the migration, can only do Basic: NTLM, Negotiate, Digest and Bearer cannot work.",
        "let the migration in by Basic or by its address, as in squid.conf, before the other rules:\n"
        "  auth_param basic program /usr/lib/squid/basic_ncsa_auth /etc/squid/passwords\n"
        "  acl migration src 192.0.2.0/24\n"
        "  http_access allow CONNECT migration"),
    Verdict("NONSTANDARD_AUTH", "error", "proxy", "The proxy refuses credentials in a way that is not HTTP's.",
        "A proxy answers 407 with a challenge; with 401 or a closed connection clients cannot tell what is wrong.",
        "is it a proxy at all, or a web server? If it is one, have it answer 407 with Proxy-Authenticate: Basic"),
    Verdict("CASE_SENSITIVE_SCHEME", "error", "proxy", "The proxy takes `Basic` but not `basic`.",
        "stunnel sends `basic`, which is as good (RFC 9110 section 11.1); the original's migration gets 407 for ever.",
        "update the proxy; ferryman writes `Basic`"),
    Verdict("PORT_BLOCKED", "error", "proxy", "The proxy refuses this port, but not this host.",
        "CONNECT to {port} is denied by a rule about ports; 443 is mostly let through, 6443 and NodePorts are not.",
        "use an endpoint on 443 (rsync_endpoint_type: Route), or allow the port, in squid.conf:\n"
        "  acl SSL_ports port {port}\n"
        "in Traffic Server's records.yaml:\n"
        "  records: {http: {connect_ports: 443 {port}}}"),
    Verdict("DEST_BLOCKED", "error", "proxy", "The proxy refuses this destination.",
        "Every attempt ends with 403.",
        "allow it, in squid.conf, before the line that denies:\n"
        "  acl migration_names dstdomain {host}\n"
        "  http_access allow CONNECT migration_names"),
    Verdict("CONNECT_REFUSED", "error", "proxy", "The proxy refuses CONNECT with a status that says little.",
        "stunnel takes nothing but 2xx, and resets rsync's connection.",
        "look for the request in the proxy's log"),
    Verdict("NOT_A_PROXY", "error", "proxy", "What listens there is an HTTP server that knows no CONNECT.",
        "There is no tunnel to be had.",
        "correct address and port of the proxy; a web server or a load balancer in HTTP mode is none"),
    Verdict("NOT_HTTP", "error", "proxy", "What listens there does not speak HTTP.",
        "SOCKS, or a plain forwarder of TCP, cannot be used: stunnel speaks CONNECT.",
        "correct address and port of the proxy; it has to be one for HTTP that allows CONNECT"),
    Verdict("HTTP2_ONLY", "error", "proxy", "What listens there answers in HTTP/2.",
        "stunnel, and most that use CONNECT, read HTTP/1 only.",
        "have the proxy speak HTTP/1.1 on this port; in nginx: no `http2` on the `listen` line"),
    Verdict("STATUS_LINE_REFUSED", "error", "proxy", "The proxy's status line is one that stunnel does not take.",
        "stunnel wants `HTTP/1.0 2…` or `HTTP/1.1 2…` and ends the connection otherwise.",
        "have the proxy answer in HTTP/1.1"),
    Verdict("INTERIM_ANSWER", "error", "proxy", "The proxy sends another answer (1xx) before the final one.",
        "stunnel takes the first status line for the answer and ends the connection.",
        "switch off what sends it; nothing asked for it (no Expect)"),
    Verdict("CLOSED_WITHOUT_ANSWER", "error", "proxy", "The proxy closes the connection without an answer.",
        "rsync sees `connection reset by peer`, and nobody sees why.",
        "look at the proxy's log and its rules about client addresses; it has to answer with a status"),
    Verdict("NO_ANSWER", "error", "proxy", "The proxy accepts the connection and does not answer.",
        "stunnel waits 300 seconds (TIMEOUTbusy), each time.",
        "is the proxy overloaded, or does it wait for the target? Squid gives up after connect_timeout:\n"
        "  connect_timeout 20 seconds"),
    Verdict("UPSTREAM_NAME", "error", "network", "The proxy cannot resolve the target's name.",
        "The name is looked up by the proxy, not here.",
        "correct the name, or make it known to the proxy's name servers; in squid.conf:\n"
        "  dns_nameservers 192.0.2.53"),
    Verdict("UPSTREAM_REFUSED", "error", "target", "The target refuses the proxy's connection.",
        "The proxy is fine, and nobody listens at {target}.",
        "is the route there, and are the rsync pods up?"),
    Verdict("UPSTREAM_FAILED", "error", "network", "The proxy does not get to the target.",
        "It answers, and says that the target does not: a firewall behind it, no route, or nobody there.",
        "allow the proxy to reach {target}, and see that somebody listens there; or give it its parent proxy"),
    Verdict("PROXY_BUSY", "warning", "proxy", "The proxy has no room, or drains.",
        "Attempts fail until it has; they are repeated.",
        "raise its limits, or try again later"),
    Verdict("EARLY_200", "warning", "proxy", "The proxy says 200 before it has reached anybody.",
        "Whatever goes wrong behind it looks like a TLS connection that breaks. Squid does that on ports with "
        "`ssl-bump`, where even a denial comes as 200 and a forged certificate.",
        "let it splice the target at once:\n" + _SPLICE),
    Verdict("BYTES_AFTER_200", "error", "proxy", "The proxy adds bytes of its own after its 200.",
        "They are read as the beginning of TLS, which fails.",
        "switch off banners and bodies in answers to CONNECT (RFC 9110 section 9.3.6)"),
    # TLS
    Verdict("MITM", "error", "proxy", "The proxy ends TLS itself and shows a certificate of its own.",
        "The migration's data are opened on the way. With verification it fails at once; without, it fails because "
        "rsync is no HTTP.", _SPLICE),
    Verdict("HELLO_CHANGED", "error", "proxy", "The ClientHello arrived changed.",
        "Something on the way writes TLS anew (Squid's `stare`, or a TLS-terminating load balancer).", _SPLICE),
    Verdict("CERTIFICATE_UNEXPECTED", "error", "target", "The target shows another certificate than expected.",
        "With verification the migration refuses it; without, it may go to somebody else's server.",
        "compare with tls.crt in the secret of the stunnel pod; is this the right route, and of this migration?"),
    Verdict("CERTIFICATE_EXPIRED", "warning", "target", "The target's certificate is not valid today.",
        "Whoever verifies it refuses it.",
        "make a new one, or correct the clock of the machine that is wrong"),
    Verdict("ROUTE_NOT_FOUND", "error", "target", "The router knows no route of this name.",
        "It closes the connection, refuses the name, or answers itself with its default certificate and 503.",
        "is the route admitted (`oc get route`), is it passthrough, and is {host} exactly its host? In HAProxy:\n"
        "  tcp-request inspect-delay 5s\n"
        "  tcp-request content accept if { req.ssl_hello_type 1 }\n"
        "  use_backend migration if { req.ssl_sni -i {host} }"),
    Verdict("NOT_TLS", "error", "target", "What answers at the target is not TLS.",
        "stunnel's handshake fails.",
        "is it the right port? rsync's own port is plain; stunnel's (6443, or 443 on a route) is TLS"),
    Verdict("TLS_CUT", "error", "unclear", "TLS is cut after the ClientHello.",
        "A proxy or firewall that looks at TLS, or a router without such a route, ended it.",
        "examine from a place that reaches the target without the proxy: if it is cut there too, it is the router "
        "(ROUTE_NOT_FOUND), otherwise the proxy:\n" + _SPLICE),
    Verdict("TLS_CUT_BY_PROXY", "error", "proxy", "TLS works without the proxy and is cut with it.",
        "The proxy looks at TLS and ends what it does not like.",
        _SPLICE + "\nand without `ssl_bump terminate` for it"),
    Verdict("TLS_SILENT", "error", "unclear", "Nothing answers the ClientHello.",
        "The migration hangs until a time limit ends it (300 s in stunnel).",
        "is the target's pod up, and does a firewall behind the proxy swallow packets? Large hellos are lost where "
        "ICMP is blocked and the MTU differs"),
    Verdict("TLS_REFUSED", "error", "target", "The target refuses TLS.",
        "The handshake ends with an alert, which the evidence names.",
        "handshake_failure and certificate_required: give the client certificate of the migration (--cert); "
        "protocol_version: allow TLS 1.2 and 1.3 there"),
    Verdict("TLS_VERSION_BLOCKED", "error", "proxy", "One version of TLS is carried, another is not.",
        "The original's stunnel speaks TLS 1.2 only, newer ones 1.3 only.",
        "allow both in what inspects TLS, or take the target out of inspection"),
    Verdict("SNI_POLICY", "hint", "proxy", "The proxy decides by the server name in TLS.",
        "The migration sends the route's name and gets through; other names do not.",
        "nothing, as long as the route's name is sent; stunnel's `sni` must not be set to another one"),
    Verdict("FAR_END_MISSING", "error", "target", "The far end that cooperates did not answer.",
        "TLS came to somebody, but not to the `ferryman doctor serve` whose token was given.",
        "is it still running, is the token of this run, and does {target} lead to it?"),
    # bytes
    Verdict("TLS_ONLY", "warning", "proxy", "Only TLS gets through, other bytes do not.",
        "The proxy looks into the tunnel. A migration is TLS and gets through while the proxy understands it.",
        "take the target out of inspection, in squid.conf at the first step:\n"
        "  acl migration_names dstdomain {host}\n"
        "  ssl_bump splice migration_names\n"
        "or let through what is no TLS:\n"
        "  on_unsupported_protocol tunnel all"),
    Verdict("WAITS_FOR_CLIENT", "hint", "proxy", "The far end's first bytes do not come before the client's.",
        "The proxy waits for the client to speak. In a migration it does, with TLS; plain rsync would hang.",
        "take the target out of inspection, in squid.conf at the first step:\n"
        "  acl migration_names dstdomain {host}\n"
        "  ssl_bump splice migration_names"),
    Verdict("HALF_CLOSE_LOST", "warning", "proxy", "Bytes that were sent right before an end are lost.",
        "The last bytes of a transfer may not arrive: rsync error 12 at the very end.",
        "update the proxy: it has to send on what it has taken before it closes"),
    Verdict("COALESCED_LOST", "hint", "proxy", "Bytes sent together with CONNECT are lost.",
        "Clients that do not wait for the 200 hang. stunnel and ferryman wait. Squid does that where it peeks.",
        "nothing for a migration; in Squid splice at the first step, which looks at nothing"),
    Verdict("TRANSFER_CUT", "error", "network", "The connection is cut while many bytes go through it.",
        "Disks write slower than networks send, and full buffers on the way are taken for a dead connection: rsync "
        "ends with error 10 or 12 in the middle of large files.",
        "raise the limits on the way for connections on which nothing moves, in haproxy.cfg:\n"
        "  timeout tunnel 2h\n"
        "or send no faster than the disk writes: --bwlimit"),
    Verdict("IDLE_CUT", "error", "network", "The connection is cut while nothing is said.",
        "rsync is silent for long while it builds lists or compares checksums; it ends with error 12 or 30.",
        "raise the limits on the way to an hour and more, in squid.conf:\n"
        "  read_timeout 2 hours\n"
        "  client_lifetime 7 days\n"
        "in haproxy.cfg:\n"
        "  timeout tunnel 2h\n"
        "on an OpenShift route: haproxy.router.openshift.io/timeout-tunnel: 2h"),
    # rsync
    Verdict("BUMPED_NON_HTTP", "error", "proxy", "Within TLS somebody answers in HTTP who is not the target.",
        "The proxy opens TLS and takes what is inside for HTTP, which rsync is not: `server sent \"HTTP/1.1 400\" "
        "rather than greeting`.", _SPLICE),
    Verdict("NOT_RSYNC", "error", "target", "Within TLS the target speaks something other than rsync.",
        "rsync ends with error 5: `did not see server greeting`.",
        "is it the right route? It leads to the service of the rsync pods, on 6443"),
    Verdict("RSYNC_SILENT", "warning", "target", "Within TLS nobody speaks: no greeting of rsync's came.",
        "stunnel's server end is up, but the rsync daemon behind it is not, or it is another service.",
        "look at the rsync container of the pod; stunnel connects to it on localhost, port 2222"),
    Verdict("RSYNC_ERROR", "error", "target", "The rsync daemon answers @ERROR.",
        "rsync ends with error 5.",
        "the evidence has its words: an unknown module, a client that is not allowed (`hosts allow`), or too many of "
        "them (`max connections`)"),
    # the control path
    Verdict("API_UNREACHED", "error", "network", "The API server cannot be reached.",
        "The controller cannot do anything in that cluster.",
        "check address, proxy (HTTPS_PROXY, NO_PROXY of the controller) and policies"),
    Verdict("API_MITM", "error", "proxy", "The API server's certificate is not of the authority given.",
        "Somebody ends TLS in front of it, and may strip what it needs to execute commands in pods.",
        "take the API server out of interception, or put it into NO_PROXY"),
    Verdict("CONNECTION_HEADER_STRIPPED", "error", "proxy", "The `Connection: Upgrade` field does not arrive.",
        "Commands in pods fail with `Upgrade request required`, and the migration with them.",
        "have what ends TLS in front of the API server pass it on, in nginx:\n"
        "  proxy_http_version 1.1;\n"
        "  proxy_set_header Upgrade $http_upgrade;\n"
        "  proxy_set_header Connection \"upgrade\";\n"
        "in squid.conf (5 and later; names are case-sensitive):\n"
        "  http_upgrade_request_protocols SPDY/3.1 allow all\n"
        "  http_upgrade_request_protocols websocket allow all\n"
        "or use TCP mode, which passes everything on, in haproxy.cfg:\n"
        "  mode tcp"),
    Verdict("UPGRADE_STRIPPED", "error", "proxy", "The `Upgrade` field does not arrive, though `Connection` does.",
        "Commands in pods fail with `missing upgrade headers in request`.",
        "pass both fields on, in nginx:\n"
        "  proxy_set_header Upgrade $http_upgrade;\n"
        "  proxy_set_header Connection \"upgrade\";"),
    Verdict("SPDY_REFUSED", "error", "proxy", "WebSocket gets through, SPDY does not.",
        "The migration's controller speaks SPDY only, so its commands in pods fail.",
        "let SPDY/3.1 through, in squid.conf:\n"
        "  http_upgrade_request_protocols SPDY/3.1 allow all\n"
        "or bring the API server past the proxy (NO_PROXY); newer kubectl uses WebSocket"),
    Verdict("L7_HTTP2_OR_REPLY_FILTER", "error", "proxy", "Neither SPDY nor WebSocket gets through.",
        "Something in front of the API server speaks HTTP/2 to it, or filters answers; it cannot switch protocols.",
        "have it speak HTTP/1.1 to the API server, or use TCP mode"),
    Verdict("101_NOT_TUNNELLED", "error", "proxy", "101 comes, and then nothing is carried.",
        "Commands in pods begin and break: whoever is in between goes on reading HTTP.",
        "have it carry bytes after 101, or use TCP mode"),
    Verdict("API_AUTH", "warning", "credentials", "The API server answers, and refuses this user.",
        "That is its own answer, not a proxy's; whether Upgrade gets through is not known.",
        "give a token (--control-token-file, with --control-ca) of a user with get and create on pods/exec, and a pod "
        "(--control-exec)"),
    Verdict("MIDDLEBOX_ANSWER", "error", "proxy", "The answer is not the API server's.",
        "Somebody in between answers, with a page for people.",
        "read the evidence for who it is; bring the API server past it (NO_PROXY)"),
)  # fmt: skip

VERDICTS: Final = {row.code: row for row in _ROWS}


def page() -> str:
    """docs/reference/verdicts.md."""
    parts = [
        "# Verdicts of `ferryman doctor`",
        "<!-- made by scripts/make_verdicts.py from ferryman.doctor.verdicts; do not edit -->",
        "What `ferryman doctor` can find on a path, in the order of its probes. *error*: the path will not carry a "
        "migration. *warning*: it may break one. *hint*: good to know. In what to change, `{host}`, `{port}`, "
        "`{target}` and `{proxy}` are those of the path; the doctor puts them in.",
        "| code | severity | at fault |\n|---|---|---|\n"
        + "\n".join(f"| [`{row.code}`](#{row.code.lower()}) | {row.severity} | {row.blame} |" for row in _ROWS),
    ]
    for row in _ROWS:
        parts += [f"## {row.code}", f"{row.title} ({row.severity}; at fault: {row.blame})", row.means, _change(row)]
    return "\n\n".join(parts) + "\n"


def _change(row: Verdict) -> str:
    """The remedy as Markdown: lines of configuration as code."""
    lines: list[str] = ["What to change:", ""]
    code = False
    for line in row.remedy.split("\n"):
        if line.startswith("  ") != code:
            code = not code
            lines += ["", "```", line[2:]] if code else ["```", "", line]
        else:
            lines.append(line[2:] if code else line)
    return "\n".join([*lines, "```"] if code else lines).replace("What to change:\n\n\n", "What to change:\n\n")
