"""What a worker has to ask the supervisor: names, passwords, certificates; and what it may go by without asking again.

    hosts  = await questions.resolve(session, "api.example.org")        # Unresolved
    known  = await questions.verify(session, "alice", password)         # Unanswered
    minted = await questions.mint(session, der, "api.example.org", "")  # Unanswered
    questions.bump_failed(session, "api.example.org")                   # the client refused a minted certificate
    questions.learned(session, "api.example.org")                       # True: it did so too often, splice

A worker faces the network, so it neither resolves names (which blocks) nor spends 50 ms on a password hash nor holds
the key of the operator's certificate authority. It sends `{"kind": "ask", …}` upwards, the session waits as for any
event, and the supervisor's `answer` order lets it go on. Sessions with the same question wait for the same answer; a
question nobody waits for any more is forgotten, and so is its answer. One `Questions` per worker, used by the explicit
proxy's journey. Decides nothing; never writes a password anywhere but into the question.
"""

from __future__ import annotations

import hashlib
import os
import socket
from base64 import b64encode
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ferryman.dataplane.cache import Cache
from ferryman.dataplane.generation import Target
from ferryman.dataplane.loop import suspend
from ferryman.plan import Connect, Plan

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session
    from ferryman.dataplane.worker import Worker

RESOLVE_TIMEOUT: Final = 10.0
"""Seconds for the names of proxies before servers, whose listeners set no limit."""
NAME_TTL: Final = 5.0
"""Seconds a name's addresses are used again; as much may be added by the supervisor's own memory."""
NAMES: Final = 4096
LONGEST_NAME: Final = 253  # RFC 1035 section 2.3.4, without the last dot
LONGEST_SECRET: Final = 1024  # characters of a user's name or password; no hash is made of as many
LONGEST_CERTIFICATE: Final = 65536  # bytes; one that is longer is refused
LONGEST_REASON: Final = 200
CREDENTIALS: Final = 16384
"""Verified pairs of user and password that are remembered, per listener."""
VERIFY_TIMEOUT: Final = 30.0
"""Seconds; more than the longest delay for an address that guesses, and time for a few slow hashes before it."""
MINT_TIMEOUT: Final = 10.0
MINTED_TTL: Final = 3600.0
"""Seconds a certificate is used again: one that resembles no other is itself only good for some days."""
CONTEXT: Final = 24 * 1024
"""Bytes a certificate weighs in memory beside its text: the TLS context that is made of it."""

Learned = dict[tuple[str, str, str], float]
"""(listener, client's address, name) -> until when (monotonic, which is one clock for all processes) it is spliced."""


