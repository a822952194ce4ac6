"""Plain HTTP through the explicit proxy: requests in absolute form, one after the other on the same connection.

Called by explicit with the first request. Each request is judged like a CONNECT; its head is rewritten for the next hop
(wire.http1forward), bodies pass as they are (body). A 101 makes a tunnel of the connection. This is the one place where
bytes of a body go through user space: HTTP clients that use a proxy for https use it for http as well, but the bulk
does not come this way. Nothing is cached.

The connections to the client and to the server are kept, or not, each for its own reasons. What breaks off on one side
breaks off on the other: a body that has not come whole never ends as if it had.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import admission, chain, target
from ferryman.dataplane.admission import Way
from ferryman.dataplane.body import BadBody, Body
from ferryman.dataplane.loop import ERR, HANGUP
from ferryman.dataplane.record import Ask
from ferryman.dataplane.refusal import Refusal
from ferryman.dataplane.stream import LONGEST, ClientStream, Gone, Stream, TimeUp
from ferryman.plan import Chain, Connect, Hop
from ferryman.wire import http1, http1forward
from ferryman.wire.authority import format_authority
from ferryman.wire.http1 import BadHead, Framing, Request, Response

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

PARTED: Final = 60.0
"""Seconds a server may be silent for a client that has closed its side, where there is no other limit."""
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: asked again if a kept connection turns out to be closed."""


_BEFORE_HEAD: Final = ("sH", "SH")
"""Codes of the record while the head of the answer is awaited: the server is silent, it failed."""
_IN_BODY: Final = ("sD", "SD")
"""The same after it."""


class _Stale(Exception):  # noqa: N818
    """A kept connection turned out to be closed before it answered anything: another one will do."""


class _Server:
    """A connection to a server, or to a proxy that takes requests for it, kept while requests go the same way."""

    def __init__(
        self, stream: Stream, way: tuple[object, ...], hop: Hop | None = None, authorization: str = ""
    ) -> None:
        self.stream = stream
        self.way = way
        self.hop = hop  # the proxy; None: this is the server itself
        self.authorization = authorization  # what the proxy gets
        self.via = ""  # the proxies that lead there
        self.used = False

    def close(self) -> None:
        if self.stream.fd >= 0:
            self.stream.session.worker.loop.close(self.stream.fd)
            self.stream.fd = -1

    @property
    def idle(self) -> bool:
        """Is it still there, with nothing said that nobody asked for?"""
        try:
            return self.stream.fd >= 0 and self.stream.peek(1) is None
        except Gone:
            return False

    def head(self, request: Request) -> bytes:
        """The request's head as this next hop wants it."""
        name = self.stream.session.worker.name
        if self.hop is None:
            return http1forward.forwarded_request(request, request.path, name=name)
        credentials = [("Proxy-Authorization", self.authorization)] if self.authorization else []
        return http1forward.forwarded_request(request, request.target, credentials, name)


async def serve(session: Session, connect: Connect, client: ClientStream, request: Request) -> Request | None:
    """All requests of one client connection. A CONNECT that comes after them is the result; None: it is all over.

    Raises Gone, TimeUp and BadHead where a request does not come as it should.
    """
    server: _Server | None = None
    try:
        while True:
            try:
                ask = Ask("http", request.host, request.port)
                way = await admission.admit(session, connect, ask, request)
                if http1forward.forwards_left(request) == 0:
                    stays = await _answer(session, connect, client, request)
                else:
                    server = await _server_for(session, connect, request, way, server)
                    stays = await _Exchange(session, connect, client, server, request).run()
                if stays:
                    session.answered("--", "fin", "")
            except Refusal as refusal:
                stays = await admission.answer(session, client, refusal, request)
            except _Stale:
                continue
            if not stays:
                session.end("--", "fin", "")  # unless it has ended for a reason, or is a tunnel by now
                return None
            following = await admission.following(session, connect, client, session.listener.client_timeout or inf)
            if following is None or following.form == "authority":
                return following
            request = following
    finally:
        if server is not None:
            server.close()


async def _answer(session: Session, connect: Connect, client: ClientStream, request: Request) -> bool:
    """What may be forwarded no further is answered here. False: the connection is of no further use."""
    stays = not request.body and not http1forward.wants_close(request) and not session.worker.draining
    message = http1forward.final_answer(request, admission.allowed_methods(connect), stays)
    ask = session.record.ask
    assert ask is not None, "it was admitted"
    ask.status = 200
    session.record.bytes_out += len(message)
    await (client.send(message) if stays else client.farewell(message))
    return stays


