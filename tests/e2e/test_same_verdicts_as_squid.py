"""The same squid.conf, the same clients, the same verdicts: each case is played to Squid and to ferryman.

The table, with what a verdict is and where and why those of ferryman are others, is squid_cases.py.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import squid
import trustme
from cryptography import x509
from ferry import Ferry, free_port
from origin import Origin
from parent import Parent
from servers import Authority, EchoServer, TlsServer
from squid_cases import SETTINGS, Case, Setting
from talk import Talk, basic

pytestmark = pytest.mark.xdist_group("same_verdicts_as_squid")

SECRETS = {  # all of "secret", but for the last
    "alice": "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
    "bob": "$2y$04$yFFLoUmVWaH2haXgKmkXEOcZQcWVYnxK9.cB41zjrCEAuQYWWBmZK",
    "carol": "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "dave": "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
    "erin": "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
    "frank": "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
    "Grace": "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
    "heidi": "$apr1$saltsalt$hruEt7ceTY4kjwmzX04DP1",
}


class OldTlsServer(TlsServer):
    """TLS 1.2, in which the certificate can be seen by everybody."""

    def __init__(self, name: str, authority: Authority, hosts: list[str], host: str) -> None:
        super().__init__(name, authority, hosts, host)
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2


class Ports(dict[str, str]):
    """What the braces stand for; a port of the proxy is found when it is first asked for."""

    def __missing__(self, name: str) -> str:
        assert name.endswith("port"), name
        self[name] = str(free_port())
        return self[name]


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[Path]:
    """The folder with all files that a setting names."""
    squid.need()
    operator = trustme.CA(organization_name="Operator")
    with squid.folder() as folder:
        (folder / "users").write_text("".join(f"{user}:{secret}\n" for user, secret in SECRETS.items()))
        (folder / "some").write_text("# people\ndave\nerin # and more\n")
        (folder / "names").write_text("listed.test\n\n# commented.test\n.also.test\n")
        (folder / "authority.pem").write_bytes(authority.ca.cert_pem.bytes())
        (folder / "operator.pem").write_bytes(operator.cert_pem.bytes() + operator.private_key_pem.bytes())
        (folder / "operator.pem").chmod(0o600)
        yield folder


@pytest.fixture(scope="module")
def world(site: Path, authority: Authority) -> Iterator[dict[str, str]]:
    """Everything around the proxy, and where it is."""
    hosts = ["localhost", "x.test", "*.apps.test", "127.0.0.1"]
    named = [*hosts, "cert.test"]
    tls = TlsServer("tls", authority, hosts, "127.0.0.1")
    servers: dict[str, EchoServer | Origin | Parent | TlsServer] = {
        "echo": EchoServer(greeting=b"direct\n"),
        "quiet": EchoServer(),
        "web": Origin(),
        "tls": tls,
        "tls12": OldTlsServer("tls12", authority, hosts, "127.0.0.1"),
        "cert": TlsServer("cert", authority, named, "127.0.0.1"),
        "cert12": OldTlsServer("cert12", authority, named, "127.0.0.1"),
        "stranger": TlsServer("stranger", Authority(site), hosts, "127.0.0.1"),
        "first": Parent("first", tls.port),
        "second": Parent("second", tls.port),
        "third": Parent("third", tls.port),
        "secure": Parent("secure", tls.port, authority),
    }
    with contextlib.ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.close)
        yield {
            "folder": str(site),
            "dead": str(free_port()),
            **{name: str(server.port) for name, server in servers.items()},
        }


def filled(text: str, ports: Ports) -> str:
    """A configuration as it can be run now."""
    now = datetime.datetime.now()
    two_days_on = "SMTWHFA"[(now.weekday() + 3) % 7]
    for word, value in (("HOUR", f"{now:%H}"), ("LATER", f"{(now.hour + 6) % 24:02}"), ("TOMORROW", two_days_on)):
        text = text.replace(word, value)
    return text.format_map(ports)


def verdict(case: Case, ports: Ports) -> str:
    """What the client gets to see."""
    method, target = case.said.format_map(ports).split(" ")
    host = target.split("//")[-1].split("/")[0] or "127.0.0.1"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *case.fields]
    if case.login:
        lines.append(basic(*case.login.split(":", 1)))
    head = "\r\n".join([*lines, "", ""])
    with Talk(int(ports[case.door]), source=f"127.0.0.{case.source}") as talk:
        talk.send(head)
        if ended(talk.sock):
            return "closed"
        answer = talk.answer(method.upper())
        if answer.status == 407:
            if not answer.get("proxy-authenticate").startswith("Basic realm="):
                return "407 without a challenge"
            talk.send(head)
            return "407 closed" if ended(talk.sock) else f"{talk.answer(method).status} open"
        if answer.status != 200:
            return str(answer.status)
        if method.upper() != "CONNECT":
            return f"200 {answer.body.decode()}".strip()
        if case.sni:
            return f"200 {inside(talk, case.sni, host)}"
        if case.text:
            talk.send(case.text)
        return f"200 {first_line(talk)}"


def ended(sock: socket.socket) -> bool:
    """Is the end what comes next?"""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except ConnectionError:
        return True


def first_line(talk: Talk) -> str:
    data = b""
    with contextlib.suppress(ConnectionError):
        while b"\n" not in data and (more := talk.some()):
            data += more
    return said(data) or "closed"


def said(data: bytes) -> str:
    """The status of an answer; of what is none the first line."""
    line = data.partition(b"\n")[0].decode("latin-1")
    return line.split(" ")[1] if line.startswith("HTTP/1.") else line.strip()


def inside(talk: Talk, sni: str, host: str) -> str:
    """Who answers TLS, and what to a request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(talk.sock, server_hostname=None if sni == "-" else sni) as tls:
            certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
            issuer = certificate.issuer.rfc4514_string().lower()
            who = "untrusted" if "not trusted" in issuer else "operator" if "operator" in issuer else "origin"
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return f"{who} {said(tls.recv(65536))}"
    except (ssl.SSLError, ConnectionError):
        return "closed"


def played(setting: Setting, ports: Ports) -> list[str]:
    """The verdicts on all cases, one a line."""
    return [f"{case}: {verdict(case, ports)}" for case in setting.cases]


@pytest.fixture(scope="module")
def ferry(run_shared_ferry: Callable[..., Ferry]) -> Ferry:
    """One for all settings, which reach it by a reload: that is quicker than a start."""
    return run_shared_ferry(f"http_port 127.0.0.1:{free_port()}\n", "squid.conf")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_verdicts(name: str, site: Path, world: dict[str, str], ferry: Ferry) -> None:
    setting = SETTINGS[name]
    ports = Ports(world)
    with contextlib.closing(squid.Squid(site, filled(setting.text, ports), int(ports["port"]))):
        assert played(setting, ports) == [f"{case}: {case.verdict}" for case in setting.cases], "Squid"
    ports = Ports(world)
    ferry.file.write_text(filled(setting.text, ports))
    assert (answer := ferry.client.reload())["ok"], answer
    assert played(setting, ports) == [f"{case}: {case.ours or case.verdict}" for case in setting.cases], "ferryman"


def test_what_differs_has_a_reason() -> None:
    cases = [case for setting in SETTINGS.values() for case in setting.cases]
    assert len(cases) >= 40
    assert [str(case) for case in cases if bool(case.ours) != bool(case.why)] == []
