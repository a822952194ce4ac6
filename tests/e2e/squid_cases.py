"""Configurations of Squid, and what clients of each get to see: the table of test_same_verdicts_as_squid.py.

A verdict is what the client gets to see, in words:

    403, 407, …         the status of a refusal; a 407 goes on with "open" if the connection takes another request
    200 direct          a tunnel, or an answer, that came from the server itself
    200 first alice:x   the same from an upstream proxy, which tells its name and the credentials it got
    200 origin 200      a tunnel in which TLS was answered by the server itself; operator: by the proxy, with a
                        certificate of its CA; untrusted: by the proxy, with one that it does not vouch for; closed: by
                        nobody. Last, the status of a request inside.
    closed              nothing at all

Where ferryman gives another verdict than Squid, `ours` has it and `why` the reason.

In braces are ports and the folder; HOUR, LATER and TOMORROW are times that hold now, and that do not. Settings choose
between policies by the port of the target, or by an http_port of its own, since a setting takes a second to start.
Longer than other files, for it is a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import squid


@dataclass(frozen=True)
class Case:
    """What a client says, and the verdict. What is in braces is filled in by the test."""

    said: str  # method and target
    verdict: str
    login: str = ""
    source: int = 1  # 127.0.0.…
    sni: str = ""  # speak TLS in the tunnel, with that name; "-": with none
    door: str = "port"  # which http_port
    text: str = ""  # say that in the tunnel
    fields: tuple[str, ...] = ()
    ours: str = ""
    why: str = ""

    def __str__(self) -> str:
        """What tells it from the others of its setting."""
        more = (self.login, self.sni, self.door, f"from 127.0.0.{self.source}", *self.fields)
        return f"{self.said} ({', '.join(filter(None, more))})"


@dataclass(frozen=True)
class Setting:
    """A configuration, and what to try with it."""

    text: str
    cases: list[Case] = field(default_factory=list)


REQUEST = "GET /say/direct HTTP/1.1\r\n\r\n"
PARENT = "cache_peer 127.0.0.1 parent {first} 0 no-query no-digest default name=first\nnever_direct allow all\n"
AUTH = f"""auth_param basic program {squid.HELPERS}/basic_ncsa_auth {{folder}}/users
auth_param basic children 2 startup=1 idle=1
auth_param basic realm verdicts
"""
BUMPING = "ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={folder}/operator.pem"
BUMP_DOORS = [
    *("names", "bump", "then", "none", "server", "step1", "step2", "peek", "stare", "precluded", "staring", "early"),
    "certs",
]
EARLY = "Squid says 200 so that it can show a page; here a refusal is an answer to CONNECT, which clients report"
NO_CONNECTION = "Squid's 503 and 500 stand for many things; 502 is for a server that does not answer (RFC 9209)"
NO_ANSWER = "Squid takes what is no HTTP for the body of an answer without a head"
OWN = "the credentials are the proxy's own: the client can do nothing about them"
RESPOND = "Squid's page about what it cannot read is sent to nobody"

SETTINGS = {
    "stock": Setting(
        """
http_port 127.0.0.1:{port}
acl localnet src 10.0.0.0/8
acl SSL_ports port 443 {echo}
acl Safe_ports port 80 443 1025-65535
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
http_access allow localnet
http_access allow localhost
http_access deny all
""",
        [
            Case("CONNECT 127.0.0.1:{echo}", "200 direct"),
            Case("CONNECT localhost:{echo}", "200 direct"),
            Case("CONNECT 127.0.0.1:{echo}", "403", source=2),
            Case("CONNECT 127.0.0.1:{web}", "403"),
            Case("CONNECT api.apps.test:6443", "403"),
            Case("CONNECT 127.0.0.1:22", "403"),
            Case("CONNECT 127.0.0.1:443", "503", ours="502", why=NO_CONNECTION),
            Case("CONNECT 127.0.0.1:70000", "400"),
            Case("CONNECT 127.0.0.1:0", "400"),
            Case("GET http://127.0.0.1:{web}/say/direct", "200 direct"),
            Case("GET http://127.0.0.1:{web}/say/direct", "403", source=2),
            Case("HEAD http://127.0.0.1:{web}/say/direct", "200"),
            Case("OPTIONS http://127.0.0.1:{web}/say/direct", "200 direct"),
            Case("FROB http://127.0.0.1:{web}/say/direct", "200 direct"),
            Case("GET http://127.0.0.1:22/", "403"),
            Case("GET http://127.0.0.1:{dead}/", "503", ours="502", why=NO_CONNECTION),
            Case("GET /say/direct", "400"),
        ],
    ),
    "targets": Setting(
        PARENT
        + """
