"""Probes of TLS: a handshake through the path, compared with what else is known, and rsync's greeting within it.

All connections that do not depend on each other are made at once: the one of the migration; one without the proxy; one
to a name that does not exist; one whose hello is sent together with CONNECT.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ferryman.doctor import certificate
from ferryman.doctor.answer import Head, shown
from ferryman.doctor.certificate import look
from ferryman.doctor.greeting import Greeting, greet
from ferryman.doctor.pairing import HELLO
from ferryman.doctor.path import Path
from ferryman.doctor.proxy import facts, nowhere
from ferryman.doctor.report import Check, finding, fine, skipped, unknown
from ferryman.doctor.tlsstream import TlsFault, TlsStream, client_context
from ferryman.doctor.tunnel import Cut, Dialer, Reply, Tunnel, Unreached

ASIDE: Final = 1.0
"""Seconds for a connection without the proxy, which is only for comparison."""


@dataclass(frozen=True, slots=True)
class Shake:
    """What came of a handshake: a stream, or why not. `reply`: what the proxy said, when that was no 2xx."""

    stream: TlsStream | None = None
    leaf: bytes = b""
    fault: TlsFault | None = None
    reply: Reply | None = None
    unreached: Unreached | None = None

    @property
    def why(self) -> str:
        """Why there is no TLS; "" when there is."""
        if self.fault:
            return f"{self.fault.how} {self.fault.text}".strip()
        if self.reply:
            return self.reply.head.line if self.reply.head else self.reply.how
        return self.unreached.text if self.unreached else ""


class Shaker:
    """Makes handshakes over the path examined."""

    def __init__(self, path: Path, dialer: Dialer, form: str, took: float = 0.0) -> None:
        self.path, self.dialer, self.form, self.took = path, dialer, form, took

    def shake(self, name: str | None = "", version: str = "") -> Shake:
        """Over the path, as the migration does it. `name`: the server name sent; "": that of the path, None: none."""
        stream = self._stream(name, version)
        try:
            opened = self.open()
        except Unreached as fault:
            return Shake(unreached=fault)
        return Shake(reply=opened) if isinstance(opened, Reply) else self._over(stream, opened)

    def aside(self) -> Shake:
        """Without the proxy."""
        seconds = min(ASIDE, self.path.patience)
        try:
            tunnel = self.dialer.connect(self.path.host, self.path.port, seconds)
        except Unreached as fault:
            return Shake(unreached=fault)
        return self._over(self._stream(), tunnel)

    def coalesced(self) -> Shake:
        """The hello in the same segment as CONNECT."""
        assert self.path.proxy is not None
        stream = self._stream()
        try:
            reply, tunnel = self.dialer.ask(
                self.path.proxy, self.path.host, self.path.port, self.form, early=stream.hello
            )
        except Unreached as fault:
            return Shake(unreached=fault)
        if not reply.opened:
            tunnel.close()
            return Shake(reply=reply)
        return self._over(stream, tunnel, sent=True)

    def nowhere(self) -> tuple[Reply | None, str, bytes]:
        """A name that does not exist: the proxy's answer, the name, and the certificate that was shown (b"": none)."""
        assert self.path.proxy is not None
        try:
            reply, name = nowhere(self.dialer, self.path.proxy, self.form, self.took)
            if not reply.opened:
                return reply, name, b""
            _, tunnel = self.dialer.ask(self.path.proxy, name, 443, self.form, seconds=ASIDE)
        except Unreached:
            return None, "", b""
        shake = self._over(TlsStream(client_context(), name), tunnel, ASIDE)
        _close(shake)
        return reply, name, shake.leaf

    def open(self) -> Tunnel | Reply:
        """A tunnel to the target; or what the proxy says. Raises Unreached."""
        path = self.path
        if path.proxy is None:
            straight = self.dialer.connect(path.host, path.port)
            straight.skip = HELLO if path.token else b""
            return straight
        reply, tunnel = self.dialer.ask(path.proxy, path.host, path.port, self.form)
        if reply.opened:
            tunnel.skip = HELLO if path.token else b""
            return tunnel
        tunnel.close()
        return reply

    def _stream(self, name: str | None = "", version: str = "") -> TlsStream:
        context = client_context(version, self.path.client_certificate)
        return TlsStream(context, None if name is None else name or self.path.server_name)

    def _over(self, stream: TlsStream, tunnel: Tunnel, seconds: float = 0.0, sent: bool = False) -> Shake:
        tunnel.skip = HELLO if self.path.token else b""
        try:
            stream.handshake(tunnel, seconds or self.path.patience, sent)
        except TlsFault as fault:
            tunnel.close()
            return Shake(fault=fault)
        return Shake(stream, stream.leaf)


