"""Configurations of Traffic Server, and what clients of each get to see: the table of
test_same_outcome_as_trafficserver.py.

An outcome is what the client gets to see, in words:

    first: first tls a.test h2 -     whose certificate it was shown, then what the server says: its name, that it was
                                     spoken to in TLS, the name and the protocol it was asked for, and whose certificate
                                     it was shown; or its name and "plain"
    first 1.2 h2: …                  where a case asks for it: the version of TLS and the protocol that were agreed on
    first: closed                    the handshake was the last that went well
    first: http                      what follows is HTTP of Traffic Server's own
    alert x, closed                  there was no handshake

Where ferryman gives another outcome than Traffic Server, `ours` has it and `why` the reason.

In braces are ports and the folder with certificates. Longer than other files, for it is a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """What a client asks for, and the outcome."""

    sni: str  # "": no name at all
    outcome: str
    source: int = 1  # 127.0.0.…
    alpn: tuple[str, ...] = ()
    version: str = ""  # the only one that the client speaks
    shows: str = ""  # whose certificate
    agreed: bool = False  # version and protocol are part of the outcome
    odd: bool = False  # a name that only openssl asks for
    plain: bool = False  # says something that is not TLS
    door: str = "port"
    header: str = ""  # a PROXY header
    ours: str = ""
    why: str = ""

    def __str__(self) -> str:
        """What tells it from the others of its setting."""
        more = (",".join(self.alpn), self.version, self.shows, "plain" * self.plain, self.door, self.header)
        return f"{self.sni or '-'} ({', '.join(filter(None, more))}, from 127.0.0.{self.source})"


@dataclass(frozen=True)
class Setting:
    """Configuration files, and what to try with them."""

    sni: str
    cases: list[Case] = field(default_factory=list)
    records: str = "CONFIG proxy.config.http.connect_ports STRING *\n"
    multicert: str = "dest_ip=* ssl_cert_name=default.pem\nssl_cert_name=alpha.pem\n"
    ip_allow: str = "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n"
    ports: str = "{port}:ssl:ip-in=127.0.0.1"
    named: str = ""  # leads to a host by name


HTTP = "what follows there is HTTP, which ferryman does not speak"
DOT = "a dot at the end of a name changes nothing (RFC 6066 forbids it in this place)"
POLICY = "the hello is refused before anything is agreed on, without an alert that would blame the proxy"
FIRST = "the server is asked first, so that clients learn of its failure before their handshake ends"
NONE = "a client with none of the protocols goes on without one"
SETTINGS = {
    "tunnel": Setting(
        """
sni:
  - fqdn: exact.test
    tunnel_route: 127.0.0.1:{first}
  - fqdn: "*.wild.test"
    tunnel_route: 127.0.0.1:{first}
  - fqdn: late.wild.test
    tunnel_route: 127.0.0.1:{second}
  - fqdn: early.order.test
    tunnel_route: 127.0.0.1:{second}
  - fqdn: "*.order.test"
    tunnel_route: 127.0.0.1:{first}
  - fqdn: "*.cap.test"
    tunnel_route: $1:{second}
  - fqdn: noport.test
    tunnel_route: 127.0.0.5
  - fqdn: name.test
    tunnel_route: localhost:{first}
  - fqdn: some.test
    tunnel_route: 127.0.0.1:{first}
    ip_allow: 127.0.0.2,127.0.0.8-127.0.0.9,127.0.1.0/24
  - fqdn: dead.test
    tunnel_route: 127.0.0.1:{dead}
  - fqdn: 127.0.0.1
    tunnel_route: 127.0.0.1:{first}
  - fqdn: CAPITAL.test
    tunnel_route: 127.0.0.1:{first}
  - fqdn: nothing.test
    http2: off
