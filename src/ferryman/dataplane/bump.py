"""A TLS client inside a tunnel that a `tls` rule wants to look at: splice it, open it, or end it.

Called by explicit once the target is connected and the client was told so, which is when clients send their hello. The
hello is only looked at; a client that is spliced after all reaches the server with every byte untouched. A client that
is bumped is shown a certificate made for the occasion (the supervisor mints it), which resembles the one the server
has: what is wrong with the server's, the client sees. What flows inside is nobody's business here, be it HTTP or not.

    step 2, the client's hello      splice  bump  terminate   stare: go on to step 3   peek: send it on, step 3
    step 3, the server's hello      splice (after peek)  bump (after stare)  terminate
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from math import inf
from time import time
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import admission, contexts, fdio, target, tls, tlsrelay
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.loop import HANGUP, IN
from ferryman.dataplane.questions import Unanswered
from ferryman.dataplane.record import Ask
from ferryman.dataplane.refusal import Refusal, denied, unsecured
from ferryman.dataplane.stream import LONGEST, ClientStream, Gone, Stream, TimeUp
from ferryman.dataplane.tlsfailure import TlsFailure
from ferryman.plan import Bump, Connect
from ferryman.rules import access
from ferryman.rules.facts import ABSENT
from ferryman.wire import alert, clienthello, serverhello
from ferryman.wire.certificate import certificate_names, is_for
from ferryman.wire.clienthello import ClientHello, Outcome

if TYPE_CHECKING:
    from ferryman.dataplane.admission import Way
    from ferryman.dataplane.session import Session

_DATED: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED: the minted certificate has the same dates, so that the
client sees for itself; where nothing else is wrong it need not be signed by somebody it does not trust."""


async def look(session: Session, connect: Connect, client: ClientStream, fd: int, way: Way) -> None:
    """From the answer to the tunnel. `fd`, the connected target, is closed here unless a tunnel takes it."""
    journey = _Journey(session, connect, client, fd, way)
    try:
        await journey.go()
    except TimeUp:
        session.end("cR", "timeout", f"client: no complete hello within {connect.head_timeout:g} s", reset=True)
    except Refusal as refusal:  # after the answer: the client waits for TLS, and is told in TLS
        await admission.farewell(session, client, refusal, alert.fatal(alert.HANDSHAKE_FAILURE))
    finally:
        journey.close()


@dataclass(slots=True)
class _Opened:
    """TLS with the server, and what its certificate told. `reason`: why it is not trusted; "": it is.

    `dated`: the client sees the same reason to refuse it as we did, its dates.
    """

    socket: ssl.SSLSocket
    certificate: bytes  # DER
    reason: str
    dated: bool = False

    def is_sound(self, name: str) -> bool:
        """Is the CA that signed the minted certificate all that a client could object to?"""
        return not self.reason and not self.dated and is_for(self.certificate, name)