@dataclass(frozen=True, slots=True)
class Shaken:
    """Rows, whether TLS stands, and whether it is proven that nobody opens it."""

    checks: list[Check]
    stands: bool
    proven: bool = False


def examine(shaker: Shaker, places: dict[str, str]) -> Shaken:
    """Rows "early 200", "tls", "rsync" and "coalesced"."""
    path, proxied = shaker.path, shaker.path.proxy is not None
    with ThreadPoolExecutor(4) as pool:
        main = pool.submit(shaker.shake)
        aside = pool.submit(shaker.aside) if proxied and path.direct else None
        lost = pool.submit(shaker.nowhere) if proxied else None
        together = pool.submit(shaker.coalesced) if proxied else None
        shake = main.result()
        greeting = greet(shake.stream, path.module, path.patience) if shake.stream else None
        _close(shake)
        if greeting and greeting.late and path.module:  # which it was not asked for
            again = shaker.shake()
            greeting = greet(again.stream, path.module, path.patience, path.patience) if again.stream else greeting
            _close(again)
        direct = aside.result() if aside else Shake()
        _close(direct)
        reply, name, forged = lost.result() if lost else (None, "", b"")
        joined = together.result() if together else Shake()
        _close(joined)
    tls, judgement = _tls(path, shake, direct, forged, greeting, places)
    proven = judgement == "untouched"
    greets = bool(greeting and greeting.kind == "rsync")
    early = _early(reply, name, forged, proven, greets and judgement == "unknown", places) if proxied else []
    rsync = _rsync(greeting, judgement, proxied, places) if greeting else skipped("rsync", "there is no TLS")
    return Shaken(
        [*early, *tls, rsync, *_coalesced(shake, joined, proxied and judgement != "opened", places)],
        shake.stream is not None,
        proven,
    )


def _close(shake: Shake) -> None:
    if shake.stream:
        with contextlib.suppress(Cut):  # it was only looked at
            shake.stream.close()


def _tls(
    path: Path, shake: Shake, direct: Shake, forged: bytes, greeting: Greeting | None, places: dict[str, str]
) -> tuple[list[Check], str]:
    if shake.stream is None:
        return [_failed(path, shake, direct, places)], ""
    seen = look(shake.leaf)
    judgement, why = certificate.judge(shake.leaf, path.expected, direct.leaf, forged, path.proxy is not None)
    evidence = {"version": shake.stream.version, **seen.facts()}
    if direct.leaf and direct.leaf != shake.leaf:
        evidence["without the proxy"] = look(direct.leaf).sha256
    if judgement in ("other", "opened") and _is_default(greeting):
        said = "the router answers itself, with its default certificate"
        return [finding("tls", "ROUTE_NOT_FOUND", said, places, **evidence)], "other"
    if judgement == "opened":
        return [finding("tls", "MITM", why, places, **evidence)], judgement
    checks = []
    if judgement == "other":
        checks.append(finding("tls", "CERTIFICATE_UNEXPECTED", why, places, **evidence))
    elif judgement == "unknown":
        checks.append(unknown("tls", f"{shake.stream.version} stands, but {why}", **evidence))
    else:
        checks.append(fine("tls", f"{shake.stream.version}: {why}", **evidence))
    if seen.expired(certificate.now()):
        said = f"it is good from {seen.begins:%Y-%m-%d} to {seen.ends:%Y-%m-%d}"
        checks.append(finding("tls", "CERTIFICATE_EXPIRED", said, places, **evidence))
    return checks, judgement


def _is_default(greeting: Greeting | None) -> bool:
    """The answer of HAProxy itself, as which an OpenShift router answers: 400 to what is no HTTP, 503 to the rest.

    It names no server, unlike web servers do.
    """
    head = greeting.head if greeting else None
    return bool(head and head.status in (400, 503) and not (head.get("server") or _of_proxy(head)))