""",
        [
            Case("exact.test", "first: first tls exact.test - -"),
            Case("EXACT.test", "first: first tls EXACT.test - -"),
            Case("capital.test", "first: first tls capital.test - -"),
            Case("exact.test", "first: first tls exact.test h2 -", alpn=("h2", "http/1.1")),
            Case("exact.test", "first: first tls exact.test http/1.1 -", alpn=("http/1.1",)),
            Case("exact.test", "first 1.2 -: first tls exact.test - -", version="1.2", agreed=True),
            Case("exact.test", "first: first tls exact.test - client", shows="client"),
            Case("exact.test.", "default: http", ours="first: first tls exact.test. - -", why=DOT),
            Case("xexact.test", "default: http", ours="closed", why=HTTP),
            Case("exact.testx", "default: http", ours="closed", why=HTTP),
            Case("a.exact.test", "default: http", ours="closed", why=HTTP),
            Case("a.wild.test", "first: first tls a.wild.test - -"),
            Case("a.b.wild.test", "first: first tls a.b.wild.test - -"),
            Case("wild.test", "default: http", ours="closed", why=HTTP),
            Case("xwild.test", "default: http", ours="closed", why=HTTP),
            Case("late.wild.test", "first: first tls late.wild.test - -"),
            Case("early.order.test", "second: second tls early.order.test - -"),
            Case("other.order.test", "first: first tls other.order.test - -"),
            Case("127.0.0.1.cap.test", "second: second tls 127.0.0.1.cap.test - -"),
            Case("noport.test", "fifth: fifth tls noport.test - -"),
            Case("name.test", "first: first tls name.test - -"),
            Case("some.test", "alert internal_error", ours="closed", why=POLICY),
            Case("some.test", "first: first tls some.test - -", source=2),
            Case("some.test", "first: first tls some.test - -", source=9),
            Case("some.test", "alert internal_error", source=10, ours="closed", why=POLICY),
            Case("dead.test", "closed"),
            Case("127.0.0.1", "first: first tls 127.0.0.1 - -", odd=True),
            Case("nothing.test", "default: http", ours="closed", why=HTTP),
            Case("unknown.test", "default: http", ours="closed", why=HTTP),
            Case("", "default: http", ours="closed", why=HTTP),
            Case("", "closed", plain=True),
        ],
        named="name.test",
        ip_allow="""
ip_allow:
  - apply: in
    ip_addrs: 0/0
    action: allow
  - apply: out
    ip_addrs: 127.0.0.0/8
    action: allow
""",
    ),
    "forward": Setting(
        """
sni:
  - fqdn: alpha.test
    forward_route: 127.0.0.1:{first}
  - fqdn: "*.alpha.test"
    forward_route: 127.0.0.1:{first}
  - fqdn: beta.test
    forward_route: 127.0.0.1:{first}
  - fqdn: off.test
    forward_route: 127.0.0.1:{first}
    http2: off
  - fqdn: noport.test
    forward_route: 127.0.0.5
  - fqdn: dead.test
    forward_route: 127.0.0.1:{dead}
  - fqdn: v12.test
    forward_route: 127.0.0.1:{first}
    valid_tls_versions_in: [TLSv1_2]
  - fqdn: v13.test
    forward_route: 127.0.0.1:{first}
    valid_tls_versions_in: [TLSv1_3]
  - fqdn: strict.test
    forward_route: 127.0.0.1:{first}
    verify_client: STRICT
    verify_client_ca_certs: "{folder}/ca.pem"
  - fqdn: moderate.test
    forward_route: 127.0.0.1:{first}
    verify_client: MODERATE
    verify_client_ca_certs:
      file: "{folder}/ca.pem"
  - fqdn: none.test
    forward_route: 127.0.0.1:{first}
    verify_client: NONE
