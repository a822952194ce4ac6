"""Probe of many bytes: how fast do they get through, and is a far end survived that reads slower than they come?

A volume's disk writes slower than a network sends, so that every buffer on the way is full for long, and whoever takes
that for a dead connection cuts it. Both ends are here: `examine` sends, `swallow` is what the far end does.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Final

from ferryman.doctor.handshake import Shaker
from ferryman.doctor.pairing import RSYNC, Token, ask
from ferryman.doctor.report import Check, finding, fine, skipped, unknown
from ferryman.doctor.tlsstream import TlsFault, TlsStream
from ferryman.doctor.tunnel import Cut

BLOCK: Final = 65536
"""Bytes that are sent at a time. The first of them is for how many seconds not to read on, or LAST."""
LAST: Final = 255
"""It is counted what came."""

_LONGEST_PAUSE: Final = 120
_LEAST: Final = 4 << 20
_MOST: Final = 64 << 20
"""Bytes that are sent while nobody reads: as many as got through before in the same time, but between these two."""


def examine(shaker: Shaker, token: Token | None, places: dict[str, str], tell: Callable[[str], None]) -> list[Check]:
    """Row "throughput": half of the time as fast as it goes, half of it against a far end that does not read."""
    seconds = shaker.path.throughput
    if not seconds:
        return [skipped("throughput", "it takes its time: ask for it with --throughput 20")]
    if token is None:
        return [skipped("throughput", "it takes the far end's help: its token (--far-end)")]
    shake = shaker.shake()
    if shake.stream is None:
        return [unknown("throughput", f"there is no TLS: {shake.why}")]
    tell(f"many bytes, at first as fast as they go: this takes {seconds:g} s and more")
    shake.stream.skip = RSYNC
    evidence = {"pause": f"{seconds / 2:.0f} s"}
    doing = "while bytes went as fast as they could"
    try:
        shake.stream.write(ask(token.secret, "sink", secrets.token_hex(16)), shaker.path.patience)
        begun = time.monotonic()
        count, sent = _flow(shake.stream, seconds / 2, shaker.path.patience)
        rate = sent / (time.monotonic() - begun)
        evidence["rate"] = f"{rate / 1e6:.1f} MB/s"
        tell(f"{evidence['rate']}; from now on the far end does not read for {evidence['pause']}")
        doing = f"while the far end did not read for {evidence['pause']}"
        if count == sent:
            pause = min(max(round(seconds / 2), 1), _LONGEST_PAUSE)
            more = _flow(shake.stream, seconds / 2, shaker.path.patience, pause, min(max(sent, _LEAST), _MOST))
            count, sent = count + more[0], sent + more[1]
            evidence["sent meanwhile"] = f"{more[1] / 1e6:.1f} MB"
        came = "" if count == sent else f"of {sent} bytes {count} arrived"
    except Cut as cut:
        came = f"the connection is {cut.how}"
    except TlsFault as fault:
        came = f"TLS ends: {fault}"
    finally:
        with contextlib.suppress(Cut):
            shake.stream.close()
    if came:
        return [finding("throughput", "TRANSFER_CUT", f"{came} {doing}", places, **evidence)]
    said = f"{evidence['rate']}; {evidence['pause']} in which the far end does not read are survived"
    return [fine("throughput", said, **evidence)]


def _flow(
    stream: TlsStream, seconds: float, patience: float, pause: int = 0, most: int | None = None
) -> tuple[int, int]:
    """Send for so long; how many bytes the far end counts, and how many were sent. Raises Cut, TlsFault."""
    block, sent = bytes(BLOCK), 0
    deadline = time.monotonic() + seconds
    if pause:
        stream.write(bytes([pause]) + block[1:], patience)
        sent += BLOCK
    while time.monotonic() < deadline and (most is None or sent < most):
        stream.write(block, pause + patience)
        sent += BLOCK
    stream.write(bytes([LAST]) + block[1:], pause + patience)
    sent += BLOCK
    return _count(stream, pause + seconds + patience), sent


def _count(stream: TlsStream, seconds: float) -> int:
    """The far end's word, a line. Raises Cut, TlsFault."""
    deadline, data = time.monotonic() + seconds, b""
    while not data.endswith(b"\n") and len(data) < 32:
        more = stream.read(deadline - time.monotonic())
        if not more:
            raise Cut("closed")
        data += more
    return int(data) if data.strip().isdigit() else -1


def swallow(stream: TlsStream, ahead: bytes, seconds: float) -> int:
    """The far end: take blocks, tell how many bytes came, to the end; how many in all. Raises Cut, TlsFault."""
    total, count, held = 0, 0, bytearray(ahead)
    while True:
        while len(held) >= BLOCK:
            first = held[0]
            del held[:BLOCK]
            count += BLOCK
            if first == LAST:
                stream.write(f"{count}\n".encode(), seconds)
                total, count = total + count, 0
            elif first:
                time.sleep(min(first, _LONGEST_PAUSE))
        more = stream.read(seconds)
        if not more:
            return total + count
        held += more
