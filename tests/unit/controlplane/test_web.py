"""An application on a socket of ours, with real HTTP clients, also with those that do not behave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from idletime import run
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ferryman.controlplane import web
from ferryman.controlplane.web import WebServer


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def slow(request: Request) -> PlainTextResponse:
    request.app.state.begun.set()
    await request.app.state.may_end.wait()
    return PlainTextResponse("at last")


APP = Starlette(routes=[Route("/", hello), Route("/slow", slow)])


class Visitor:
    """A client's connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def get(self, path: str = "/") -> bytes:
        reader, writer = await self.connect()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return answer


def tell(story: Callable[[Visitor, WebServer], Awaitable[None]]) -> None:
    """Let the story go on while the application is served; then its socket is still ours."""

    async def whole() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setblocking(False)
            server = WebServer(APP)
            await server.start([sock])
            try:
                await story(Visitor(sock.getsockname()), server)
            finally:
                await server.stop()
            assert sock.getsockname()

    run(whole())


def test_it_serves_until_it_is_stopped_and_the_socket_stays_open() -> None:
    async def story(visitor: Visitor, server: WebServer) -> None:
        answer = await visitor.get()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"server:" not in answer.lower()
        await server.stop()
        _, writer = await visitor.connect()  # the kernel still queues: the next plan's pages will answer
        writer.close()

    tell(story)


def test_an_answer_that_was_begun_is_finished() -> None:
    async def story(visitor: Visitor, server: WebServer) -> None:
        APP.state.begun, APP.state.may_end = asyncio.Event(), asyncio.Event()
        answer = asyncio.create_task(visitor.get("/slow"))
        await APP.state.begun.wait()
        stopping = asyncio.create_task(server.stop())
        asyncio.get_running_loop().call_soon(APP.state.may_end.set)
        await stopping
        assert (await answer).endswith(b"at last")

    tell(story)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHo"])
def test_who_never_ends_a_request_is_shown_out(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PATIENCE", 0.2)

    async def story(visitor: Visitor, server: WebServer) -> None:
        reader, writer = await visitor.connect()
        writer.write(sent)
        await asyncio.wait_for(reader.read(), 10)
        writer.close()

    tell(story)


def test_who_asks_now_and_then_or_waits_for_an_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PATIENCE", 1.0)

    async def story(visitor: Visitor, server: WebServer) -> None:
        APP.state.begun, APP.state.may_end = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().call_later(2.0, APP.state.may_end.set)  # just when patience is looked at
        reader, writer = await visitor.connect()
        for path, answer in (("/", b"hello"), ("/slow", b"at last"), ("/", b"hello")):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(answer), 10)
        writer.close()

    tell(story)


def test_a_head_that_is_too_long_is_refused() -> None:
    async def story(visitor: Visitor, server: WebServer) -> None:
        reader, writer = await visitor.connect()
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
        writer.close()

    tell(story)
