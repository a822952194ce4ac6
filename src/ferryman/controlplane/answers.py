"""Answers what workers ask: names, passwords, certificates, and clients that refuse those (see dataplane.questions).

Used by the supervisor, which lets `prepare` read what a plan needs before anything changes, and by the fleet, which
hands it every question. A worker faces the network and is not trusted: a question is checked before anything is done
for it, must concern a listener of the present plan, and there is a bound on how many are open. Nothing a worker says
ends up in a path, a command or, but for names that are plain text, a message.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from ferryman.controlplane.credentials import BusyError, Credentials
from ferryman.controlplane.learning import Learning
from ferryman.controlplane.lookups import Lookups, NoAddressError
from ferryman.dataplane.questions import RESOLVE_TIMEOUT, Learned
from ferryman.errors import StartError
from ferryman.plan import Bump, Listener, Plan

if TYPE_CHECKING:  # minting is imported where a plan needs it: 0.1 s and 5 MB, mostly cryptography's
    from ferryman.controlplane.minting import Authority, HostCertificates, Leaf

MOST_OPEN: Final = 4096
"""Questions of one worker that wait for an answer; those beyond are answered "busy"."""

_LIMITS: Final = {
    "resolve": (128, 255),  # client's address, host
    "verify": (128, 1024, 1024),  # client's address, user, password
    "mint": (96 * 1024, 255, 1024),  # the server's certificate (DER in base64, or ""), name, why it is not trusted
    "bump_failed": (128, 255),  # client's address, name
}
"""What may be asked, with how long each argument may be at most."""
_COMPLAINTS: Final = 16  # different ones that are told; each once


class Asker(Protocol):
    """A worker process."""

    pid: int

    def order(self, kind: str, *values: object) -> bool: ...


@dataclass(slots=True)
class Prepared:
    """What a plan needs, read and found right. `messages` are for the operator."""

    hosts: dict[str, HostCertificates] = field(default_factory=dict)  # by listener
    bumps: dict[str, Bump] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Question:
    """What a worker asks, found to be well-formed."""

    number: int
    what: str
    listener: str
    arguments: list[str]


class _Refused(Exception):  # noqa: N818 - an outcome
    """The answer is no."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text