http_port 127.0.0.1:{port}
acl exact dstdomain exact.test
acl below dstdomain .below.test
acl itself dstdomain -n localhost
acl like dstdom_regex -i ^x[0-9]+\\.LIKE\\.test$
acl strict dstdom_regex ^y[[:digit:]]\\.strict
acl capital dstdom_regex ^Z\\.capital
acl listed dstdomain "{folder}/names"
acl repeated dstdomain one.test
acl repeated dstdomain two.test
acl words dstdom_regex test$
acl high port 8000-8010 9000
acl get method GET
acl odd method FROB tweak
acl near src 127.0.0.2-127.0.0.9 127.0.0.16/28
acl loop dst 127.0.0.0/8
acl loop6 dst ::1
acl both all-of high below
acl either any-of exact high
acl anytime time SMTWHFA 00:00-24:00
acl now time HOUR:00-24:00
acl later time LATER:00-LATER:59
acl tomorrow time TOMORROW
acl tick dstdomain .now.test
acl late dstdomain .later.test
acl day dstdomain .tomorrow.test
acl plain proto HTTP
http_access deny near
http_access deny like
http_access allow tick anytime now
http_access allow late later
http_access allow day tomorrow
http_access allow strict
http_access allow capital
http_access allow both
http_access allow either !below
http_access allow below !high !get
http_access allow itself
http_access allow odd plain
http_access allow listed CONNECT
http_access allow repeated
http_access deny words
http_access allow loop get
http_access allow loop6
http_access deny all
""",
        [
            Case("CONNECT exact.test:443", "200 first"),
            Case("CONNECT EXACT.Test:443", "200 first"),
            Case("CONNECT exact.test.:443", "200 first"),
            Case("CONNECT exact.test", "200 first", ours="400", why="RFC 9110 wants a port; Squid takes 443"),
            Case("connect exact.test:443", "200 first", ours="400", why="RFC 9110: methods are case-sensitive"),
            Case("CONNECT a.exact.test:443", "403"),
            Case("CONNECT below.test:443", "200 first"),
            Case("CONNECT a.b.below.test:443", "200 first"),
            Case("CONNECT notbelow.test:443", "403"),
            Case("CONNECT below.test:8000", "200 first"),
            Case("GET http://below.test/", "403"),
            Case("get http://below.test/", "403"),
            Case("POST http://below.test/", "200 first", fields=("Content-Length: 0",)),
            Case("GET http://exact.test/", "200 first"),
            Case("CONNECT other.test:8005", "200 first"),
            Case("CONNECT other.test:9000", "200 first"),
            Case("CONNECT other.test:9001", "403"),
            Case("CONNECT other.test:7999", "403"),
            Case("CONNECT x7.like.test:8005", "403"),
            Case("CONNECT X7.like.test:8005", "403"),
            Case("CONNECT x.like.test:8005", "200 first"),
            Case("CONNECT Y7.STRICT.test:443", "200 first"),
            Case("CONNECT yy.strict.test:443", "403"),
            Case("CONNECT Z.capital.test:443", "403"),
            Case("CONNECT localhost:443", "200 first"),
            Case("CONNECT 127.0.0.1:443", "403"),
            Case("GET http://127.0.0.1:443/", "200 first"),
            Case("CONNECT [::1]:443", "200 first"),
            Case("CONNECT exact.test:443", "403", source=2),
            Case("CONNECT exact.test:443", "200 first", source=10),
            Case("CONNECT exact.test:443", "403", source=31),
            Case("CONNECT exact.test:443", "200 first", source=32),
            Case("FROB http://other.test/", "200 first"),
            Case("frob http://other.test/", "403"),
            Case("tweak http://other.test/", "200 first"),
            Case("TWEAK http://other.test/", "403"),
            Case("CONNECT listed.test:443", "200 first"),
            Case("CONNECT sub.also.test:443", "200 first"),
            Case("CONNECT commented.test:443", "403"),
            Case("GET http://listed.test/", "403"),
            Case("CONNECT one.test:443", "200 first"),
            Case("CONNECT two.test:443", "200 first"),
            Case("CONNECT a.now.test:443", "200 first"),
            Case("CONNECT a.later.test:443", "403"),
            Case("CONNECT a.tomorrow.test:443", "403"),
        ],
    ),
    "the last line allows": Setting(
        """
