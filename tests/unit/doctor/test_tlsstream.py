"""TLS by memory buffers: the hello that is known, both ends' binding, and what comes of peers that do not speak it."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, Server, reset, server_context, talks_tls, to_the_end

from ferryman.doctor.tlsstream import TlsFault, TlsStream, client_context
from ferryman.doctor.tunnel import Cut, Dialer, Tunnel
from ferryman.wire.clienthello import ClientHello, parse

Start = Callable[..., Server]


def connected(port: int) -> Tunnel:
    return Dialer(PATIENCE).connect("127.0.0.1", port)


def shaken(port: int, version: str = "") -> TlsStream:
    stream = TlsStream(client_context(version), "localhost")
    stream.handshake(connected(port), PATIENCE)
    return stream


@pytest.mark.parametrize("name", ["dvm.test", None])
def test_the_hello_is_known_before_it_is_sent(name: str | None) -> None:
    stream = TlsStream(client_context(), name)
    hello = parse(stream.hello)
    assert isinstance(hello, ClientHello)
    assert (hello.sni or None) == name
    assert stream.hello_hash == hashlib.sha256(stream.hello).hexdigest()


def test_the_hello_that_arrives_is_the_one_that_is_known(server: Start) -> None:
    arrived: list[bytes] = []

    def handler(tunnel: Tunnel) -> None:
        arrived.append(tunnel.receive(PATIENCE))

    stream = TlsStream(client_context(), "localhost")
    with connected(server(handler).port) as tunnel, pytest.raises(TlsFault):
        stream.handshake(tunnel, PATIENCE)
    assert arrived == [stream.hello]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_bytes_there_and_back_and_the_end(version: str, server: Start) -> None:
    bindings: list[tuple[str, str]] = []

    def echo(stream: TlsStream) -> None:
        bindings.append(stream.binding())
        stream.write(stream.read(PATIENCE), PATIENCE)

    stream = shaken(server(talks_tls(echo)).port, version)
    assert stream.version == f"TLSv{version}"
    assert stream.leaf
    mine = stream.binding()
    stream.write(b"there", PATIENCE)
    assert stream.read(PATIENCE) == b"there"
    assert stream.read(PATIENCE) == b""
    stream.close()
    assert stream.version == f"TLSv{version}"
    assert bindings == [mine]
    assert version == "1.3" or mine[1]


def test_the_version_is_known_even_after_an_alert(server: Start) -> None:
    """TLS 1.3: the client is done before the server complains that it has shown no certificate."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED

    def complain(tunnel: Tunnel) -> None:
        with contextlib.suppress(TlsFault):
            TlsStream(context, server=True).handshake(tunnel, PATIENCE)

    stream = TlsStream(client_context("1.3"), "localhost")
    with connected(server(complain).port) as tunnel:
        stream.handshake(tunnel, PATIENCE)
        with pytest.raises(TlsFault, match="certificate"):
            stream.read(PATIENCE)
        assert stream.version == "TLSv1.3"


def test_what_is_passed_over_is_not_read(server: Start) -> None:
    def twice(stream: TlsStream) -> None:
        for part in (b"hello\n", b"hello\n", b"x"):
            stream.write(part, PATIENCE)

    stream = shaken(server(talks_tls(twice)).port)
    stream.skip = b"hello\n"
    came = b""
    while more := stream.read(PATIENCE):
        came += more
    stream.close()
    assert came == b"hello\nx"


def test_silence_is_cut_short(server: Start) -> None:
    stream = shaken(server(talks_tls(lambda peer: to_nothing(peer))).port)
    with pytest.raises(Cut) as cut:
        stream.read(0.05)
    assert cut.value.how == "silent"
    stream.close()


def to_nothing(stream: TlsStream) -> None:
    assert stream.read(PATIENCE) == b""


def says(data: bytes) -> Callable[[Tunnel], None]:
    def handler(tunnel: Tunnel) -> None:
        tunnel.receive(PATIENCE)
        if data:
            tunnel.send(data, PATIENCE)
            to_the_end(tunnel)

    return handler


def resets(tunnel: Tunnel) -> None:
    tunnel.receive(PATIENCE)
    reset(tunnel)


@pytest.mark.parametrize(
    ("handler", "how", "text"),
    [
        (says(b"\x15\x03\x03\0\x02\x02\x70"), "alert", "unrecognized_name"),
        (says(b"\x15\x03\x03\0\x02\x02\xfe"), "alert", "254"),
        (says(b"SSH-2.0-x\r\n"), "foreign", "SSH-2.0-x\\r\\n"),
        (says(b""), "closed", ""),
        (resets, "reset", ""),
    ],
)
def test_a_handshake_that_fails_says_how(handler: Callable[[Tunnel], None], how: str, text: str, server: Start) -> None:
    with connected(server(handler).port) as tunnel, pytest.raises(TlsFault) as fault:
        TlsStream(client_context(), "localhost").handshake(tunnel, PATIENCE)
    assert fault.value.how == how
    assert fault.value.text == text


def test_a_handshake_with_nobody_ends(server: Start) -> None:
    def hangs(tunnel: Tunnel) -> None:
        assert to_the_end(tunnel)

    with connected(server(hangs).port) as tunnel, pytest.raises(TlsFault) as fault:
        TlsStream(client_context(), "localhost").handshake(tunnel, 0.05)
    assert fault.value.how == "silent"


def test_versions_that_do_not_meet(server: Start) -> None:
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def there(tunnel: Tunnel) -> None:
        with pytest.raises(TlsFault):
            talks_tls(to_nothing, context)(tunnel)

    with connected(server(there).port) as tunnel, pytest.raises(TlsFault) as fault:
        TlsStream(client_context("1.3"), "localhost").handshake(tunnel, PATIENCE)
    assert (fault.value.how, fault.value.text) == ("alert", "protocol_version")


def test_a_certificate_without_its_key_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x").write_text("nothing")
    with pytest.raises(OSError, match="PEM"):
        client_context(certificate=(str(tmp_path / "x"), str(tmp_path / "x")))
