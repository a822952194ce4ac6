"""Certificates of clients whose TLS ends here: who is let in, where they are led, and what the log tells of them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port
from pki import DAY, Pki
from servers import EchoServer

NATIVE = """
global: {{workers: 1}}
listeners:
  required:
    bind: 127.0.0.1:{required}
    tls: {{certificates: {server}, clients: {{ca: {ca}, crl: {crl}}}}}
    routes:
      - {{to: admin, when: {{"client_cert_subject(CN)": alice}}}}
    to: others
  optional:
    bind: 127.0.0.1:{optional}
    tls: {{certificates: {server}, clients: {{certificate: optional, ca: {ca}}}}}
    routes:
      - {{to: admin, when: {{client_cert: true}}}}
    to: others
backends:
  admin: {{servers: ["{admin_server}"]}}
  others: {{servers: ["{other_server}"]}}
"""
HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend required
    bind 127.0.0.1:{required} ssl crt {server} verify required ca-file {ca} crl-file {crl}
    use_backend admin if {{ ssl_c_s_dn(CN) -m str alice }}
    default_backend others
frontend optional
    bind 127.0.0.1:{optional} ssl crt {server} verify optional ca-file {ca}
    use_backend admin if {{ ssl_c_used }}
    default_backend others
backend admin
    server admin {admin_server}
backend others
    server other {other_server}
"""


class Site:
    def __init__(self, start: Callable[..., Ferry], folder: Path, dialect: str) -> None:
        now = datetime.now(UTC)
        (folder / "stranger").mkdir()
        self.pki, stranger = Pki(folder), Pki(folder / "stranger")
        issue = self.pki.issue
        self.shown = {
            "alice": issue("alice.pem", "alice@example.org", common_name="alice", organization_name="Example, Inc."),
            "bob": issue("bob.pem", "bob@example.org", common_name="bob", rsa=True),
            "revoked": issue("revoked.pem", "carol@example.org", common_name="carol"),
            "expired": issue("expired.pem", "dave@example.org", not_before=now - 2 * DAY, not_after=now - DAY),
            "not yet": issue("early.pem", "erin@example.org", not_before=now + DAY, not_after=now + 2 * DAY),
            "a stranger": stranger.issue("mallory.pem", "alice@example.org", common_name="alice"),
        }
        self.admin, self.others = EchoServer(greeting=b"admin"), EchoServer(greeting=b"other")
        self.ports = {name: free_port() for name in ("required", "optional")}
        native = dialect == "native"
        text = (NATIVE if native else HAPROXY).format(
            **self.ports,
            server=issue("server.pem", "front.example"),
            ca=self.pki.ca,
            crl=self.pki.revoke(self.shown["revoked"]),
            admin_server=self.admin.address,
            other_server=self.others.address,
        )
        self.ferry = start(text, "ferryman.yaml" if native else "haproxy.cfg")

    def led(self, listener: str, who: str, version: ssl.TLSVersion) -> str:
        """To whom, or why not."""
        context = ssl.create_default_context(cafile=self.pki.ca)
        context.maximum_version = version
        if who:
            context.load_cert_chain(self.shown[who])
        try:
            with (
                socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname="front.example") as sock,
            ):
                return sock.recv(5).decode()
        except ssl.SSLError as error:
            return (error.reason or "").removeprefix("SSLV3_").removeprefix("TLSV1_").removeprefix("TLSV13_")

    def close(self) -> None:
        self.admin.close()
        self.others.close()


@pytest.fixture(scope="module", params=["native", "haproxy"])
def site(
    request: pytest.FixtureRequest, run_shared_ferry: Callable[..., Ferry], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    site = Site(run_shared_ferry, tmp_path_factory.mktemp("site"), request.param)
    yield site
    site.close()


ENDS = [
    ("required", "alice", "admin"),
    ("required", "bob", "other"),
    ("required", "", "ALERT_CERTIFICATE_REQUIRED"),
    ("required", "revoked", "ALERT_CERTIFICATE_REVOKED"),
    ("required", "expired", "ALERT_CERTIFICATE_EXPIRED"),
    ("required", "not yet", "ALERT_BAD_CERTIFICATE"),
    ("required", "a stranger", "ALERT_UNKNOWN_CA"),
    ("optional", "bob", "admin"),
    ("optional", "", "other"),
    ("optional", "expired", "ALERT_CERTIFICATE_EXPIRED"),
    ("optional", "a stranger", "ALERT_UNKNOWN_CA"),
]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("listener", "who", "end"), ENDS)
def test_who_is_let_in(site: Site, listener: str, who: str, end: str, version: ssl.TLSVersion) -> None:
    if end == "ALERT_CERTIFICATE_REQUIRED" and version == ssl.TLSVersion.TLSv1_2:
        end = "ALERT_HANDSHAKE_FAILURE"  # RFC 5246 has no other
    assert site.led(listener, who, version) == end


@pytest.mark.parametrize("site", ["native"], indirect=True)
def test_the_log_tells_who_it_was_and_why_not(site: Site) -> None:
    site.led("required", "alice", ssl.TLSVersion.TLSv1_3)
    line = site.ferry.line(lambda line: "CN=alice" in str(line.get("client_tls")))
    assert line["backend"] == "admin"
    subject = line["client_tls"]["certificate"]
    assert subject.startswith("CN=alice,")
    assert subject.endswith(r"O=Example\, Inc.")
    for who, reason in (
        ("", "peer did not return a certificate"),
        ("revoked", "certificate revoked"),
        ("expired", "certificate has expired"),
        ("a stranger", "unable to get local issuer certificate"),
    ):
        site.led("required", who, ssl.TLSVersion.TLSv1_3)
        line = site.ferry.line(lambda line, reason=reason: reason in (line["reason"] or ""))  # type: ignore[misc]
        assert (line["code"], line["backend"]) == ("CR", None)