http_port 127.0.0.1:{port}
http_port 127.0.0.1:{second_port} name=second
http_port 127.0.0.1:{third_port} name=third
http_port 127.0.0.1:{fourth_port} name=fourth
acl first localport {port}
acl fourth myportname fourth
acl named myportname second
acl itself dstdomain localhost
http_access allow first
http_access allow fourth itself
http_access allow named CONNECT
""",
        [
            Case("CONNECT 127.0.0.1:{echo}", "200 direct"),
            Case("GET http://127.0.0.1:{web}/say/direct", "200 direct"),
            Case("CONNECT 127.0.0.1:{echo}", "200 direct", door="second_port"),
            Case("GET http://127.0.0.1:{web}/say/direct", "403", door="second_port"),
            Case("CONNECT 127.0.0.1:{echo}", "403", door="third_port"),
            Case("CONNECT localhost:{echo}", "200 direct", door="fourth_port"),
            Case(
                "CONNECT 127.0.0.1:{echo}",
                "200 direct",
                door="fourth_port",
                ours="403",
                why="addresses are not turned into names, which whoever has the address could choose",
            ),
        ],
    ),
    "the last line denies, ssl-bump alone": Setting(
        f"""
http_port 127.0.0.1:{{port}} {BUMPING}
acl near src 127.0.0.2
acl low port 1-79
http_access allow near
http_access deny low
""",
        [
            Case("CONNECT 127.0.0.1:{echo}", "200 direct"),
            Case("CONNECT 127.0.0.1:{tls}", "200 origin 200", sni="x.test"),
            Case("CONNECT 127.0.0.1:22", "403"),
            Case("CONNECT 127.0.0.1:22", "503", source=2, ours="502", why=NO_CONNECTION),
        ],
    ),
    "no lines": Setting(
        "http_port 127.0.0.1:{port}\n",
        [Case("CONNECT 127.0.0.1:{echo}", "403"), Case("GET http://127.0.0.1:{web}/say/direct", "403")],
    ),
    "users": Setting(
        AUTH
        + PARENT
        + """