def _failed(path: Path, shake: Shake, direct: Shake, places: dict[str, str]) -> Check:
    """There is no TLS: whose fault?"""
    if shake.fault is None:
        said = f"a second connection did not come as far as the first: {shake.why}"
        return finding("tls", "CONNECT_REFUSED" if path.proxy else "TARGET_REFUSED", said, places)
    fault = shake.fault
    evidence = {"tls": shake.why, "bytes": shown(fault.data, 60) if fault.how == "foreign" else ""}
    if path.proxy and direct.stream:
        said = f"without the proxy TLS stands, through it: {shake.why}"
        code = "BYTES_AFTER_200" if fault.how == "foreign" else "TLS_CUT_BY_PROXY"
        return finding("tls", code, said, places, **evidence)
    if fault.how == "foreign":
        said = f"the first bytes are {shown(fault.data, 40)!r}"
        return finding("tls", "NOT_TLS", said, places, **evidence)
    if fault.text == "unrecognized_name":
        return finding("tls", "ROUTE_NOT_FOUND", "the name is refused with an alert", places, **evidence)
    if fault.how in ("alert", "failed"):
        return finding("tls", "TLS_REFUSED", f"the handshake ends with {shake.why}", places, **evidence)
    if fault.how == "silent":
        return finding("tls", "TLS_SILENT", f"nothing came in {path.patience:g} s", places, **evidence)
    cut = f"the connection is {'reset' if fault.how == 'reset' else 'closed'} after the ClientHello"
    if path.proxy and not (direct.fault and direct.fault.how == fault.how):
        return finding("tls", "TLS_CUT", cut, places, **evidence)
    also = ", without the proxy, too" if path.proxy else ""
    return finding("tls", "ROUTE_NOT_FOUND", cut + also, places, **evidence)


def _early(
    reply: Reply | None, name: str, forged: bytes, proven: bool, carried: bool, places: dict[str, str]
) -> list[Check]:
    if reply is None:
        return [unknown("early 200", "a connection for it could not be made")]
    if not reply.opened:
        return [fine("early 200", f"{name}:443 is not answered with 200", **facts(reply))]
    said = f"it answers 200 for {name}, which does not exist"
    evidence = facts(reply)
    if forged:
        said += ", and shows a certificate for it"
        evidence["forged by"] = look(forged).issuer
    if proven:
        return [fine("early 200", f"{said}; the target is left alone all the same", **evidence)]
    if carried:  # rsync greeted by a certificate that is not of the forger's
        return [unknown("early 200", f"{said}; rsync is carried all the same", **evidence)]
    return [finding("early 200", "EARLY_200", said, places, **evidence)]


def _rsync(greeting: Greeting, judgement: str, proxied: bool, places: dict[str, str]) -> Check:
    evidence = {"first line": greeting.line, "then": greeting.after}
    if judgement == "opened" and greeting.kind in ("closed", "silent", "other"):
        said = f"the one who opens TLS does not carry rsync: {greeting.line or greeting.kind}"
        return finding("rsync", "BUMPED_NON_HTTP", said, places, **evidence)
    match greeting.kind:
        case "rsync":
            return fine("rsync", f"it greets: {greeting.line}", **evidence)
        case "error":
            return finding("rsync", "RSYNC_ERROR", f"it says {greeting.after!r}", places, **evidence)
        case "alert":
            return unknown("rsync", f"the target ends TLS with {greeting.line}: it may want a certificate (--cert)")
        case "silent":
            return finding("rsync", "RSYNC_SILENT", "nobody greets, nor answers a greeting", places)
        case "closed":
            said = "the connection ends before a greeting"
            return finding("rsync", "NOT_RSYNC", said, places, first_line=f"none: {greeting.line}")
    said = f"it says {greeting.line!r}"
    if greeting.head:
        evidence |= {name: shown(value) for name, value in greeting.head.headers if name.lower() in ("server", "via")}
    if greeting.kind == "http" and proxied and (judgement == "opened" or _of_proxy(greeting.head)):
        return finding("rsync", "BUMPED_NON_HTTP", said, places, **evidence)
    if _is_default(greeting):
        return finding("rsync", "ROUTE_NOT_FOUND", f"{said}, as a router without such a route does", places, **evidence)
    return finding("rsync", "NOT_RSYNC", said, places, **evidence)


def _of_proxy(head: Head | None) -> bool:
    """Fields that proxies add."""
    return bool(head and (head.get("via") or head.get("x-squid-error")))


def _coalesced(shake: Shake, joined: Shake, proxied: bool, places: dict[str, str]) -> list[Check]:
    if not proxied or shake.stream is None:
        return []
    if joined.stream:
        return [fine("coalesced", "a ClientHello sent together with CONNECT arrives")]
    said = f"a ClientHello sent together with CONNECT does not arrive: {joined.why}"
    return [finding("coalesced", "COALESCED_LOST", said, places)]
