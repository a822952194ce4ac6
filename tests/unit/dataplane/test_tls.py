"""Handshakes of a worker with real peers: Python's ssl and the openssl program."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from rig import PATIENCE, Far, Rig, open_descriptors, plan, reset

from ferryman.dataplane import contexts, fdio, tls
from ferryman.dataplane.contexts import ServerTerms
from ferryman.dataplane.loop import EDGE, OUT
from ferryman.dataplane.session import Session
from ferryman.dataplane.stream import Stream
from ferryman.dataplane.tls import Established
from ferryman.dataplane.tlsfailure import TlsFailure

CA = trustme.CA()
CERTIFICATE = CA.issue_cert("api.example", "*.apps.example", "127.0.0.1", common_name="api.example")
CHAIN = b"".join(blob.bytes() for blob in CERTIFICATE.cert_chain_pems)
KEY = CERTIFICATE.private_key_pem.bytes()
CA_PEM = CA.cert_pem.bytes().decode()


def trusting() -> ssl.SSLContext:
    """A client's context that trusts CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(context)
    return context


def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CERTIFICATE.configure_cert(context)
    return context


class Shaking:
    """A session of a real worker whose journey is one handshake."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.client = socket.create_connection(server.getsockname(), 10)
            near, _ = server.accept()
        rig.peers.append(self.client)
        near.setblocking(False)
        self.session = Session(rig.worker, rig.worker.generation.plan.listeners[0], near.detach(), "192.0.2.1", 1)
        self.outcome: Established | TlsFailure | None = None
        self.fd = -1
        self.sent = b""

    def begin(self, shake: Callable[[Session], Awaitable[ssl.SSLSocket]]) -> None:
        async def journey(session: Session) -> None:
            try:
                sock = await shake(session)
            except TlsFailure as failure:
                self.outcome = failure
            else:
                self.fd = sock.fileno()
                self.outcome = tls.established(sock)
                if self.fd != session.fd:
                    tls.abandon(session, sock)
            session.end("--", "fin", "")

        self.session.coroutine.close()
        self.session.coroutine = journey(self.session)
        self.rig.worker.generation.claim(self.session.listener)
        self.rig.worker.begin(self.session)

    def to_client(self, context: ssl.SSLContext | None = None) -> None:
        made = context or contexts.context_for(CHAIN, KEY, ("h2", "http/1.1"))
        self.begin(lambda session: tls.server(session, session.fd, made))

    def to_server(self, port: int, terms: ServerTerms, name: str | None = "api.example") -> None:
        async def shake(session: Session) -> ssl.SSLSocket:
            fd, _ = fdio.connect(socket.AF_INET, "127.0.0.1", port)
            stream = Stream.__new__(Stream)
            session.worker.loop.watch(fd, stream, EDGE | OUT)
            stream.__init__(session, fd, 0, "server")  # type: ignore[misc]
            while not stream.mask:
                await stream.wait()
            return await tls.client(session, fd, terms, name)

        self.begin(shake)

    def ended(self) -> Established | TlsFailure:
        self.rig.run(lambda: self.outcome is not None)
        assert self.outcome is not None
        return self.outcome

    def established(self) -> Established:
        outcome = self.ended()
        assert isinstance(outcome, Established), outcome
        return outcome

    def failed(self) -> TlsFailure:
        outcome = self.ended()
        assert isinstance(outcome, TlsFailure)
        return outcome


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.follow(plan())
    rig.run(lambda: True)
    before = open_descriptors()
    yield rig
    rig.run(rig.over)
    for peer in rig.peers:
        peer.close()
    assert open_descriptors() == before
    rig.close()


@pytest.fixture
def shaking(rig: Rig) -> Shaking:
    return Shaking(rig)


class Beside:
    """Blocking code of a far end, run beside the loop. Errors are kept."""

    def __init__(self, party: Callable[[], object]) -> None:
        self.error: OSError | None = None
        self.value: object = None
        self._party = party
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.value = self._party()
        except OSError as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def wrap(sock: socket.socket, context: ssl.SSLContext, name: str | None = "api.example") -> Any:
    """A client's handshake; what is agreed on. The socket stays open and plain."""
    wrapped = context.wrap_socket(sock.dup(), server_hostname=name)
    try:
        return SimpleNamespace(version=wrapped.version(), alpn=wrapped.selected_alpn_protocol())
    finally:
        os.close(wrapped.detach())


# with a client


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_client_and_what_was_agreed_on(shaking: Shaking, version: str) -> None:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if version == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["spdy/3", "http/1.1"])
    client = Beside(lambda: wrap(shaking.client, context))
    shaking.to_client()
    established = shaking.established()
    client.join()
    assert client.value == SimpleNamespace(version=version, alpn="http/1.1")
    assert (established.version, established.alpn, established.certificate) == (version, "http/1.1", b"")
    assert established.cipher