""",
        [
            Case("alpha.test", "alpha: first plain"),
            Case("x.alpha.test", "alpha: first plain"),
            Case("y.x.alpha.test", "default: first plain"),
            Case("beta.test", "default: first plain"),
            Case("BETA.test", "default: first plain"),
            Case("beta.test", "default 1.3 h2: first plain", alpn=("h2", "http/1.1"), agreed=True),
            Case("beta.test", "default 1.3 h2: first plain", alpn=("http/1.1", "h2"), agreed=True),
            Case("beta.test", "default 1.2 http/1.1: first plain", alpn=("http/1.1",), agreed=True, version="1.2"),
            Case("beta.test", "alert no_application_protocol", alpn=("other",), ours="default: first plain", why=NONE),
            Case("off.test", "default 1.3 http/1.1: first plain", alpn=("h2", "http/1.1"), agreed=True),
            Case("noport.test", "default: fifth plain"),
            Case("dead.test", "default: closed"),
            Case("v12.test", "default 1.2 -: first plain", agreed=True),
            Case("v12.test", "alert protocol_version", version="1.3"),
            Case("v13.test", "default 1.3 -: first plain", agreed=True),
            Case("v13.test", "alert protocol_version", version="1.2"),
            Case("strict.test", "default: first plain", shows="client"),
            Case("strict.test", "default: first plain", shows="client", version="1.2"),
            Case("strict.test", "default: closed"),
            Case("strict.test", "alert handshake_failure", version="1.2"),
            Case("strict.test", "alert unknown_ca", shows="stranger", version="1.2"),
            Case("moderate.test", "default: first plain", shows="client"),
            Case("moderate.test", "default: first plain"),
            Case("moderate.test", "alert unknown_ca", shows="stranger", version="1.2"),
            Case("none.test", "default: first plain", shows="stranger"),
        ],
    ),
    "blind": Setting(
        """
sni:
  - fqdn: address.test
    partial_blind_route: 127.0.0.1:{first}
  - fqdn: const.test
    partial_blind_route: 127.0.0.1:{first}
    client_sni_policy: "@other.name.test"
  - fqdn: good.test
    partial_blind_route: 127.0.0.1:{first}
    client_sni_policy: "@first.test"
  - fqdn: name.test
    partial_blind_route: 127.0.0.1:{first}
    client_sni_policy: "@wrong.test"
  - fqdn: signature.test
    partial_blind_route: 127.0.0.1:{first}
    client_sni_policy: "@signed.test"
  - fqdn: ca.test
    partial_blind_route: 127.0.0.1:{second}
    client_sni_policy: "@second.test"
  - fqdn: first.test
    partial_blind_route: 127.0.0.1:{first}
    client_sni_policy: server_name
    verify_server_policy: ENFORCED
    client_cert: client.pem
  - fqdn: wrong.test
    partial_blind_route: 127.0.0.1:{first}
    client_sni_policy: server_name
    verify_server_policy: ENFORCED
  - fqdn: stray.test
    partial_blind_route: 127.0.0.1:{second}
    verify_server_policy: ENFORCED
  - fqdn: host.test
    partial_blind_route: localhost:{first}
  - fqdn: off.test
    partial_blind_route: 127.0.0.1:{first}
    http2: off
  - fqdn: alpn.test
    partial_blind_route: 127.0.0.1:{first}
    http2: off
    tunnel_alpn: [h2]
  - fqdn: added.test
    partial_blind_route: 127.0.0.1:{first}
    tunnel_alpn: [http/1.1]
  - fqdn: dead.test
    partial_blind_route: 127.0.0.1:{dead}
  - fqdn: signed.test
    verify_server_policy: ENFORCED
    verify_server_properties: SIGNATURE
  - fqdn: second.test
    verify_server_policy: ENFORCED
""",
        [
            Case("address.test", "default: first tls - - -"),
            Case("address.test", "default 1.3 h2: first tls - h2 -", alpn=("h2", "http/1.1"), agreed=True),
            Case("address.test", "default 1.3 http/1.1: first tls - http/1.1 -", alpn=("http/1.1",), agreed=True),
            Case("const.test", "default: first tls other.name.test - -"),
            Case("good.test", "default: first tls first.test - client"),
            Case("first.test", "default: first tls first.test - client"),
            Case("name.test", "default: closed"),
            Case("wrong.test", "default: closed"),
            Case("wrong.test", "default: closed", alpn=("h2",), ours="closed", why=FIRST),
            Case("signature.test", "default: first tls signed.test - -"),
            Case("ca.test", "default: closed"),
            Case("stray.test", "default: second tls - - -"),
            Case("host.test", "default: first tls localhost - -"),
            Case("off.test", "default 1.3 http/1.1: first tls - http/1.1 -", alpn=("h2", "http/1.1"), agreed=True),
            Case("alpn.test", "default 1.3 h2: first tls - h2 -", alpn=("h2", "http/1.1"), agreed=True),
            Case("added.test", "default 1.3 h2: first tls - h2 -", alpn=("h2", "http/1.1"), agreed=True),
            Case("dead.test", "default: closed"),
        ],
        records="CONFIG proxy.config.http.connect_ports STRING *\n"
        "CONFIG proxy.config.ssl.client.CA.cert.filename STRING ca.pem\n"
        "CONFIG proxy.config.ssl.client.CA.cert.path STRING {folder}\n"
        "CONFIG proxy.config.ssl.client.cert.path STRING {folder}\n",
        named="host.test",
    ),
    "no certificate for all": Setting(
        """
