"""Probes of the way to an API server: do commands in pods get through? They need `Connection: Upgrade` to arrive.

A plain tunnel cannot take that away; who ends TLS in between can. `judge` is pure; its table is that of what the API
server itself answers: it looks at Connection first, and the runtime behind it at Upgrade.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Literal

from ferryman.doctor.answer import Head, body_length, parse_head, shown
from ferryman.doctor.apiserver import SPDY_PING, websocket_ping, websocket_pong
from ferryman.doctor.certificate import fingerprint, look
from ferryman.doctor.pairing import HELLO, RSYNC
from ferryman.doctor.path import Control, Path
from ferryman.doctor.report import Check, finding, fine, unknown
from ferryman.doctor.tlsstream import TlsFault, TlsStream, client_context
from ferryman.doctor.tunnel import Cut, Dialer, Tunnel, Unreached
from ferryman.wire.authority import format_authority

PROBES: Final = ("api tls", "upgrade")
_NO_POD: Final = "default/ferryman-doctor"
_PONG: Final = 5.0
"""Seconds for the answer to a ping."""
_LONGEST: Final = 8192
"""Bytes of an answer that are looked at."""
_MOST_BEFORE: Final = 1 << 20
"""Bytes that may come before the answer to a ping."""
_KEPT_BACK: Final = "its certificate is not known to be good (--control-ca)"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What came of asking for one. `pong`: after 101, whether bytes were carried."""

    how: Literal["answer", "foreign", "closed", "reset", "silent"] = "answer"
    head: Head | None = None
    body: str = ""
    pong: bool = False

    @property
    def status(self) -> int:
        return self.head.status if self.head else 0

    @property
    def line(self) -> str:
        return self.head.line if self.head else self.how

    @property
    def api(self) -> bool:
        """Whether the answer is of the API server's kind."""
        return '"kind":"Status"' in self.body.replace(" ", "")


def examine(path: Path, control: Control) -> list[Check]:
    """Rows "api tls" and "upgrade"."""
    places = {"host": control.host, "port": str(control.port), "target": format_authority(control.host, control.port)}
    places["proxy"] = str(control.proxy.address) if control.proxy else ""
    dialer = Dialer(path.patience, path.proxy_ca)
    try:
        tls = _tls(path, control, dialer, places)
    except Unreached as fault:
        return [finding("api tls", "API_UNREACHED", fault.text, places)]
    if tls.verdict and tls.verdict.code != "API_MITM":
        return [tls]
    with ThreadPoolExecutor(2) as pool:
        spdy = pool.submit(_ask, path, control, dialer, "SPDY/3.1")
        websocket = pool.submit(_ask, path, control, dialer, "websocket")
        row = _row(spdy.result(), websocket.result(), places)
    if control.bearer and tls.state != "ok":
        row = replace(row, said=f"{row.said}; the bearer token was kept back: {_KEPT_BACK}")
    return [tls, row]


def _row(spdy: Upgrade, websocket: Upgrade, places: dict[str, str]) -> Check:
    code, said = judge(spdy, websocket)
    evidence = {"SPDY": _seen(spdy), "WebSocket": _seen(websocket)}
    if spdy.head:
        evidence |= {name: shown(value) for name, value in spdy.head.headers if name.lower() in ("server", "via")}
    if code == "":
        return fine("upgrade", said, **evidence)
    return finding("upgrade", code, said, places, **evidence)


def judge(spdy: Upgrade, websocket: Upgrade) -> tuple[str, str]:
    """Code ("": fine) and sentence."""
    if spdy.status == 101 and spdy.pong:
        other = "" if websocket.pong else "; WebSocket does not, for which newer clients fall back to SPDY"
        return "", f"SPDY gets through{other or ', WebSocket as well'}"
    if spdy.status == 101:
        return "101_NOT_TUNNELLED", "SPDY is answered with 101, and then nothing is carried"
    if websocket.status == 101 and websocket.pong:
        return "SPDY_REFUSED", f"WebSocket gets through, SPDY is answered with {spdy.line}"
    if "Upgrade request required" in spdy.body:
        return "CONNECTION_HEADER_STRIPPED", "the API server says: Upgrade request required"
    if "missing upgrade headers" in spdy.body:
        return "UPGRADE_STRIPPED", "the API server says: missing upgrade headers in request"
    if spdy.api and spdy.status in (401, 403, 404):
        return "API_AUTH", f"the API server answers {spdy.line}"
    if spdy.status >= 500 or not spdy.head or "http2: invalid Upgrade" in spdy.body:
        return "L7_HTTP2_OR_REPLY_FILTER", f"SPDY: {spdy.line}; WebSocket: {websocket.line}"
    return "MIDDLEBOX_ANSWER", f"{spdy.line}, which is not how an API server answers"


def _seen(upgrade: Upgrade) -> str:
    if upgrade.status == 101:
        return f"{upgrade.line}, {'a ping comes back' if upgrade.pong else 'no ping comes back'}"
    return f"{upgrade.line} {shown(upgrade.body, 120)}".strip()


def _open(control: Control, dialer: Dialer) -> Tunnel:
    """Raises Unreached."""
    if control.proxy is None:
        return dialer.connect(control.host, control.port)
    form = "Basic" if control.proxy.user else ""
    reply, tunnel = dialer.ask(control.proxy, control.host, control.port, form)
    if reply.opened:
        return tunnel
    tunnel.close()
    said = reply.head.line if reply.head else reply.how
    raise Unreached("refused", f"the proxy opens no tunnel to it: {said}")