http_port 127.0.0.1:{port}
acl users proxy_auth REQUIRED
acl alice proxy_auth alice
acl carol proxy_auth -i BOB
acl shouting proxy_auth BOB
acl bobs proxy_auth_regex ^b.b$
acl listed proxy_auth "{folder}/some"
acl near src 127.0.0.2
acl free dstdomain .free.test
acl p1 port 1
acl p2 port 2
acl p3 port 3
acl p4 port 4
acl p5 port 5
acl p6 port 6
acl p7 port 7
acl p8 port 8
acl p9 port 9
acl p10 port 10
http_access allow free
http_access deny p1 alice
http_access deny p2 alice all
http_access allow p3 near alice
http_access deny p4 !users
http_access allow p4 near
http_access allow p5 carol
http_access allow p6 bobs
http_access allow p7 listed
http_access deny p8 users near
http_access allow p8
http_access allow p9 !alice
http_access allow p10 shouting
http_access deny p3
http_access deny p4
http_access deny p5
http_access deny p6
http_access deny p7
http_access deny p9
http_access deny p10
http_access allow users
http_access deny all
""",
        [
            Case("CONNECT a.test:443", "407 open"),
            Case("CONNECT a.test:443", "200 first", login="alice:secret"),
            Case("CONNECT a.test:443", "200 first", login="ALICE:secret"),
            Case("CONNECT a.test:443", "200 first", login="bob:secret"),
            Case("CONNECT a.test:443", "407 open", login="carol:secret", ours="200 first", why="Squid has no SHA-1"),
            Case("CONNECT a.test:443", "200 first", login="dave:secret"),
            Case("CONNECT a.test:443", "200 first", login="erin:secret"),
            Case("CONNECT a.test:443", "200 first", login="frank:secret"),
            Case(
                "CONNECT a.test:443",
                "407 open",
                login="Grace:secret",
                ours="200 first",
                why="Squid lowers the case of the user, but not of the file",
            ),
            Case("CONNECT a.test:443", "200 first", login="heidi:se:cr:et-väl"),
            Case("CONNECT a.test:443", "407 open", login="heidi:se", source=11),
            Case("CONNECT a.test:443", "407 open", login="alice:wrong", source=12),
            Case("CONNECT a.test:443", "407 open", login="alice:", source=13),
            Case("CONNECT a.test:443", "407 open", login="nobody:secret", source=14),
            Case("CONNECT a.test:443", "407 open", login=":secret", source=15),
            Case("CONNECT a.test:443", "407 open", fields=("Proxy-Authorization: Bearer YWxpY2U6c2VjcmV0",)),
            Case("CONNECT a.test:443", "407 open", fields=("Proxy-Authorization: Basic",)),
            Case("CONNECT a.test:443", "407 open", fields=("Proxy-Authorization: Basic !!!!",)),
            Case("CONNECT a.test:443", "407 open", fields=("Authorization: Basic YWxpY2U6c2VjcmV0",)),
            Case("CONNECT a.test:443", "200 first", fields=("Proxy-Authorization: basic YWxpY2U6c2VjcmV0",)),
            Case("CONNECT a.test:443", "200 first", fields=("proxy-authorization:BASIC   YWxpY2U6c2VjcmV0",)),
            Case("GET http://a.test/", "407 open"),
            Case("GET http://a.test/", "407 open", login="alice:wrong", source=16),
            Case("GET http://a.test/", "200 first", login="alice:secret"),
            Case("CONNECT a.free.test:443", "200 first"),
            Case("CONNECT a.free.test:443", "200 first", login="alice:wrong", source=17),
            Case("CONNECT a.test:1", "407 open"),
            Case("CONNECT a.test:1", "407 open", login="alice:secret"),
            Case("CONNECT a.test:1", "200 first", login="bob:secret"),
            Case("CONNECT a.test:2", "407 open"),
            Case("CONNECT a.test:2", "403", login="alice:secret"),
            Case("CONNECT a.test:2", "407 open", login="alice:wrong", source=18),
            Case("CONNECT a.test:3", "403"),
            Case("CONNECT a.test:3", "407 open", source=2),
            Case("CONNECT a.test:3", "200 first", source=2, login="alice:secret"),
            Case("CONNECT a.test:3", "403", source=2, login="bob:secret"),
            Case("CONNECT a.test:4", "407 open", source=2),
            Case("CONNECT a.test:4", "200 first", source=2, login="bob:secret"),
            Case("CONNECT a.test:4", "403", login="bob:secret"),
            Case("CONNECT a.test:5", "200 first", login="bob:secret"),
            Case("CONNECT a.test:5", "403", login="dave:secret"),
            Case("CONNECT a.test:6", "200 first", login="BOB:secret"),
            Case("CONNECT a.test:6", "403", login="dave:secret"),
            Case("CONNECT a.test:6", "407 open"),
            Case("CONNECT a.test:7", "200 first", login="dave:secret"),
            Case("CONNECT a.test:7", "200 first", login="erin:secret"),
            Case("CONNECT a.test:7", "403", login="alice:secret"),
            Case("CONNECT a.test:8", "407 open"),
            Case("CONNECT a.test:8", "200 first", login="bob:secret"),
            Case("CONNECT a.test:8", "403", login="bob:secret", source=2),
            Case("CONNECT a.test:9", "407 open"),
            Case("CONNECT a.test:9", "200 first", login="bob:secret"),
            Case("CONNECT a.test:9", "403", login="alice:secret"),
            Case("CONNECT a.test:10", "403", login="BOB:secret"),
        ],
    ),
    "the last line is about a user, and case counts": Setting(
        AUTH
        + PARENT
        + """