class _Journey:
    """One client's TLS. `fd` and `opened` are what has to be given back unless a tunnel takes it."""

    def __init__(self, session: Session, connect: Connect, client: ClientStream, fd: int, way: Way) -> None:
        assert session.record.ask is not None
        self.session = session
        self.connect = connect
        self.client = client
        self.fd = fd
        self.way = way
        self.ask: Ask = session.record.ask
        self.server = Stream(session, fd, session.server_mask, "server")
        self.opened: _Opened | None = None
        self.ahead = 0  # bytes of the client's that were sent on already

    def close(self) -> None:
        if self.opened is not None:
            tls.abandon(self.session, self.opened.socket)
        elif self.fd >= 0:
            self.session.worker.loop.close(self.fd)

    async def go(self) -> None:
        """The story."""
        hello = await self._hello()
        if hello is None:
            await self._no_tls()
            return
        name = (hello.sni or "").lower().rstrip(".")
        if self.connect.match_sni and name and name != self.ask.host:
            reason = f"the hello asks for {name}, CONNECT was for {self.ask.host}"
            await self._refuse(denied(reason), alert.UNRECOGNIZED_NAME)
            return
        action = await self._decide(name)
        self.ask.tls = action
        if action == "terminate":
            reason = f"terminate by the rule at {self.session.record.route}"
            await self._refuse(denied(reason), alert.ACCESS_DENIED)
        elif action == "splice":
            self._splice()
        else:
            await self._open(hello, name or self.ask.host)

    async def _hello(self) -> ClientHello | None:
        """The client's hello, untaken. None: what comes is no TLS, or the server speaks first.

        Raises TimeUp for a client that says nothing, or does not end its hello: waiting is no way around a rule.
        """
        session = self.session
        session.deadline = session.worker.loop.now + (self.connect.head_timeout or inf)
        facts = session.learn()
        try:
            while True:
                data = self.client.peek(LONGEST)
                if data:
                    answer = clienthello.parse(data)
                    if isinstance(answer, ClientHello):
                        facts.hello, facts.data = answer, data
                        return answer
                    if answer is not Outcome.NEED_MORE:
                        return None
                    if len(data) >= LONGEST:
                        raise Refusal("http_request_error", "a hello longer than is read", code="PR", how="policy")
                    self.client.expect(len(data) + max(clienthello.missing(data), 1))
                if data == b"" or self.client.mask & HANGUP:
                    return None
                if not data and self.server.mask & (IN | HANGUP) and self.server.peek(1) is not None:
                    return None
                await self.client.wait()
        finally:
            self.client.expect(1)
            session.deadline = inf
            session.note(facts)

    async def _no_tls(self) -> None:
        """A rule wanted to look into TLS, and it is none."""
        what = self.connect.on_unknown_protocol
        if what == "tunnel":
            self.ask.tls = "splice"
            self._splice()
        elif what == "respond":
            refusal = Refusal("http_request_error", "only TLS is carried here", code="PR", how="policy")
            await admission.dismiss(self.session, self.client, refusal)
        else:
            self.session.generation.listener_count(self.session.listener, Cell.DENIED_CONTENT)
            self.session.end("PR", "policy", "no TLS, which is all that is carried here", reset=True)

    async def _decide(self, name: str) -> access.TlsAction:
        """splice, bump or terminate; what step 3 needs is done on the way."""
        before = self.way.tls
        facts = self.session.learn()
        if before == "splice":
            return "splice"
        verdict = access.TlsVerdict("bump", "", "")
        if before != "bump":
            verdict = access.tls(self.connect.tls, facts, 2, before)
        if verdict.where:
            self.session.record.route = verdict.where
        questions = self.session.worker.questions
        if verdict.action in ("bump", "stare") and questions.learned(self.session, name or self.ask.host):
            return "splice"
        if verdict.action == "peek":
            names = await self._names_passing_by()
        elif verdict.action == "stare":
            self.opened = await self._to_server()
            names = certificate_names(self.opened.certificate)
        else:
            return verdict.action
        facts.server_names = tuple(names) if names else ABSENT
        verdict = access.tls(self.connect.tls, facts, 3, verdict.action)
        if verdict.where:
            self.session.record.route = verdict.where
        return verdict.action

    async def _names_passing_by(self) -> tuple[str, ...]:
        """Send the client's hello on as it is and read the names in the server's answer; none in TLS 1.3."""
        session = self.session
        session.deadline = session.worker.loop.now + (self.connect.connect_timeout or inf)
        try:
            data = session.learn().data
            await self.server.send(data)
            fdio.discard(self.client.fd, len(data))
            self.ahead = len(data)
            return certificate_names(await self.server.look(_leaf, LONGEST))
        except (TimeUp, Gone):
            return ()  # the tunnel will show what happened
        finally:
            self.server.expect(1)
            session.deadline = inf

    def _splice(self) -> None:
        connect, session = self.connect, self.session
        fd, self.fd = self.fd, -1
        session.server_mask = self.server.mask
        session.carry(fd, session.silence(connect.tunnel_timeout, connect.server_timeout), self.ahead)

    # opening

    async def _open(self, hello: ClientHello, name: str) -> None:
        """TLS with the server as the client would have it, then with the client as the server has it."""
        session = self.session
        bump = self.connect.bump
        assert bump is not None, "config sees to it that there is an authority where a rule says bump"
        opened = self.opened or await self._to_server()
        self.opened = opened
        try:
            minted = await session.worker.questions.mint(session, opened.certificate, name, opened.reason)
        except Unanswered as unanswered:
            refusal = Refusal("proxy_internal_error", f"no certificate for {name}: {unanswered.text}", code="PR")
            await self._refuse(refusal, alert.INTERNAL_ERROR)
            return
        chosen = opened.socket.selected_alpn_protocol()
        session.deadline = session.worker.loop.now + (self.connect.head_timeout or inf)
        try:
            context = contexts.context_of(minted, (chosen,) if chosen else ())
            with_client = await tls.server(session, session.fd, context)
        except TlsFailure as failure:
            if failure.peer_refused_certificate and opened.is_sound(name):
                session.worker.questions.bump_failed(session, name)
            self.ask.error = "tls_alert_received" if failure.alert else "tls_protocol_error"
            if failure.kind == "local":
                session.end("RC", "error", failure.reason, reset=True)
            else:
                session.end("CR", "error", f"client: {failure.reason}", reset=True)
            return
        finally:
            session.deadline = inf
        self.opened, self.fd = None, -1
        limit = session.silence(self.connect.tunnel_timeout, self.connect.server_timeout)
        tlsrelay.carry(session, with_client, opened.socket, limit)

    async def _to_server(self) -> _Opened:
        """TLS with the server, verified; if it is not to be trusted, once more to see what it shows. Raises Refusal."""
        bump = self.connect.bump
        assert bump is not None
        failure = await self._handshake(bump)
        if isinstance(failure, TlsFailure) and failure.verify_code in _DATED and bump.untrusted == "show":
            # nothing is taken on trust: all but the dates is verified, and it must be the server's own that are over
            await self._again()
            dated = await self._handshake(bump, check_dates=False)
            if not isinstance(dated, TlsFailure):
                over = tls.is_out_of_date(dated, time())
                shows = dated.getpeercert(binary_form=True) or b""
                return _Opened(dated, shows, "" if over else failure.verify_message, dated=over)
            failure = dated
        if not isinstance(failure, TlsFailure):
            return _Opened(failure, failure.getpeercert(binary_form=True) or b"", "")
        if not failure.verify_code or bump.untrusted == "refuse":
            raise unsecured(self.ask.host, failure)
        await self._again()
        shown = await self._handshake(bump, verify=False)
        if isinstance(shown, TlsFailure):
            raise unsecured(self.ask.host, shown)
        return _Opened(shown, shown.getpeercert(binary_form=True) or b"", failure.verify_message)

    async def _again(self) -> None:
        """Another connection to the server."""
        self.fd = await target.reach(self.session, self.connect, self.ask, self.way)
        Stream(self.session, self.fd, self.session.server_mask, "server")

    async def _handshake(self, bump: Bump, verify: bool = True, check_dates: bool = True) -> ssl.SSLSocket | TlsFailure:
        """The client's server name and protocols are what the server is asked for."""
        session = self.session
        hello = session.learn().hello
        assert isinstance(hello, ClientHello)
        session.deadline = session.worker.loop.now + (self.connect.connect_timeout or inf)
        # shown, a certificate's names are for the client to judge; where there is nothing to see they are judged here
        strict = bump.untrusted == "refuse"
        named = "" if hello.sni or not strict else self.ask.host
        terms = contexts.ServerTerms(
            bump.server_ca, verify, hello.alpn, strict and bool(hello.sni), check_dates, verify_name=named
        )
        fd, self.fd = self.fd, -1
        try:
            return await tls.client(session, fd, terms, hello.sni)
        except TlsFailure as failure:
            return failure.with_traceback(None)
        finally:
            session.deadline = inf

    async def _refuse(self, refusal: Refusal, description: int) -> None:
        """Close, and say why in TLS."""
        await admission.farewell(self.session, self.client, refusal, alert.fatal(description))


def _leaf(data: bytes) -> tuple[bytes, int] | None:
    """The server's certificate in its first flight, of which nothing is taken; none where it is not to be seen."""
    answer = serverhello.parse(data)
    if answer is serverhello.Outcome.NEED_MORE and len(data) < LONGEST:
        return None
    return answer.leaf if isinstance(answer, serverhello.Certificate) else b"", 0