class Answers:
    """`tell` gets what operators should know: (level, text); `push` what was learned, for all workers."""

    def __init__(self, tell: Callable[[str, str], None], push: Callable[[Learned], None]) -> None:
        self.learning = Learning(push, tell)
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop
        self._listeners: dict[str, Listener] = {}
        self._prepared = Prepared()
        self._leaf: Leaf | None = None  # made when the first listener needs it
        self._lookups = Lookups()
        self._credentials = Credentials()
        self._signer = ThreadPoolExecutor(1, thread_name_prefix="mint")  # one: nothing in minting needs a lock
        self._open: Counter[int] = Counter()  # questions by worker
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained: set[str] = set()

    # plans

    def prepare(self, plan: Plan) -> Prepared:
        """Read authorities, look at folders. Raises StartError; changes nothing."""
        prepared = Prepared()
        read: dict[tuple[str, str], Authority] = {}
        for listener in plan.listeners:
            bump = listener.connect.bump if listener.connect is not None else None
            if bump is None:
                continue
            files = (bump.ca_file, bump.key_file)
            if files not in read:
                read[files] = self._authority(bump, prepared.messages)
            if bump.keep and not os.access(bump.keep, os.W_OK | os.X_OK):
                raise StartError(f"listener {listener.name}: {bump.keep} is no folder that can be written to")
            prepared.bumps[listener.name] = bump
            prepared.hosts[listener.name] = self._hosts(listener.name, bump, read[files])
        return prepared

    def _authority(self, bump: Bump, messages: list[str]) -> Authority:
        from ferryman.controlplane.minting import load_authority

        try:
            return load_authority(bump.ca_file, bump.key_file)
        except StartError as error:
            present = self._prepared
            for name, known in present.bumps.items():
                same = (known.ca_file, known.key_file) == (bump.ca_file, bump.key_file)
                if same and isinstance(error.__cause__, PermissionError):
                    # read as root at the start, which was given up since
                    messages.append(f"{error}; what was read at the start stays in use")
                    return present.hosts[name].authority
            raise

    def _hosts(self, listener: str, bump: Bump, authority: Authority) -> HostCertificates:
        """The present ones go on if they are the same, so that a reload does not make all certificates anew."""
        known = self._prepared.hosts.get(listener)
        if known is not None and known.authority.fingerprint == authority.fingerprint:
            before = self._prepared.bumps[listener]
            if (before.cache, before.keep) == (bump.cache, bump.keep):
                return known
        from ferryman.controlplane.minting import HostCertificates, Leaf

        if self._leaf is None:
            self._leaf = Leaf()
        return HostCertificates(authority, self._leaf, bump.cache, bump.keep, self._tell_from_thread)

    def follow(self, plan: Plan, prepared: Prepared) -> None:
        """Answer by this plan from now on."""
        self._loop = asyncio.get_running_loop()
        self._prepared = prepared
        self._listeners = {listener.name: listener for listener in plan.listeners}
        self._credentials.follow(plan)
        self.learning.follow(plan)

    def stop(self) -> None:
        """Answer nothing more."""
        for task in self._tasks:
            task.cancel()
        self._signer.shutdown(wait=False, cancel_futures=True)
        self._credentials.stop()
        self.learning.stop()

    # questions

    def asked(self, worker: Asker, report: dict[str, Any]) -> None:
        """A worker's question: answered to it later, unless it makes no sense."""
        try:
            question = _parse(report)
        except ValueError as error:
            self._complain(f"worker {worker.pid}: {error}")
            if isinstance(report.get("id"), int):  # should it be a bug after all, its session need not wait
                worker.order("answer", report["id"], None, "refused", "malformed question")
            return
        listener = self._listeners.get(question.listener)
        if question.what == "bump_failed":
            client, name = question.arguments
            if listener is not None and f"{client}{name}".isascii() and f"{client}{name}".isprintable():
                self.learning.refused(question.listener, client, name)
        elif listener is None:
            worker.order("answer", question.number, None, "refused", "the listener is gone")
        elif self._open[worker.pid] >= MOST_OPEN:
            worker.order("answer", question.number, None, "busy", "too many questions are open")
        else:
            self._open[worker.pid] += 1
            task = asyncio.create_task(self._answer(worker, question, listener))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, worker: Asker, question: _Question, listener: Listener) -> None:
        value, error, text = None, "", ""
        ways: dict[str, Callable[..., Awaitable[Any]]]
        ways = {"resolve": self._resolve, "verify": self._verify, "mint": self._mint}
        try:
            value = await ways[question.what](listener, *question.arguments)
        except _Refused as refused:
            error, text = refused.error, refused.text
        except NoAddressError as failure:
            error, text = failure.error, failure.text
        except BusyError as busy:
            error, text = "busy", str(busy)
        except Exception as bug:  # noqa: BLE001 - recorded; the session must not wait for ever
            error, text = "internal", "internal error"
            context = {"message": f"internal error in answering {question.what}", "exception": bug}
            self._loop.call_exception_handler(context)
        finally:
            self._open[worker.pid] -= 1
            if not self._open[worker.pid]:
                del self._open[worker.pid]
        worker.order("answer", question.number, value, error, text)

    async def _resolve(self, listener: Listener, client: str, host: str) -> tuple[str, ...]:
        timeout = RESOLVE_TIMEOUT if listener.connect is None else listener.connect.resolve_timeout
        return await self._lookups.resolve(client, host, timeout)

    async def _verify(self, listener: Listener, client: str, user: str, password: str) -> bool:
        return await self._credentials.verify(listener.name, client, user, password)

    async def _mint(self, listener: Listener, certificate: str, name: str, reason: str) -> tuple[str, str]:
        hosts = self._prepared.hosts.get(listener.name)
        if hosts is None:
            raise _Refused("refused", "this listener opens no TLS")
        from ferryman.controlplane.minting import MintingError

        try:
            der = b64decode(certificate, validate=True) or None
        except ValueError:
            raise _Refused("refused", "what should be a certificate is not base64") from None
        try:
            chain = await self._loop.run_in_executor(self._signer, hosts.get, der, name, reason)
        except MintingError as error:
            raise _Refused("refused", str(error)) from None
        return chain, hosts.leaf.key_pem

    # telling

    def _complain(self, text: str) -> None:
        """Once, and of a worker that makes up new nonsense all the time not for ever."""
        if text not in self._complained and len(self._complained) < _COMPLAINTS:
            self._complained.add(text)
            self._tell("alert", text)

    def _tell_from_thread(self, level: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self._tell, level, text)


def _parse(report: dict[str, Any]) -> _Question:
    """Raises ValueError, without what may be a secret."""
    number, what, listener, arguments = (report.get(key) for key in ("id", "what", "listener", "arguments"))
    limits = _LIMITS.get(what) if isinstance(what, str) else None
    if limits is None or not isinstance(what, str):
        raise ValueError(f"asks for what is not known: {what!r:.40}")
    if not isinstance(number, int) or not isinstance(listener, str) or not isinstance(arguments, list):
        raise ValueError(f"malformed question ({what})")
    texts = [text for text in arguments if isinstance(text, str)]
    if len(arguments) != len(limits) or len(texts) != len(limits):
        raise ValueError(f"malformed question ({what})")
    if any(len(text) > most for text, most in zip(texts, limits, strict=True)):
        raise ValueError(f"a question that is too long ({what})")
    return _Question(number, what, listener, texts)