http_port 127.0.0.1:{port}
auth_param basic casesensitive on
acl near src 127.0.0.2
acl alice proxy_auth alice
acl dave proxy_auth -i DAVE
http_access allow near alice
http_access allow dave
""",
        [
            Case("CONNECT a.test:443", "407 open"),
            Case("CONNECT a.test:443", "407 open", login="alice:secret"),
            Case("CONNECT a.test:443", "200 first", login="alice:secret", source=2),
            Case("CONNECT a.test:443", "407 open", login="ALICE:secret", source=2),
            Case("CONNECT a.test:443", "200 first", login="dave:secret"),
            Case("CONNECT a.test:443", "407 open", login="Dave:secret", source=19),
        ],
    ),
    "parents": Setting(
        """
http_port 127.0.0.1:{port}
cache_peer 127.0.0.1 parent {dead} 0 no-query no-digest name=dead
cache_peer 127.0.0.1 parent {first} 0 no-query no-digest login=us%65r:p%3Ass name=own
cache_peer 127.0.0.1 parent {second} 0 no-query no-digest login=PASSTHRU name=theirs
cache_peer 127.0.0.1 parent {third} 0 no-query no-digest name=plain
cache_peer 127.0.0.1 parent {secure} 0 no-query tls tls-cafile={folder}/authority.pem tls-domain=proxy.test name=secure
acl p1 port 1
acl p2 port 2
acl p3 port 3
acl p4 port 4
acl p5 port 5
acl p6 port 6
acl here port {web}
acl itself dstdomain -n localhost
cache_peer_access dead allow p3
cache_peer_access dead allow p4
cache_peer_access own allow p1
cache_peer_access own allow p4
cache_peer_access theirs allow p2
cache_peer_access plain allow here
cache_peer_access secure allow p5
always_direct allow itself
never_direct allow p1
never_direct allow p2
never_direct allow p3
never_direct allow p4
never_direct allow p5
never_direct allow p6
http_access allow all
""",
        [
            Case("CONNECT a.test:1", "200 first user:p:ss"),
            Case("CONNECT a.test:1", "200 first user:p:ss", login="alice:secret"),
            Case("GET http://a.test:1/", "200 first user:p:ss"),
            Case("CONNECT tls.test:1", "200 origin 200", sni="a.test"),
            Case("CONNECT a.test:2", "200 second"),
            Case("CONNECT a.test:2", "200 second alice:secret", login="alice:secret"),
            Case("GET http://a.test:2/", "200 second alice:secret", login="alice:secret"),
            Case(
                "CONNECT status-407.test:2",
                "407 closed",
                ours="407 open",
                why="the client may well come back with credentials",
            ),
            Case("GET http://status-407.test:2/", "407 open"),
            Case("CONNECT status-407.test:1", "407 closed", ours="502", why=OWN),
            Case("GET http://status-407.test:1/", "407 without a challenge", ours="502", why=OWN),
            Case("CONNECT status-403.test:1", "403"),
            Case("CONNECT status-503.test:1", "503"),
            Case("CONNECT status-418.test:1", "418"),
            Case("GET http://status-403.test:1/", "403"),
            Case("CONNECT drop.test:1", "200 closed", ours="502", why=NO_ANSWER),
            Case("CONNECT garbage.test:1", "200 220 mail.test ESMTP", ours="502", why=NO_ANSWER),
            Case("GET http://garbage.test:1/", "200 220 mail.test ESMTP", ours="502", why=NO_ANSWER),
            Case("CONNECT a.test:3", "500", ours="502", why=NO_CONNECTION),
            Case("CONNECT a.test:4", "200 first user:p:ss"),
            Case("GET http://a.test:4/", "200 first user:p:ss"),
            Case("CONNECT a.test:5", "200 secure"),
            Case("GET http://a.test:5/", "200 secure"),
            Case("CONNECT a.test:6", "500", ours="403", why="the rules leave no way out"),
            Case("CONNECT 127.0.0.1:{echo}", "200 direct"),
            Case("CONNECT 127.0.0.1:{web}", "200 200", text=REQUEST),
            Case("GET http://127.0.0.1:{web}/say/direct", "200 third"),
            Case("GET http://localhost:{web}/say/direct", "200 direct"),
            Case("POST http://127.0.0.1:{web}/say/direct", "200 direct", fields=("Content-Length: 0",)),
        ],
    ),
    "a parent after all": Setting(
        """