async def _server_for(session: Session, connect: Connect, request: Request, way: Way, kept: _Server | None) -> _Server:
    """A connection for this request: the kept one if it leads there. Raises Refusal."""
    ask = session.record.ask
    assert ask is not None, "it was admitted"
    # the addresses belong to it: they are what this request was judged by
    addresses = frozenset(way.resolved.addresses or ())
    key = (request.host, request.port, addresses, way.resolved.chains, way.authorization)
    if kept is not None:
        if kept.way == key and kept.idle:
            ask.via = kept.via
            session.record.connect_ms = 0
            return kept
        kept.close()

    async def by(hops: Chain) -> _Server:
        if not hops or hops[-1].scheme == "socks5":
            fd = await target.reach_by(session, connect, ask, way, hops)
            name = format_authority(request.host, request.port)
            return _Server(Stream(session, fd, session.server_mask, name), key)
        last = hops[-1]
        ask.via = " ".join(map(str, hops))
        fd = await chain.nearest(session, hops, connect.connect_timeout, way)
        stream = Stream(session, fd, session.server_mask, f"proxy {last.address}")
        return _Server(stream, key, last, chain.authorization(last, way))

    server = await target.by_first_way(session, way.resolved.chains, by)
    server.via = ask.via
    return server


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, session: Session, connect: Connect, client: ClientStream, server: _Server, request: Request
    ) -> None:
        self.session = session
        self.connect = connect
        self.client = client
        self.server = server
        self.request = request
        assert session.record.ask is not None, "it was admitted"
        self.ask = session.record.ask
        self.limit = connect.server_timeout or session.listener.client_timeout or inf  # seconds of silence
        self.up = Body(client, server.stream, request.body)
        self.down: Body | None = None
        self.said = 0  # bytes of heads to the client
        self.queued = False  # it waits for its turn

    async def run(self) -> bool:
        """False: the connection to the client is of no further use. Raises Refusal if that is to be the answer."""
        begun = False
        try:
            self._extend()
            await self.server.stream.send(self.server.head(self.request))
            interim = 0
            while (response := await self._answer()).status < 200:
                begun = True
                interim += 1
                if interim > http1.MAX_INTERIM:
                    raise BadHead(502, "interim answers without an end")
                if response.status == 101:
                    await self._switch(response)
                    return False
                if self.request.version == (1, 1):
                    await self._say(response)
            if response.status == 407 and not (self.server.hop and self.server.hop.pass_credentials):
                self.server.close()
                text = f"{self.server.stream.side}: it wants credentials that are not the client's to give"
                raise Refusal("http_request_denied", text, status=502, received=407)
            begun = True
            return await self._deliver(response)
        except (Gone, TimeUp, BadHead, BadBody) as problem:
            self.server.close()
            if not begun and self._stale(problem):
                raise _Stale from None
            raise self._refusal(problem, self.up.starved, _BEFORE_HEAD) from None
        finally:
            self._count()

    async def _answer(self) -> Response:
        """The head of the answer, while the request's body is still on its way."""
        method = self.request.method
        while True:
            found = self.server.stream.try_head(lambda data: http1.parse_response(data, method, LONGEST), LONGEST)
            if found is not None:
                return found[0]
            await (self._turn() if self._push() else self._wait())

    async def _deliver(self, response: Response) -> bool:
        """The rest of the answer, while the request's body may still be on its way. False: as in `run`."""
        session, client, server, request = self.session, self.client, self.server, self.request
        old = request.version == (1, 0)
        bare = old and response.body is Framing.CHUNKED
        self.down = down = Body(server.stream, client, response.body, bare)
        stays = self.up.finished and not bare and response.body is not Framing.UNTIL_CLOSE
        stays = stays and not http1forward.wants_close(request) and not session.worker.draining
        options = [("Connection", "keep-alive" if stays else "close")] if old or not stays else []
        try:
            await self._say(response, options)
            while not down.finished:
                await (self._turn() if down.step() | self._push() else self._wait())
        except (Gone, TimeUp, BadBody) as problem:
            refusal = self._refusal(problem, bool(down.rest), _IN_BODY)
            self._count()
            session.end(refusal.code, refusal.how, refusal.reason, reset=True)
            return False
        finally:
            session.deadline = inf
        server.used = True
        if not self.up.finished or http1forward.wants_close(response):
            server.close()
        if not stays:
            session.record.closed_first = "server" if response.body is Framing.UNTIL_CLOSE else "proxy"
            await client.farewell(b"")  # what it may still be sending would be answered by RST, which overtakes
        return stays

    async def _switch(self, response: Response) -> None:
        """101: what follows is another protocol, which goes through as in a tunnel."""
        if not http1forward.upgrade(self.request):
            raise BadHead(502, "it switches to another protocol, for which nobody has asked")
        while not self.up.finished:  # RFC 9110 section 7.8: the other protocol begins after the request
            await (self._turn() if self.up.step() else self._wait())
        await self._say(response)
        session, connect, stream = self.session, self.connect, self.server.stream
        session.deadline = inf
        session.server_mask = stream.mask
        fd, stream.fd = stream.fd, -1  # the tunnel's now
        session.carry(fd, session.silence(connect.tunnel_timeout, connect.server_timeout))

    async def _say(self, response: Response, options: Iterable[tuple[str, str]] = ()) -> None:
        """The head of an answer, for the client."""
        head = http1forward.forwarded_response(response, self.request.version, options, self.session.worker.name)
        self.ask.status = response.status
        self.said += len(head)
        await self.client.send(head)

    def _count(self) -> None:
        """What was moved, for the record. The heads of requests are not counted, as in CONNECT."""
        record = self.session.record
        record.bytes_in = self.up.moved
        record.bytes_out = self.said + (self.down.moved if self.down else 0)

    def _push(self) -> bool:
        """Move some of the request's body. A server that takes no more of it may have answered all the same."""
        try:
            return self.up.step()
        except Gone as gone:
            if gone.stream is self.client:
                raise
            self.up.stuck = True
            return True

    async def _turn(self) -> None:
        """Let others have their turn before the next share. What happens meanwhile makes it come no sooner."""
        self.queued = True
        self.session.worker.loop.ready.append(self)
        while self.queued:
            await self.client.wait()

    def resume(self) -> None:
        """For the loop: the turn has come."""
        self.queued = False
        self.session.resume()

    async def _wait(self) -> None:
        """Until something happens on one of the two sides; neither may be silent for too long."""
        self._extend()
        await self.client.wait()
        server = self.server.stream
        if server.mask & ERR and server.peek(1) is None:
            raise Gone(server, "rst", "connection reset")

    def _extend(self) -> None:
        if self.client.mask & HANGUP:  # it says nothing more, and perhaps it is not there any more
            self.limit = min(self.limit, PARTED)
        self.session.deadline = self.session.worker.loop.now + self.limit

    def _stale(self, problem: Exception) -> bool:
        """May it be asked again on another connection?"""
        left = isinstance(problem, Gone) and problem.stream is self.server.stream
        return left and self.server.used and self.request.method in _IDEMPOTENT and not self.request.body

    def _refusal(self, problem: Gone | TimeUp | BadHead | BadBody, starved: bool, codes: tuple[str, str]) -> Refusal:
        """What went wrong, and who is to blame. `starved`: it was the client that was waited for."""
        server = self.server.stream.side
        silent, failed = codes
        match problem:
            case TimeUp() if starved:
                text = f"client: nothing for {self.limit:g} s in the middle of a body"
                return Refusal("http_request_error", text, status=408, code="cD", how="timeout")
            case TimeUp():
                text = f"{server}: silent for {self.limit:g} s"
                return Refusal("http_response_timeout", text, code=silent, how="timeout")
            case BadHead():  # of the answer: the request's was read long ago
                return Refusal("http_protocol_error", f"{server}: {problem.reason}", code=failed)
            case BadBody() if problem.stream is self.client:
                return Refusal("http_request_error", problem.reason, code="PR", how="policy")
            case BadBody():
                return Refusal("http_protocol_error", problem.reason, code=failed)
            case Gone() if problem.stream is self.client:
                return Refusal("http_request_error", problem.reason, code="CD", how=problem.how)
        assert isinstance(problem, Gone)
        return Refusal("connection_terminated", problem.reason, code=failed, how=problem.how)
