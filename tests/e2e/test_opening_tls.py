"""Bump: TLS is opened where a rule says so, with a certificate of the operator's CA; what is inside is carried."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets.sync.client
import websockets.sync.server
from cryptography import x509
from ferry import PATIENCE, Ferry, free_port, until
from servers import Authority
from talk import Talk

NAME = "api.example.test"
AGO = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)


class Origin:
    """TLS on loopback: says its first bytes back in upper case, whatever they are, then echoes until the end."""

    def __init__(
        self, leaf: trustme.LeafCert, alpn: tuple[str, ...] = (), newest: ssl.TLSVersion | None = None
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(self.context)
        if newest is not None:
            self.context.maximum_version = newest
        if alpn:
            self.context.set_alpn_protocols(list(alpn))
        self.names: list[str | None] = []
        self.context.sni_callback = lambda sock, name, context: self.names.append(name)
        self.certificate = leaf
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                connection.settimeout(PATIENCE)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._answer(self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False))

    @staticmethod
    def _answer(tls: ssl.SSLSocket) -> None:
        with tls:
            tls.do_handshake()
            tls.sendall(tls.recv(65536).upper())
            while data := tls.recv(65536):
                tls.sendall(data)
            tls.unwrap()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def origin(authority: Authority) -> Iterator[Callable[..., Origin]]:
    running: list[Origin] = []

    def start(leaf: trustme.LeafCert | None = None, *alpn: str, newest: ssl.TLSVersion | None = None) -> Origin:
        running.append(Origin(leaf or authority.ca.issue_cert(NAME, "*.apps.example.test"), alpn, newest))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    """The CA that the clients of the proxy were told to trust."""
    return trustme.CA(organization_name="Operator")


BAD = "{server_name: bad.example.test}"
LISTENERS = {
    "bump": {},
    "hurried": {"more": "head_timeout: 2s"},
    "refuse": {"bump": "untrusted: refuse"},
    "refuse_names": {"bump": "untrusted: refuse"},
    "spare": {
        "tls": "{action: peek, when: {step: 1}}, {action: splice, when: {sni: '*.apps.example.test'}}, {action: bump}"
    },
    "terminate": {
        "tls": "{action: peek, when: {step: 1}}, {action: terminate, when: {sni: api.example.test}}, {action: splice}"
    },
    "match": {"tls": "{action: splice}", "more": "match_sni: true"},
    "peek": {"tls": f"{{action: terminate, when: {BAD}}}, {{action: peek}}"},
    "stare": {"tls": f"{{action: terminate, when: {BAD}}}, {{action: stare}}"},
    "respond": {"more": "on_unknown_protocol: respond"},
    "end": {"more": "on_unknown_protocol: terminate"},
    "learn": {"bump": "learn: {failures: 2, time: 1h}"},
    "learn_fast": {"bump": "learn: {failures: 1, time: 1h}"},
}
"""By name: `tls` rules, further words of `bump`, and of `connect`."""


class Proxy:
    """ferryman with all these listeners."""

    def __init__(self, run: Callable[..., Ferry], operator: trustme.CA, authority: Authority, folder: Path) -> None:
        operator.cert_pem.write_to_path(str(folder / "ca.pem"))
        operator.private_key_pem.write_to_path(str(folder / "ca.key"))
        self.ports = {name: free_port() for name in LISTENERS}
        ca = f"ca: '{folder}/ca.pem', key: '{folder}/ca.key', server_ca: '{authority.file}'"
        listeners = "".join(
            f"""
  {name}:
    bind: 127.0.0.1:{self.ports[name]}
    connect:
      egress_allow: [127.0.0.1]
      tls: [{words.get("tls", "{action: bump}")}]
      bump: {{{ca}, {words.get("bump", "")}}}
      {words.get("more", "")}"""
            for name, words in LISTENERS.items()
        )
        self.ferry = run(f"listeners:{listeners}\n")

    def lines(self, listener: str) -> list[dict[str, Any]]:
        return [line for line in self.ferry.lines() if line["listener"] == listener]

    def line(self, listener: str, field: str, value: str) -> dict[str, Any]:
        """The first of a listener in whose field this is."""
        return self.ferry.line(lambda line: line["listener"] == listener and value in str(line[field]))


@pytest.fixture(scope="module")
def proxy(
    run_shared_ferry: Callable[..., Ferry],
    operator: trustme.CA,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Proxy:
    return Proxy(run_shared_ferry, operator, authority, tmp_path_factory.mktemp("authority"))


def through(
    port: int, target: int, ca: trustme.CA | None, name: str = NAME, alpn: tuple[str, ...] = ()
) -> ssl.SSLSocket:
    """A TLS client that went through CONNECT; trusts `ca` (None: anybody)."""
    talk = Talk(port)
    assert talk.connect(f"127.0.0.1:{target}").status == 200
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        ca.configure_trust(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(talk.sock, server_hostname=name or None, suppress_ragged_eofs=False)


def shown(tls: ssl.SSLSocket) -> x509.Certificate:
    return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")


def issuer(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()


def test_the_client_sees_a_certificate_of_the_operator_that_resembles_the_servers(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA
) -> None:
    port = proxy.ports["bump"]
    server = origin()
    with through(port, server.port, operator) as tls:
        client = f"127.0.0.1:{tls.getsockname()[1]}"
        certificate = shown(tls)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [NAME, "*.apps.example.test"]
        assert "Operator" in issuer(certificate)
        tls.sendall(b"hello")
        assert tls.recv(100) == b"HELLO"
        tls.sendall(b"x" * 300_000)
        got = b""
        while len(got) < 300_000:
            got += tls.recv(65536)
        assert got == b"x" * 300_000
    assert server.names == [NAME], "the server is asked for the name that the client asked for"
    line = proxy.line("bump", "client", client)
    assert (line["tls"], line["sni"], line["code"]) == ("bump", NAME, "--")
    assert line["bytes"] == {"in": 300_005, "out": 300_005}, "bytes of the application"


def test_alpn_is_what_the_server_chose(proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA) -> None:
    port = proxy.ports["bump"]
    server = origin(None, "x/2", "http/1.1")
    with through(port, server.port, operator, alpn=("http/1.1", "x/2")) as tls:
        assert tls.selected_alpn_protocol() == "x/2", "the server prefers it"
    plain = origin()
    with through(port, plain.port, operator, alpn=("http/1.1",)) as tls:
        assert tls.selected_alpn_protocol() is None


def test_what_is_wrong_with_the_server_the_client_sees(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA, authority: Authority
) -> None:
    port = proxy.ports["bump"]
    expired = origin(authority.ca.issue_cert(NAME, not_before=AGO, not_after=AGO + datetime.timedelta(days=1)))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        through(port, expired.port, operator)
    other = origin(authority.ca.issue_cert("other.example.test"))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
        through(port, other.port, operator)
    stranger = origin(trustme.CA().issue_cert(NAME))
    with pytest.raises(ssl.SSLCertVerificationError):
        through(port, stranger.port, operator)
    with through(port, stranger.port, None) as tls:
        assert "NOT TRUSTED" in issuer(shown(tls)), "whoever goes on all the same is told"
    assert proxy.ferry.process.poll() is None


def test_a_server_that_shows_another_certificate_when_asked_again_is_not_trusted(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA, authority: Authority
) -> None:
    port = proxy.ports["bump"]
    expired = authority.ca.issue_cert(NAME, not_before=AGO, not_after=AGO + datetime.timedelta(days=1))
    server = origin(expired)
    forged = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(NAME).configure_cert(forged)
    seen = []

    def switch(sock: ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        seen.append(name)
        if len(seen) > 1:
            sock.context = forged

    server.context.sni_callback = switch  # type: ignore[assignment]
    with pytest.raises(ssl.SSLCertVerificationError):
        through(port, server.port, operator)
    assert len(seen) > 1, "the proxy looked again"


def test_silence_is_no_way_around_a_rule(proxy: Proxy, origin: Callable[..., Origin]) -> None:
    server = origin()
    with Talk(proxy.ports["hurried"]) as talk:
        assert talk.connect(f"127.0.0.1:{server.port}").status == 200
        with pytest.raises(ConnectionResetError):
            talk.some()
    proxy.line("hurried", "reason", "no complete hello within 2 s")


def test_a_server_that_is_not_trusted_can_be_refused(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA
) -> None:
    stranger = origin(trustme.CA().issue_cert(NAME))
    with pytest.raises(ssl.SSLError, match="handshake failure"):
        through(proxy.ports["refuse"], stranger.port, None)
    proxy.line("refuse", "error", "tls_certificate_error")


def test_where_untrusted_servers_are_refused_so_are_those_of_another_name(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA, authority: Authority
) -> None:
    port = proxy.ports["refuse_names"]
    with through(port, origin().port, operator) as tls:
        assert "Operator" in issuer(shown(tls))
    for name in ("other.example.test", ""):  # "": the target's own, 127.0.0.1
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            through(port, origin().port, None, name)

    def refused() -> int:
        return sum(line["error"] == "tls_certificate_error" for line in proxy.lines("refuse_names"))

    until(lambda: refused() == 2, "the reasons in the log")
    with through(port, origin(authority.ca.issue_cert("127.0.0.1")).port, None, "") as tls:
        assert "Operator" in issuer(shown(tls))


def test_spliced_names_are_left_alone(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA, authority: Authority
) -> None:
    port = proxy.ports["spare"]
    server = origin()
    with through(port, server.port, authority.ca, "shop.apps.example.test") as tls:
        own = shown(tls)
        assert "Operator" not in issuer(own), "the server's own certificate"
    with through(port, server.port, operator) as tls:
        assert "Operator" in issuer(shown(tls))
    until(lambda: {line["tls"] for line in proxy.lines("spare")} == {"splice", "bump"}, "both in the log")


def test_terminate_and_a_name_that_is_not_the_targets(proxy: Proxy, origin: Callable[..., Origin]) -> None:
    server = origin()
    with pytest.raises(ssl.SSLError, match="access denied"):
        through(proxy.ports["terminate"], server.port, None)
    assert server.names == [], "the server has not seen a hello"
    proxy.line("terminate", "tls", "terminate")
    with pytest.raises(ssl.SSLError, match="unrecognized name"):
        through(proxy.ports["match"], server.port, None)
    proxy.line("match", "reason", "the hello asks for api.example.test")


def test_the_servers_names_decide_at_step_3(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA, authority: Authority
) -> None:
    good = origin(authority.ca.issue_cert(NAME, "good.example.test"), newest=ssl.TLSVersion.TLSv1_2)
    bad = origin(authority.ca.issue_cert(NAME, "bad.example.test"), newest=ssl.TLSVersion.TLSv1_2)
    for look, trusted in (("peek", authority.ca), ("stare", operator)):
        port = proxy.ports[look]
        with through(port, good.port, trusted) as tls:
            tls.sendall(b"abc")
            assert tls.recv(10) == b"ABC"
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            through(port, bad.port, None)


def test_what_is_no_tls_goes_through_or_is_refused(
    proxy: Proxy, echo: Callable[..., object], operator: trustme.CA
) -> None:
    server = echo()
    greeter = echo("127.0.0.1", greeting=b"@RSYNCD: 31.0\n")
    port = proxy.ports["bump"]
    with Talk(port) as talk:
        assert talk.connect(f"127.0.0.1:{server.port}").status == 200  # type: ignore[attr-defined]
        talk.send(b"no TLS at all")
        assert talk.exactly(13) == b"no TLS at all"
    with Talk(port) as talk:
        assert talk.connect(f"127.0.0.1:{greeter.port}").status == 200  # type: ignore[attr-defined]
        assert talk.line() == b"@RSYNCD: 31.0\n", "a server that speaks first is not made to wait"
    with Talk(proxy.ports["respond"]) as talk:
        assert talk.connect(f"127.0.0.1:{server.port}").status == 200  # type: ignore[attr-defined]
        talk.send(b"no TLS at all")
        assert talk.answer().status == 400
    with Talk(proxy.ports["end"]) as talk:
        assert talk.connect(f"127.0.0.1:{server.port}").status == 200  # type: ignore[attr-defined]
        talk.send(b"no TLS at all")
        with pytest.raises(ConnectionResetError):
            talk.some()


def test_a_client_that_refuses_is_recorded_and_after_a_while_spliced(
    proxy: Proxy, origin: Callable[..., Origin], authority: Authority, operator: trustme.CA
) -> None:
    port = proxy.ports["learn"]
    server = origin()
    for _ in range(2):
        with pytest.raises(ssl.SSLCertVerificationError):
            through(port, server.port, authority.ca)  # pins the origin's CA
    until(lambda: sum("unknown ca" in str(line) for line in proxy.lines("learn")) == 2, "both refusals in the log")

    def learned(*arguments: str) -> str:
        command = [sys.executable, "-m", "ferryman", "learned", "--control", proxy.ferry.control, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    until(lambda: NAME in learned(), "the client to be listed")

    def goes_through() -> bool:
        try:
            with through(port, server.port, authority.ca) as tls:
                return "Operator" not in issuer(shown(tls))
        except ssl.SSLError:
            return False

    until(goes_through, "it to be spliced")
    learned("--forget", "--name", NAME)
    until(lambda: NAME not in learned(), "it to be forgotten")
    until(lambda: not goes_through(), "it to be bumped again")


def test_a_bad_server_does_not_switch_bump_off(
    proxy: Proxy, origin: Callable[..., Origin], authority: Authority, operator: trustme.CA
) -> None:
    port = proxy.ports["learn_fast"]
    expired = origin(authority.ca.issue_cert(NAME, not_before=AGO, not_after=AGO + datetime.timedelta(days=1)))
    stranger = origin(trustme.CA().issue_cert(NAME))
    other = origin(authority.ca.issue_cert("other.example.test"))
    for server in (expired, stranger, other):
        with pytest.raises(ssl.SSLCertVerificationError):
            through(port, server.port, operator)

    def refusals() -> int:
        return sum(line["error"] == "tls_alert_received" for line in proxy.lines("learn_fast"))

    until(lambda: refusals() == 3, "the refusals in the log")
    server = origin()
    with through(port, server.port, operator) as tls:
        assert "Operator" in issuer(shown(tls)), "still bumped"
    with pytest.raises(ssl.SSLCertVerificationError):
        through(port, server.port, authority.ca)  # this one refuses the operator's CA
    until(lambda: "learn_fast" in [entry["listener"] for entry in proxy.ferry.client.learned()], "it to be learned")


def test_an_upgrade_inside_reaches_the_server_and_the_101_is_a_tunnel(
    proxy: Proxy, origin: Callable[..., Origin], operator: trustme.CA, authority: Authority
) -> None:
    port = proxy.ports["bump"]
    server = origin()
    head = b"POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
    with through(port, server.port, operator) as tls:
        tls.sendall(head)
        assert tls.recv(1000) == head.upper(), "every byte of it, hop-by-hop fields among them"
        tls.sendall(b"\x80\x03\x00\x01 a frame")
        assert tls.recv(1000) == b"\x80\x03\x00\x01 a frame"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert(NAME).configure_cert(context)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    operator.configure_trust(trusting)

    def answer(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message[::-1])

    with websockets.sync.server.serve(answer, "127.0.0.1", 0, ssl=context) as sockets:
        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        talk = Talk(port)
        assert talk.connect(f"127.0.0.1:{sockets.socket.getsockname()[1]}").status == 200
        with websockets.sync.client.connect(f"wss://{NAME}/", sock=talk.sock, ssl=trusting) as client:
            client.send("hello")
            assert client.recv(PATIENCE) == "olleh"


def test_an_authority_that_cannot_be_used_is_an_error_with_its_place(
    run_ferry: Callable[..., Ferry], operator: trustme.CA, tmp_path: Path
) -> None:
    operator.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().private_key_pem.write_to_path(str(tmp_path / "other.key"))
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "listeners:\n  out:\n    bind: 127.0.0.1:3128\n    connect:\n      tls: [{action: bump}]\n"
        f"      bump:\n        ca: {tmp_path}/ca.pem\n        key: {tmp_path}/other.key\n"
    )
    command = [sys.executable, "-m", "ferryman", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "proxy.yaml:8:14" in done.stdout + done.stderr
    assert "error: the key in" in done.stdout + done.stderr