http_port 127.0.0.1:{port}
cache_peer 127.0.0.1 parent {first} 0 no-query no-digest
nonhierarchical_direct off
prefer_direct on
acl inside dst 10.0.0.0/8
http_access deny inside
http_access allow all
dns_timeout 1 second
""",
        [
            Case("CONNECT 127.0.0.1:{echo}", "200 direct"),
            Case("CONNECT 127.0.0.1:{dead}", "200 first"),
            Case("CONNECT nowhere.invalid:443", "200 first"),
            Case("CONNECT 10.1.2.3:443", "403"),
            Case("GET http://127.0.0.1:{web}/say/direct", "200 direct"),
            Case("GET http://127.0.0.1:{dead}/", "200 first"),
        ],
    ),
    "bump": Setting(
        AUTH
        + "\n".join(
            f"http_port 127.0.0.1:{{{name}_port}} name={name} {BUMPING}\nacl {name} myportname {name}"
            for name in BUMP_DOORS
        )
        + f"""
http_port 127.0.0.1:{{port}} {BUMPING}
tls_outgoing_options cafile={{folder}}/authority.pem default-ca=off
acl one at_step SslBump1
acl two at_step SslBump2
acl three at_step SslBump3
acl inside dstdomain -n 127.0.0.1
acl apps ssl::server_name .apps.test
acl asked ssl::server_name_regex -i ^REGEX[0-9]
acl cert ssl::server_name cert.test
acl host ssl::server_name 127.0.0.1
acl forbidden port 1
acl strangers dstdomain .auth.test
acl users proxy_auth REQUIRED

ssl_bump splice names inside
ssl_bump peek names one
ssl_bump splice names apps
ssl_bump splice names asked
ssl_bump bump names
ssl_bump bump bump
ssl_bump bump then
ssl_bump splice then apps
ssl_bump none none
ssl_bump server-first server
ssl_bump terminate step1 inside
ssl_bump splice step1
ssl_bump peek step2 one
ssl_bump terminate step2 apps
ssl_bump splice step2 two
ssl_bump peek peek
ssl_bump stare stare
ssl_bump peek precluded one
ssl_bump peek precluded two
ssl_bump bump precluded
ssl_bump stare staring one
ssl_bump stare staring two
ssl_bump splice staring three
ssl_bump splice early host
ssl_bump bump early
ssl_bump peek certs one
ssl_bump peek certs two
ssl_bump terminate certs three cert
ssl_bump splice certs three