sni:
  - fqdn: "*"
    forward_route: 127.0.0.1:{first}
""",
        [
            Case("alpha.test", "alpha: first plain"),
            Case("other.test", "alert handshake_failure", ours="alert unrecognized_name", why="it says what is wrong"),
            Case("", "alert handshake_failure", ours="alert unrecognized_name", why="it says what is wrong"),
        ],
        multicert="ssl_cert_name=alpha.pem\n",
    ),
    "a certificate for an address": Setting(
        """
sni:
  - fqdn: "*"
    forward_route: 127.0.0.1:{first}
""",
        [
            Case("default.test", "default: first plain"),
            Case("other.test", "alpha: first plain"),
            Case("", "alpha: first plain"),
        ],
        multicert="dest_ip=* ssl_cert_name=default.pem\ndest_ip=127.0.0.1 ssl_cert_name=alpha.pem\n",
    ),
    "ip_allow": Setting(
        """
sni:
  - fqdn: tunnel.test
    tunnel_route: 127.0.0.1:{first}
  - fqdn: forward.test
    forward_route: 127.0.0.1:{first}
  - fqdn: denied.test
    tunnel_route: 127.0.0.5:{first}
""",
        [
            Case("tunnel.test", "first: first tls tunnel.test - -"),
            Case("tunnel.test", "closed", source=2),
            Case("tunnel.test", "first: first tls tunnel.test - -", source=3),
            Case("tunnel.test", "first: first tls tunnel.test - -", source=4),
            Case("tunnel.test", "closed", source=9),
            Case("forward.test", "default: closed", source=2, ours="closed", why="the connection itself is refused"),
            Case("forward.test", "default: first plain", source=3),
            Case("denied.test", "nonsense", ours="closed", why="Traffic Server says 403 in plain HTTP"),
        ],
        ip_allow="""
ip_allow:
  - apply: in
    ip_addrs: 127.0.0.2
    action: deny
  - apply: in
    ip_addrs: 127.0.0.3
    action: deny
    methods: [GET, PURGE]
  - apply: in
    ip_addrs: 127.0.0.4
    action: allow
    methods: GET
  - apply: in
    ip_addrs: [127.0.0.1]
    action: allow
  - apply: out
    ip_addrs: 127.0.0.5
    action: deny
    methods: CONNECT
""",
    ),
    "PROXY headers": Setting(
        """
sni:
  - fqdn: "*"
    tunnel_route: 127.0.0.1:{first}
    ip_allow: 192.0.2.1
""",
        [
            Case("x.test", "first: first tls x.test - -", header="PROXY TCP4 192.0.2.1 127.0.0.1 5555 443\r\n"),
            Case(
                "x.test",
                "alert internal_error",
                header="PROXY TCP4 192.0.2.2 127.0.0.1 5555 443\r\n",
                ours="closed",
                why=POLICY,
            ),
            Case("x.test", "closed", header="PROXY TCP4 192.0.2.1 127.0.0.1 5555 443\r\n", source=2),
        ],
        records="CONFIG proxy.config.http.connect_ports STRING *\n"
        "CONFIG proxy.config.http.proxy_protocol_allowlist STRING 127.0.0.1\n",
        ports="{port}:ssl:pp:ip-in=127.0.0.1",
    ),
    "connect_ports": Setting(
        """
sni:
  - fqdn: fixed.test
    tunnel_route: 127.0.0.1:{first}
  - fqdn: local.test
    tunnel_route: 127.0.0.5
""",
        [
            Case(
                "fixed.test",
                "nonsense",
                ours="first: first tls fixed.test - -",
                why="a port that sni.yaml itself names is allowed, as in Traffic Server 10",
            ),
            Case("local.test", "nonsense", ours="closed", why="Traffic Server says 403 in plain HTTP"),
        ],
        records="",
    ),
}