def _tls(path: Path, control: Control, dialer: Dialer, places: dict[str, str]) -> Check:
    """Whose certificate is shown? Raises Unreached."""
    stream = TlsStream(client_context(), control.host)
    tunnel = _open(control, dialer)
    tunnel.skip = HELLO if path.token else b""
    try:
        stream.handshake(tunnel, path.patience)
    except TlsFault as fault:
        tunnel.close()
        return finding("api tls", "API_UNREACHED", f"TLS ends: {fault}", places)
    leaf = stream.leaf
    stream.close()
    evidence = look(leaf).facts()
    if path.token and fingerprint(leaf) == path.token.fingerprint:
        return fine("api tls", "the certificate is the far end's own", **evidence)
    if path.token and not control.ca:
        return unknown("api tls", "the certificate is not the far end's own: somebody ends TLS before it", **evidence)
    if not control.ca:
        return unknown("api tls", "there is nothing to verify its certificate by: give --control-ca", **evidence)
    why = _verify(path, control, dialer)
    if why:
        return finding("api tls", "API_MITM", why, places, **evidence)
    return fine("api tls", "the certificate is good", **evidence)


def _verify(path: Path, control: Control, dialer: Dialer) -> str:
    """Why the certificate is not good; "": it is. Raises Unreached."""
    context = ssl.create_default_context(cafile=control.ca)
    stream = TlsStream(context, control.host)
    tunnel = _open(control, dialer)
    tunnel.skip = HELLO if path.token else b""
    try:
        stream.handshake(tunnel, path.patience)
    except TlsFault as fault:
        return f"it is not good: {fault.text or fault.how}"
    finally:
        tunnel.close()
    return ""


def _ask(path: Path, control: Control, dialer: Dialer, protocol: str) -> Upgrade:
    """Ask to execute `true` in a pod. The token goes to nobody but who shows a good certificate."""
    stream = None
    if control.bearer and control.ca:
        with contextlib.suppress(Unreached, TlsFault):
            stream = _shaken(path, control, dialer, ssl.create_default_context(cafile=control.ca))
    bearer = control.bearer if stream else ""
    try:
        stream = stream or _shaken(path, control, dialer, client_context())
    except (Unreached, TlsFault):
        return Upgrade("closed")
    try:
        stream.write(_request(control, protocol, bearer), path.patience)
        return _answer(stream, protocol, path.patience)
    except Cut as cut:
        return Upgrade(cut.how)
    except TlsFault:
        return Upgrade("closed")
    finally:
        stream.close()


def _shaken(path: Path, control: Control, dialer: Dialer, context: ssl.SSLContext) -> TlsStream:
    """TLS with whoever satisfies the context. Raises Unreached, TlsFault."""
    stream = TlsStream(context, control.host)
    tunnel = _open(control, dialer)
    tunnel.skip, stream.skip = (HELLO, RSYNC) if path.token else (b"", b"")
    try:
        stream.handshake(tunnel, path.patience)
    except TlsFault:
        tunnel.close()
        raise
    return stream


def _request(control: Control, protocol: str, bearer: str) -> bytes:
    namespace, _, pod = (control.pod or _NO_POD).partition("/")
    address = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec?command=true&stdout=true&stderr=true"
    lines = [f"Host: {format_authority(control.host, control.port)}", "Connection: Upgrade", f"Upgrade: {protocol}"]
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    if protocol == "websocket":
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        return "\r\n".join(
            [f"GET {address} HTTP/1.1", *lines, "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io", "", ""]
        ).encode()
    lines += [f"X-Stream-Protocol-Version: v{number}.channel.k8s.io" for number in (4, 3, 2, 1)]
    return "\r\n".join([f"POST {address} HTTP/1.1", *lines, "Content-Length: 0", "", ""]).encode()


def _answer(stream: TlsStream, protocol: str, seconds: float) -> Upgrade:
    """Raises Cut, TlsFault."""
    deadline, data = time.monotonic() + seconds, b""
    while not isinstance(head := parse_head(data), Head):
        if head is not None:
            return Upgrade("foreign")
        more = stream.read(deadline - time.monotonic())
        if not more:
            return Upgrade("closed")
        data += more
    data = data[head.length :]
    if head.status == 101:
        return Upgrade(head=head, pong=_pinged(stream, protocol, data))
    size = body_length(head)
    most = _LONGEST if size is None else min(size, _LONGEST)
    while len(data) < most:
        try:
            more = stream.read(min(1.0, seconds))
        except (Cut, TlsFault):
            break
        if not more:
            break
        data += more
    return Upgrade(head=head, body=data.decode("utf-8", "replace"))


def _pinged(stream: TlsStream, protocol: str, data: bytes) -> bool:
    """Whether a ping comes back; other frames may come before."""
    payload = secrets.token_bytes(8)
    websocket = protocol == "websocket"
    ping = websocket_ping(payload, secrets.token_bytes(4)) if websocket else SPDY_PING
    pong = websocket_pong(payload) if websocket else SPDY_PING
    deadline = time.monotonic() + _PONG
    try:
        stream.write(ping, _PONG)
        while pong not in data:
            more = stream.read(deadline - time.monotonic()) if len(data) < _MOST_BEFORE else b""
            if not more:
                return False
            data += more
    except (Cut, TlsFault):
        return False
    return True