http_access deny forbidden
http_access deny strangers !users
http_access allow all
""",
        [
            Case("CONNECT 127.0.0.1:{tls}", "200 origin 200", sni="x.test", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="a.apps.test", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="apps.test", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="A.APPS.test", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="regex7.test", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="x.test", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="-", door="names_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="x.test", door="bump_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="a.apps.test", door="bump_port"),
            Case("CONNECT localhost:{tls12}", "200 operator 200", sni="a.apps.test", door="bump_port"),
            Case(
                "CONNECT localhost:{stranger}",
                "200 operator 503",
                sni="x.test",
                door="bump_port",
                ours="200 untrusted 200",
                why="what is wrong with the server's certificate the client sees by itself",
            ),
            Case(
                "CONNECT 127.0.0.1:{tls}",
                "200 operator 503",
                sni="-",
                door="bump_port",
                ours="200 operator 200",
                why="Squid does not look at the addresses in certificates",
            ),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="a.apps.test", door="then_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="x.test", door="none_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="x.test", door="server_port"),
            Case(
                "CONNECT 127.0.0.1:{tls}",
                "closed",
                sni="x.test",
                door="step1_port",
                ours="403",
                why="the client has said nothing but CONNECT, to which there is an answer",
            ),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="x.test", door="step1_port"),
            Case("CONNECT localhost:{tls}", "200 closed", sni="a.apps.test", door="step2_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="x.test", door="step2_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="x.test", door="peek_port"),
            Case("CONNECT localhost:{tls12}", "200 origin 200", sni="x.test", door="peek_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="x.test", door="stare_port"),
            Case("CONNECT localhost:{tls12}", "200 operator 200", sni="x.test", door="stare_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="x.test", door="precluded_port"),
            Case("CONNECT localhost:{tls12}", "200 origin 200", sni="x.test", door="precluded_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="x.test", door="staring_port"),
            Case("CONNECT 127.0.0.1:{tls}", "200 origin 200", sni="x.test", door="early_port"),
            Case("CONNECT localhost:{tls}", "200 operator 200", sni="x.test", door="early_port"),
            Case("CONNECT localhost:{cert12}", "200 closed", sni="x.test", door="certs_port"),
            Case("CONNECT localhost:{cert}", "200 origin 200", sni="x.test", door="certs_port"),
            Case("CONNECT localhost:{tls12}", "200 origin 200", sni="x.test", door="certs_port"),
            Case("CONNECT localhost:{tls}", "200 origin 200", sni="x.test"),
            Case("CONNECT localhost:1", "200 operator 403", sni="x.test", door="bump_port", ours="403", why=EARLY),
            Case("CONNECT localhost:1", "200 operator 403", sni="x.test", door="none_port", ours="403", why=EARLY),
            Case("CONNECT localhost:2", "200 operator 503", sni="x.test", door="bump_port", ours="502", why=EARLY),
            Case("CONNECT localhost:2", "503", sni="x.test", door="none_port", ours="502", why=NO_CONNECTION),
            Case("CONNECT a.auth.test:443", "407 open", sni="x.test", door="bump_port"),
            Case("CONNECT localhost:{web}", "200 200", text=REQUEST, door="none_port"),
            Case("CONNECT localhost:{web}", "200 closed", text=REQUEST, door="bump_port", ours="200 400", why=RESPOND),
            Case("GET http://localhost:{web}/say/direct", "200 direct", door="bump_port"),
        ],
    ),
    "bump, else a tunnel": Setting(
        f"""
http_port 127.0.0.1:{{port}} {BUMPING}
ssl_bump bump all
on_unsupported_protocol tunnel all
http_access allow all
""",
        [
            Case("CONNECT 127.0.0.1:{quiet}", "200 no TLS at all", text="no TLS at all\n"),
            Case("CONNECT 127.0.0.1:{web}", "200 200", text=REQUEST),
        ],
    ),
}
