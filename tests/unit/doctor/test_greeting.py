"""Whoever is within TLS, told by what is said: daemons, slow ones too, servers of HTTP, others, nobody."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, Server, server_context, talks_tls

from ferryman.doctor.greeting import Greeting, greet
from ferryman.doctor.tlsstream import TlsFault, TlsStream, client_context
from ferryman.doctor.tunnel import Cut, Dialer

GREETS = b"@RSYNCD: 32.0 sha512\n"
Start = Callable[..., Server]


def greeted(port: int, module: str = "", listen: float = 5.0) -> Greeting:
    stream = TlsStream(client_context(), "localhost")
    stream.handshake(Dialer(PATIENCE).connect("127.0.0.1", port), PATIENCE)
    try:
        return greet(stream, module, 2.0, listen)
    finally:
        stream.close()


def lines(stream: TlsStream, count: int) -> bytes:
    data = b""
    while data.count(b"\n") < count:
        data += stream.read(PATIENCE)
    return data


@pytest.mark.parametrize("module", ["", "data"])
def test_a_daemon_is_asked_for_the_module_or_the_list(module: str, server: Start) -> None:
    asked: list[bytes] = []

    def daemon(stream: TlsStream) -> None:
        stream.write(GREETS, PATIENCE)
        asked.append(lines(stream, 2))
        stream.write(b"@RSYNCD: OK\n", PATIENCE)

    found = greeted(server(talks_tls(daemon)).port, module)
    assert (found.kind, found.line, found.after) == ("rsync", GREETS.decode().strip(), "@RSYNCD: OK")
    assert asked[0].split(b"\n")[1] == (module or "#list").encode()


def test_a_slow_daemon_is_sent_nothing_that_it_does_not_read(server: Start) -> None:
    """A daemon that closes with bytes unread resets, and stunnel then drops its greeting."""
    sent: list[bytes] = []

    def daemon(stream: TlsStream) -> None:
        sent.append(lines(stream, 1))
        if sent[0].count(b"\n") < 2:
            sent[0] += lines(stream, 1)
        first, name, *more = sent[0].replace(b"\r", b"").split(b"\n")
        assert first.startswith(b"@RSYNCD: 31.0 ")
        assert (name, more) == (b"", [b""]), "a daemon reads two lines and no more"
        stream.write(GREETS + b"data  \t\n@RSYNCD: EXIT\n", PATIENCE)

    found = greeted(server(talks_tls(daemon)).port, listen=0.05)
    assert (found.kind, found.line, found.late) == ("rsync", GREETS.decode().strip(), True)


@pytest.mark.parametrize("after", [b"", b"@ERROR: Unknown module 'x'\n"])
def test_a_daemon_that_ends_after_its_greeting_was_one(after: bytes, server: Start) -> None:
    def daemon(stream: TlsStream) -> None:
        stream.write(GREETS, PATIENCE)
        lines(stream, 2)
        if after:
            stream.write(after, PATIENCE)

    found = greeted(server(talks_tls(daemon)).port, "x")
    assert found.kind == ("error" if after else "rsync")
    assert found.after == (after.decode().strip() or "the connection is closed")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "http"),
        (b"<HTML>no</HTML>\n", "http"),
        (b"@ERROR: max connections (1) reached -- try again later\n", "error"),
        (b"220 mail.test ESMTP\r\n", "other"),
        (b"", "closed"),
    ],
)
def test_others_speak_once_they_are_spoken_to(said: bytes, kind: str, server: Start) -> None:
    def other(stream: TlsStream) -> None:
        stream.read(PATIENCE)
        if said:
            stream.write(said, PATIENCE)

    found = greeted(server(talks_tls(other)).port, listen=0.05)
    assert found.kind == kind
    if said.startswith(b"HTTP"):
        assert found.head
        assert found.head.get("server") == "x"


def test_nobody_speaks(server: Start) -> None:
    def silent(stream: TlsStream) -> None:
        with contextlib.suppress(Cut, TlsFault):
            while stream.read(PATIENCE):
                pass

    stream = TlsStream(client_context(), "localhost")
    stream.handshake(Dialer(PATIENCE).connect("127.0.0.1", server(talks_tls(silent)).port), PATIENCE)
    assert greet(stream, "", 0.1, 0.05).kind == "silent"
    stream.close()


def test_a_certificate_is_wanted(server: Start) -> None:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED

    def nobody(stream: TlsStream) -> None:
        raise AssertionError("it has no certificate")

    def there(tunnel):  # type: ignore[no-untyped-def]
        with pytest.raises(TlsFault):
            talks_tls(nobody, context)(tunnel)

    found = greeted(server(there).port)
    assert (found.kind, found.line) == ("alert", "certificate_required")