def test_a_client_that_does_not_trust_the_certificate(shaking: Shaking) -> None:
    client = Beside(lambda: wrap(shaking.client, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
    shaking.to_client()
    failure = shaking.failed()
    client.join()
    assert (failure.kind, failure.alert, failure.peer_refused_certificate) == ("alert", "unknown ca", True)
    assert isinstance(client.error, ssl.SSLCertVerificationError)


def test_a_refusal_that_a_reset_follows_is_still_read(shaking: Shaking) -> None:
    def refuse() -> None:
        with suppress(ssl.SSLError):
            wrap(shaking.client, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        reset(shaking.client)

    client = Beside(refuse)
    shaking.to_client()
    assert shaking.failed().kind in ("alert", "closed")  # the kernel may throw the alert away with the reset
    client.join()


def test_old_versions_are_refused(shaking: Shaking) -> None:
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    client = Beside(lambda: wrap(shaking.client, context))
    shaking.to_client()
    failure = shaking.failed()
    client.join()
    assert (failure.kind, failure.reason) == ("protocol", "TLS handshake: no version of TLS in common")
    assert not failure.peer_refused_certificate


@pytest.mark.parametrize(
    ("said", "reason"),
    [(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "it speaks HTTP, not TLS"), (b"SSH-2.0-x\r\n", "it does not speak TLS")],
)
def test_what_is_no_tls(shaking: Shaking, said: bytes, reason: str) -> None:
    shaking.client.sendall(said)
    shaking.to_client()
    failure = shaking.failed()
    assert (failure.kind, failure.reason) == ("protocol", f"TLS handshake: {reason}")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00"])
@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_a_client_that_leaves(shaking: Shaking, said: bytes, leave: Callable[[socket.socket], None]) -> None:
    shaking.client.sendall(said)
    shaking.to_client()
    shaking.rig.turns(2)
    leave(shaking.client)
    assert shaking.failed().kind == "closed"


def test_a_client_that_has_left_before(shaking: Shaking) -> None:
    reset(shaking.client)
    shaking.to_client()
    assert shaking.failed().kind == "closed"


def test_a_client_that_says_nothing(shaking: Shaking) -> None:
    context = contexts.context_for(CHAIN, KEY, ())
    shaking.begin(lambda session: tls.server(session, session.fd, context, session.worker.loop.now + 0.1))
    assert shaking.failed().kind == "timeout"


def test_the_session_s_own_deadline_counts_and_stays(shaking: Shaking) -> None:
    context = contexts.context_for(CHAIN, KEY, ())
    until = shaking.session.deadline = shaking.rig.worker.loop.now + 0.1
    shaking.begin(lambda session: tls.server(session, session.fd, context))
    assert shaking.failed().kind == "timeout"
    assert shaking.session.deadline == until


def test_a_session_that_is_cut_closes_each_descriptor_once(shaking: Shaking) -> None:
    silent = Far()
    shaking.rig.peers.append(silent)
    shaking.to_server(silent.port, ServerTerms("", False, (), False))
    shaking.rig.run(silent.waiting)
    shaking.rig.turns(2)
    shaking.session.cut("K-", "killed", "")
    shaking.rig.run(shaking.rig.over)
    with silent.accept() as server:
        assert server.recv(1) == b"\x16", "a hello was sent"
        while server.recv(4096):
            pass


def test_a_flight_that_does_not_fit_into_the_socket(shaking: Shaking) -> None:
    context = contexts.context_for(CHAIN + CA.cert_pem.bytes() * 100, KEY, ())
    with socket.socket(fileno=shaking.session.fd) as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.detach()
    shaking.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname="api.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    shaking.client.sendall(outgoing.read())
    shaking.to_client(context)
    shaking.rig.turns(3)  # nobody reads: the flight cannot be sent whole

    def finish() -> None:
        while True:
            incoming.write(shaking.client.recv(65536))
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
                shaking.client.sendall(outgoing.read())
                return

    beside = Beside(finish)
    assert shaking.established().version == "TLSv1.3"
    beside.join()


openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program")


@openssl
@pytest.mark.parametrize("trusted", [True, False])
def test_openssl_as_the_client(rig: Rig, tmp_path: Any, trusted: bool) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes((CA if trusted else trustme.CA()).cert_pem.bytes())
    shaking = Shaking(rig)
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = str(door.getsockname()[1])
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "api.example"]
        command += ["-CAfile", str(ca), "-verify_return_error", "-alpn", "h2"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            near, _ = door.accept()
            os.dup2(near.fileno(), shaking.session.fd, inheritable=False)
            os.set_blocking(shaking.session.fd, False)
            near.close()
            shaking.to_client()
            outcome = shaking.ended()
            said, _ = run.communicate(timeout=PATIENCE)
    if trusted:
        assert isinstance(outcome, Established)
        assert b"ALPN protocol: h2" in said
        assert b"Verify return code: 0 (ok)" in said
    else:
        assert isinstance(outcome, TlsFailure)
        assert outcome.peer_refused_certificate


# with a server


class Server:
    """A server that does one handshake."""

    def __init__(self, rig: Rig, context: ssl.SSLContext | None = None, say: bytes = b"") -> None:
        self.far = Far()
        rig.peers.append(self.far)
        self.context = context or serving()
        self.say = say
        self.hello_name: str | None = None
        self.context.sni_callback = self._named
        self.beside = Beside(self._serve)

    def _named(self, sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.hello_name = name

    def _serve(self) -> str | None:
        connection = self.far.accept()
        if self.say:
            connection.sendall(self.say)
            return None
        with self.context.wrap_socket(connection.dup(), server_side=True) as wrapped:
            return wrapped.selected_alpn_protocol()


@pytest.mark.parametrize("name", ["api.example", "www.apps.example", "127.0.0.1"])
def test_a_server_and_what_was_agreed_on(shaking: Shaking, name: str) -> None:
    server = Server(shaking.rig)
    server.context.set_alpn_protocols(["h2"])
    shaking.to_server(server.far.port, ServerTerms(CA_PEM, True, ("\xaa\xaa", "h2", "http/1.1"), True), name)
    established = shaking.established()
    server.beside.join()
    assert (established.version, established.alpn, server.beside.value) == ("TLSv1.3", "h2", "h2")
    assert established.certificate == ssl.PEM_cert_to_DER_cert(CHAIN.decode())
    assert set(established.names) == {"api.example", "*.apps.example", "127.0.0.1"}
    assert server.hello_name == (None if name == "127.0.0.1" else name)


def test_protocols_of_one_handshake_do_not_reach_the_next(rig: Rig) -> None:
    for alpn in (("h2",), (), ("http/1.1",)):
        context = serving()
        context.set_alpn_protocols(["h2", "http/1.1"])
        server, shaking = Server(rig, context), Shaking(rig)
        shaking.to_server(server.far.port, ServerTerms(CA_PEM, True, alpn, True))
        assert shaking.established().alpn == "".join(alpn)
        server.beside.join()


@pytest.mark.parametrize(
    ("ca", "name", "code"),
    [(trustme.CA().cert_pem.bytes().decode(), "api.example", (19, 20)), (CA_PEM, "other.example", (62,))],
    ids=["issuer", "name"],
)
def test_a_server_that_is_not_trusted(shaking: Shaking, ca: str, name: str, code: tuple[int, ...]) -> None:
    server = Server(shaking.rig)
    shaking.to_server(server.far.port, ServerTerms(ca, True, (), True), name)
    failure = shaking.failed()
    server.beside.join()
    assert failure.kind == "verify"
    assert failure.verify_code in code
    assert failure.verify_message in failure.reason
    assert isinstance(server.beside.error, ssl.SSLError), "it is told"
    assert not failure.peer_refused_certificate


@pytest.mark.parametrize("verify", [True, False])
def test_the_name_is_not_looked_at_unless_asked_for(shaking: Shaking, verify: bool) -> None:
    server = Server(shaking.rig)
    shaking.to_server(server.far.port, ServerTerms(CA_PEM if verify else "", verify, (), False), None)
    assert "api.example" in shaking.established().names, "names of a server that is not verified, too"
    server.beside.join()
    assert server.hello_name is None


def test_a_server_that_speaks_something_else(shaking: Shaking) -> None:
    server = Server(shaking.rig, say=b"220 mail.example ESMTP\r\n")
    shaking.to_server(server.far.port, ServerTerms("", False, (), False))
    failure = shaking.failed()
    assert (failure.kind, failure.reason) == ("protocol", "TLS handshake: it does not speak TLS")
    server.beside.join()


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", ".example", "nul\0.example"])
def test_what_is_no_server_name(shaking: Shaking, name: str) -> None:
    far = Far()
    shaking.rig.peers.append(far)
    shaking.to_server(far.port, ServerTerms("", False, (), False), name)
    assert shaking.failed().kind == "local"


def test_a_client_that_leaves_while_the_server_is_spoken_with(shaking: Shaking) -> None:
    far = Far()
    shaking.rig.peers.append(far)
    shaking.session.watch_client()
    shaking.to_server(far.port, ServerTerms("", False, (), False))
    shaking.rig.run(far.waiting)
    reset(shaking.client)
    failure = shaking.failed()
    assert (failure.kind, failure.reason[:7]) == ("closed", "client:")


@openssl
def test_openssl_as_the_server(shaking: Shaking, tmp_path: Any) -> None:
    (tmp_path / "server.pem").write_bytes(CHAIN + KEY)
    taken = socket.socket()  # so that nobody else gets the port
    shaking.rig.peers.append(taken)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(tmp_path / "server.pem"), "-tls1_2"]
    with subprocess.Popen(
        [*command, "-alpn", "http/1.1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdout is not None
        try:
            assert any(line.startswith(b"ACCEPT") for line in server.stdout)
            shaking.to_server(port, ServerTerms(CA_PEM, True, ("h2", "http/1.1"), True))
            established = shaking.established()
        finally:
            server.kill()
    assert (established.version, established.alpn) == ("TLSv1.2", "http/1.1")


def test_authorities_that_are_none(shaking: Shaking) -> None:
    far = Far()
    shaking.rig.peers.append(far)
    shaking.to_server(far.port, ServerTerms("no certificate", True, (), True))
    assert shaking.failed().kind == "local"