class Unanswered(Exception):  # noqa: N818 - an outcome, not an error of ours
    """No answer that helps. `error`: "busy" (too many ask; later it may work), "timeout", "refused" or "internal"."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text


class Unresolved(Unanswered):
    """A name has no address. `error`: "dns_error" or "dns_timeout" (RFC 9209 section 2.3)."""


class Minted:
    """A certificate for a bumped client, with its chain, and the key to it, both PEM.

    `context` is for whoever makes a TLS context of it: kept here it lives as long as the certificate is remembered.
    """

    __slots__ = ("chain_pem", "context", "key_pem")

    def __init__(self, chain_pem: str, key_pem: str) -> None:
        self.chain_pem = chain_pem
        self.key_pem = key_pem
        self.context: object = None


class _Question:
    """One that is under way, and who waits for its answer."""

    __slots__ = ("answer", "number", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: dict[Session, None] = {}
        self.answer: tuple[Any, str, str] | None = None  # value, error, text


class Questions:
    """All questions of one worker, and the answers it remembers."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._numbers = 0
        self._open: dict[tuple[str, ...], _Question] = {}
        self._keys: dict[int, tuple[str, ...]] = {}  # of the open ones by number
        self._names: Cache[tuple[Target, ...]] = Cache(NAMES)
        self._secret = os.urandom(32)  # a digest of credentials is worth nothing outside of this process
        self._credentials: dict[str, Cache[bool]] = {}  # by listener
        self._users: dict[str, object] = {}  # by listener, what its credentials were verified against
        self._minted: dict[str, Cache[Minted]] = {}  # by listener
        self._learned: Learned = {}

    # what sessions ask

    async def resolve(self, session: Session, host: str) -> tuple[Target, ...]:
        """Addresses of a name in the order to try them: (address family, numeric host). Raises Unresolved.

        The answer that rules see and the one that is connected to must be the same one: ask once and keep it.
        """
        if (literal := _numeric(host)) is not None:
            return (literal,)
        if len(host) > LONGEST_NAME:
            raise Unresolved("dns_error", "the name is too long")
        now = self._worker.loop.now
        if (known := self._names.get(host, now)) is not None:
            return known
        try:
            connect = session.listener.connect
            timeout = RESOLVE_TIMEOUT if connect is None else connect.resolve_timeout
            hosts = await self.ask(session, "resolve", session.record.client_host, host, timeout=timeout or inf)
        except Unanswered as failure:
            error = {"timeout": "dns_timeout"}.get(failure.error, failure.error)
            raise Unresolved(error if error.startswith("dns_") else "dns_error", failure.text) from None
        found = tuple((int(socket.AF_INET6 if ":" in one else socket.AF_INET), str(one)) for one in hosts)
        self._names.put(host, found, self._worker.loop.now + NAME_TTL)
        return found

    async def verify(self, session: Session, user: str, password: str) -> bool:
        """Is this a user of the listener with this password? Raises Unanswered.

        Believed for the listener's `credentials_ttl`; what was wrong is asked again each time. The answer comes the
        later, the more often the client's address was wrong.
        """
        connect, name = _connect(session), session.listener.name
        if len(user) > LONGEST_SECRET or len(password) > LONGEST_SECRET:
            return False
        if connect.ignore_case:
            user = user.lower()
        digest = hashlib.blake2b(
            b"\0".join(part.encode("utf-8", "surrogatepass") for part in (user, password)),
            key=self._secret,
            digest_size=16,
        ).digest()
        believed = self._credentials.setdefault(name, Cache(CREDENTIALS))
        if believed.get(digest, self._worker.loop.now):
            return True
        client = session.record.client_host
        known = await self.ask(session, "verify", client, user, password, timeout=VERIFY_TIMEOUT)
        if known:
            believed.put(digest, True, self._worker.loop.now + connect.credentials_ttl)
        return bool(known)

    async def mint(self, session: Session, certificate: bytes | None, name: str, reason: str = "") -> Minted:
        """A certificate to show to the session's client. Raises Unanswered.

        `certificate`: the server's (DER), which it resembles; None: it is for `name` alone. `reason`: why the server
        was not trusted, which nobody trusts the result either; "": it was.
        """
        connect = _connect(session)
        assert connect.bump is not None
        listener, name, reason = session.listener.name, name[:LONGEST_NAME], reason[:LONGEST_REASON]
        if certificate is not None and len(certificate) > LONGEST_CERTIFICATE:
            raise Unanswered("refused", "the server's certificate is too long")
        kept = self._minted.get(listener)
        if kept is None:
            kept = self._minted[listener] = Cache(connect.bump.cache)
        key = (hashlib.sha256(certificate).digest() if certificate else name, reason)
        if (minted := kept.get(key, self._worker.loop.now)) is not None:
            return minted
        text = b64encode(certificate).decode() if certificate else ""
        chain, private = await self.ask(session, "mint", text, name, reason, timeout=MINT_TIMEOUT)
        # another session may have waited for the same answer
        if (minted := kept.get(key, self._worker.loop.now)) is None:
            minted = Minted(chain, private)
            # a plan that came in the meantime has another cache in place: this one goes with the last who waited
            kept.put(key, minted, self._worker.loop.now + MINTED_TTL, len(chain) + CONTEXT)
        return minted

    def bump_failed(self, session: Session, name: str) -> None:
        """A client refused the minted certificate. The supervisor counts, if the listener learns at all."""
        bump = _connect(session).bump
        if bump is not None and bump.learn is not None:
            self._send(0, "bump_failed", session, (session.record.client_host, name[:LONGEST_NAME]))

    def learned(self, session: Session, name: str) -> bool:
        """Did this client refuse the certificate for this name so often that it is spliced for now?"""
        if not self._learned:
            return False
        until = self._learned.get((session.listener.name, session.record.client_host, name), -inf)
        return self._worker.loop.now < until

    async def ask(self, session: Session, what: str, *arguments: str, timeout: float) -> Any:
        """Ask the supervisor and wait: `timeout` seconds, or until the session's own deadline. Raises Unanswered."""
        key = (what, session.listener.name, *arguments)
        question = self._open.get(key)
        if question is None:
            self._numbers += 1
            question = self._open[key] = _Question(self._numbers)
            self._keys[question.number] = key
            self._send(question.number, what, session, arguments)
        own = session.deadline
        session.deadline = min(own, self._worker.loop.now + timeout)
        question.waiting[session] = None
        try:
            while question.answer is None:
                if session.expired:
                    raise Unanswered("timeout", "no answer in time")
                await suspend()
        finally:  # also when the session is cut
            session.deadline = own
            del question.waiting[session]
            if not question.waiting:
                self._forget(question.number)
        value, error, text = question.answer
        if error:
            raise Unanswered(error, text)
        return value

    # what the supervisor says

    def answered(self, number: int, value: Any, error: str, text: str) -> None:
        """The answer to a question; those who wait for it go on in this turn."""
        key = self._keys.get(number)
        if key is None:
            return  # nobody waits any more
        question = self._open[key]
        self._forget(number)
        question.answer = (value, error, text)
        self._worker.loop.ready.extend(question.waiting)

    def learn(self, learned: Learned) -> None:
        """All that is to be spliced, from now on."""
        self._learned = learned

    def follow(self, plan: Plan) -> None:
        """A new plan: certificates of a former authority, and users as they were, count no more."""
        connects = {listener.name: listener.connect for listener in plan.listeners if listener.connect is not None}
        self._minted = {}
        for name in [name for name in self._credentials if name not in connects]:
            del self._credentials[name]
        for name, connect in connects.items():
            if self._users.get(name) != connect.users:
                self._credentials.pop(name, None)
        self._users = {name: connect.users for name, connect in connects.items()}

    # inner workings

    def _send(self, number: int, what: str, session: Session, arguments: tuple[str, ...]) -> None:
        listener = session.listener.name
        self._worker.report({"kind": "ask", "id": number, "what": what, "listener": listener, "arguments": arguments})

    def _forget(self, number: int) -> None:
        key = self._keys.pop(number, None)
        if key is not None:
            del self._open[key]


def _connect(session: Session) -> Connect:
    connect = session.listener.connect
    assert connect is not None, "only listeners with mode connect ask"
    return connect


def _numeric(host: str) -> Target | None:
    """An address that is written as one; a name is None."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return None
    return int(family), host
