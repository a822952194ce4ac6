"""One check against real servers that are not what they should be, layer by layer, also through real proxies."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from authorities import Ca, leaf, make_ca, openssl
from idletime import run

from ferryman.controlplane.outcome import Outcome
from ferryman.controlplane.probe import probe
from ferryman.controlplane.serverstate import ServerState
from ferryman.plan import Address, Check, Expect, ExpectStatus, Hop, Send, Server, Step, Through, TlsConnect

QUICK = Check(timeout=30.0)
SHORT = Check(timeout=0.3)  # of idle time
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def said(port: int, check: Check) -> Outcome:
    return await probe(ServerState.new(Server(0, "s", "be", Address("inet", "127.0.0.1", port), check=check)), check)


@contextlib.asynccontextmanager
async def server(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that does this with each connection, and then closes it. At the end all are closed."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, __: None)  # handshakes that fail are what is wanted
    started = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield started.sockets[0].getsockname()[1]
    finally:
        started.close()
        await asyncio.gather(*filter(None, tasks))


def answering(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


# TLS


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return make_ca(tmp_path_factory.mktemp("ca"))


def serving(ca: Ca, folder: Path, *names: str, days: tuple[float, float] = (-1, 90)) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf(ca, folder, *names, days=days))
    return context


def trusting(ca: Ca, name: str | None = "web.example") -> TlsConnect:
    return TlsConnect(ca=Path(ca.cert_path).read_text(), server_name=name)


def test_a_handshake_is_enough_and_the_server_is_asked_for_the_name(ca: Ca, tmp_path: Path) -> None:
    context, asked = serving(ca, tmp_path, "web.example"), list[str | None]()
    context.sni_callback = lambda _, name, __: asked.append(name)

    async def story() -> None:
        async with server(silent, context) as port:
            assert await said(port, replace(QUICK, tls=trusting(ca))) == Outcome("L6OK")
        assert asked == ["web.example"]

    run(story())


def test_certificates_that_are_not_good(ca: Ca, tmp_path: Path) -> None:
    async def story() -> None:
        async with server(silent, serving(ca, tmp_path, "other.example")) as port:
            outcome = await said(port, replace(QUICK, tls=trusting(ca)))
            assert outcome.status == "L6RSP"
            assert "not valid for 'web.example'" in outcome.description
            outcome = await said(port, replace(QUICK, tls=trusting(ca, None)))
            assert "not valid for '127.0.0.1'" in outcome.description, "the address's host, where nothing else is said"
            outcome = await said(port, replace(QUICK, tls=TlsConnect(server_name="other.example")))
            assert outcome == Outcome("L6RSP", "its certificate: unable to get local issuer certificate")
            assert (await said(port, replace(QUICK, tls=TlsConnect(verify=False)))).status == "L6OK"
        async with server(silent, serving(ca, tmp_path, "web.example", days=(-9, -1))) as port:
            expired = Outcome("L6RSP", "its certificate: certificate has expired")
            assert await said(port, replace(QUICK, tls=trusting(ca))) == expired

    run(story())


def test_a_pinned_certificate(ca: Ca, tmp_path: Path) -> None:
    context = serving(ca, tmp_path, "web.example")
    shown = openssl("x509", "-in", str(tmp_path / "web.example.pem"), "-noout", "-fingerprint", "-sha256")
    pin = shown.strip().partition("=")[2].replace(":", "").lower()

    async def story() -> None:
        async with server(silent, context) as port:
            assert (await said(port, replace(QUICK, tls=TlsConnect(fingerprints=(pin,))))).status == "L6OK"
            outcome = await said(port, replace(QUICK, tls=TlsConnect(fingerprints=("00" * 32,))))
            assert outcome == Outcome("L6RSP", f"its certificate is not the pinned one: SHA-256 {pin}")

    run(story())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"220 mail.example ESMTP\r\n", "TLS handshake: it does not speak TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "TLS handshake: it speaks HTTP, not TLS"),
        (b"", "connection closed during the TLS handshake"),
    ],
)
def test_servers_that_speak_no_tls(answer: bytes, words: str) -> None:
    async def story() -> None:
        async with server(answering(answer)) as port:
            outcome = await said(port, replace(QUICK, tls=TlsConnect(verify=False)))
            assert outcome.status == "L6RSP"
            assert outcome.description in (words, "TLS handshake: it does not speak TLS")

    run(story())


def test_a_server_that_never_answers_a_handshake() -> None:
    async def story() -> None:
        async with server(silent) as port:
            assert await said(port, replace(SHORT, tls=TlsConnect(verify=False))) == Outcome("L6TOUT")
            check = replace(QUICK, answer_timeout=0.2, tls=TlsConnect(verify=False))
            assert await said(port, check) == Outcome("L6TOUT")

    run(story())


def test_any_answer_to_a_hello(ca: Ca, tmp_path: Path) -> None:
    check = replace(QUICK, tls=TlsConnect(verify=False), hello=True)

    async def story() -> None:
        async with server(silent, serving(ca, tmp_path, "x.example")) as port:
            assert await said(port, check) == Outcome("L6OK")
        async with server(answering(b"\x15\x03\x03\x00\x02\x02\x28")) as port:
            assert await said(port, check) == Outcome("L6OK"), "an alert is one"
        async with server(answering(b"SSH-2.0-x\r\n")) as port:
            assert await said(port, check) == Outcome("L6RSP", "it does not speak TLS")
        async with server(answering(b"")) as port:
            assert (await said(port, check)).status == "L6RSP"

    run(story())


# what is said


REQUEST = Send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
HTTP: tuple[Step, ...] = (REQUEST, ExpectStatus(((200, 399),)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Outcome("L7OK", "HTTP status check returned code 200", 200)),
        (b"HTTP/1.0 302\r\n\r\n", Outcome("L7OK", "HTTP status check returned code 302", 302)),
        (b"HTTP/1.1 500 Oops\r\n\r\n", Outcome("L7STS", "HTTP status check returned code 500", 500)),
        (b"220 mail.example\r\n", Outcome("L7RSP", "no answer of HTTP/1")),
        (b"HTTP/1.1 ", Outcome("L7RSP", "the answer ended without it: an HTTP status")),
        (b"", Outcome("L7RSP", "no answer")),
    ],
)
@pytest.mark.parametrize("secured", [False, True])
def test_http(answer: bytes, expected: Outcome, secured: bool, ca: Ca, tmp_path: Path) -> None:
    check = replace(QUICK, steps=HTTP, tls=trusting(ca) if secured else None)

    async def story() -> None:
        async with server(answering(answer), serving(ca, tmp_path, "web.example") if secured else None) as port:
            assert await said(port, check) == expected

    run(story())


def test_a_server_that_takes_a_request_and_never_answers() -> None:
    async def story() -> None:
        async with server(silent) as port:
            assert await said(port, replace(SHORT, steps=HTTP)) == Outcome("L7TOUT", "at step 2 of 2 (an HTTP status)")

    run(story())


def test_saying_and_expecting() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello ")
        await writer.drain()
        writer.write(b"there\r\n")
        while line := await reader.readline():
            writer.write(b"+PONG\r\n" if line == b"PING\r\n" else b"role:slave\r\n")

    ping: tuple[Step, ...] = (
        Expect(b"hello there"),
        Expect(b"^hello", regex=True),
        Send(b"PING\r\n"),
        Expect(b"+PONG"),
    )

    async def story() -> None:
        async with server(talk) as port:
            assert await said(port, replace(QUICK, steps=ping)) == Outcome("L7OK")
            steps = (*ping, Send(b"INFO\r\n"), Expect(b"PONG"))
            outcome = await said(port, replace(SHORT, steps=steps))
            assert outcome == Outcome("L7TOUT", "at step 6 of 6 (expect 'PONG')"), "what came before was answered"
        async with server(answering(b"something else")) as port:
            outcome = await said(port, replace(QUICK, steps=(Send(b"x"), Expect(b"\xff"))))
            assert outcome == Outcome("L7RSP", "the answer ended without it: expect '\\xff'")
        async with server(answering(b"x" * 100_000)) as port:
            outcome = await said(port, replace(QUICK, steps=(Send(b"x"), Expect(b"y"))))
            assert outcome == Outcome("L7RSP", "not in the first 65536 bytes: expect 'y'")

    run(story())


# through other proxies


@contextlib.asynccontextmanager
async def tinyproxy(folder: Path, port: int) -> AsyncIterator[Hop]:
    """A proxy that lets through to this port alone."""
    program = shutil.which("tinyproxy", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("tinyproxy is not installed")
    with socket.socket() as taken:  # so that nobody else gets the port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        own = taken.getsockname()[1]
        file = folder / "tinyproxy.conf"
        file.write_text(f"Listen 127.0.0.1\nPort {own}\nAllow 127.0.0.1\nConnectPort {port}\nMaxClients 20\n")
        process = await asyncio.create_subprocess_exec(program, "-d", "-c", str(file), stdout=-3, stderr=-3)
        try:
            async with asyncio.timeout(30):
                while (await said(own, QUICK)).status != "L4OK":  # noqa: ASYNC110 - what a program does sets no event
                    await asyncio.sleep(0.05)
            yield Hop("http", Address("inet", "127.0.0.1", own))
        finally:
            process.terminate()
            await process.wait()


def test_through_a_proxy_all_the_way(ca: Ca, tmp_path: Path) -> None:
    async def story() -> None:
        context = serving(ca, tmp_path, "web.example")
        async with server(answering(b"HTTP/1.1 503 No\r\n\r\n"), context) as port, tinyproxy(tmp_path, port) as hop:
            check = replace(QUICK, via=Through(((hop,),)), tls=trusting(ca), steps=HTTP)
            assert await said(port, check) == Outcome("L7STS", "HTTP status check returned code 503", 503)
            assert await said(port, replace(check, tls=trusting(ca), steps=())) == Outcome("L6OK")
            assert await said(port, replace(check, tls=None, steps=())) == Outcome("L4OK")
            outcome = await said(port + 1, check)
            assert outcome == Outcome("L4CON", f"proxy {hop.address} answered 403 Access violation")

    asyncio.run(story())


def test_the_first_way_that_leads_there() -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    async def story() -> None:
        async with server(silent) as hole, server(refusing) as closed, server(silent) as target:
            ways = tuple((Hop("http", Address("inet", "127.0.0.1", port)),) for port in (closed, hole))
            check = replace(QUICK, timeout=1.0, via=Through((*ways, ())))
            assert await said(target, check) == Outcome("L4OK")
            assert await said(target, replace(check, timeout=0.3, via=Through(ways))) == Outcome("L4TOUT")

    run(story())


def test_a_banner_that_comes_along_with_the_proxys_answer() -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n220 mail.example\r\n")

    async def story() -> None:
        async with server(eager) as port:
            way = Through(((Hop("http", Address("inet", "127.0.0.1", port)),),))
            assert await said(port, replace(QUICK, via=way, steps=(Expect(b"220 mail"),))) == Outcome("L7OK")

    run(story())
