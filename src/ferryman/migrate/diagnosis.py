"""Why an attempt failed, in one line, and whether another may do better. Pure: from log lines and rsync's words.

rsync sees a connection to its own machine that breaks. What broke it is in the line that ferryman's client end logs
for that connection; the line of a server end on the same machine may know more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from ferryman.config.render import printable
from ferryman.migrate import rsync

Outlook = Literal["again", "refused", "failed"]
"""again: another attempt may do better; refused: nobody will let us in; failed: here is something to be done first."""

_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded|File too large")
_DENIED: Final = re.compile(r"@ERROR: (.*)")
_STRANGE: Final = re.compile(r"server sent \"(.*)\" rather than greeting")
_PROXY: Final = re.compile(r"\bproxy \S+ answered (\d{3})\b")
_WORDS: Final = re.compile(r"^rsync(?: error)?: |\[[A-Za-z]+\] ?|\(code \d+\) at .*$|\[\w+=[\d.]+\w*\]")
_MESSAGE: Final = re.compile(r"^\S+ \S+ \w+: ")
"""Time and level of a message of ferryman's."""
_SERVER: Final = re.compile(r"^server( \S+)?: ")
_AGAIN: Final = frozenset({502, 503, 504, 429, 408, 500})


@dataclass(frozen=True, slots=True)
class Cause:
    """`text`: one line; `files`: what rsync said of single files, at most a few lines."""

    text: str
    outlook: Outlook
    files: tuple[str, ...] = ()


def of(
    code: int, said: Sequence[str], lines: Sequence[Mapping[str, Any]], hop: str = "server", engine: str = ""
) -> Cause:
    """`code`: of rsync, negative: the signal that ended it; `said`: its complaints; `lines`: of the connection's log.

    `hop`: whom ferryman connects to, in words; `engine`: why ferryman's own end is gone, if it is.
    """
    cause = _of(code, said, lines, hop, engine)
    return replace(cause, text=printable(" ".join(cause.text.split())), files=tuple(map(printable, cause.files)))


def _of(code: int, said: Sequence[str], lines: Sequence[Mapping[str, Any]], hop: str, engine: str) -> Cause:
    text = "\n".join(said)
    plain = tuple(_plain(line) for line in said if not line.startswith("rsync error:"))[:5]
    if full := _FULL.search(text):
        return Cause(f"the destination is full: {full[0]}", "failed", plain)
    if (denied := _DENIED.search(text)) is not None:
        return Cause(f"the rsync daemon refused: {denied[1].strip()}", _outlook_of(denied[1]), plain)
    if engine:
        return Cause(f"ferryman's own process died: {_MESSAGE.sub('', engine)}", "again")
    if code in rsync.NETWORK or code < 0:
        return _network(code, text, lines, plain, hop)
    meaning = rsync.CODES.get(code, "unknown")
    if code in (rsync.PARTIAL, rsync.VANISHED):
        return Cause(meaning, "again", plain)
    return Cause(f"{meaning}{': ' + plain[0] if plain else ''} (rsync {code})", "failed", plain)


def _network(code: int, text: str, lines: Sequence[Mapping[str, Any]], plain: tuple[str, ...], hop: str) -> Cause:
    if (strange := _STRANGE.search(text)) is not None:
        return Cause(f"what answered is no rsync daemon: it said {strange[1]!r}", "failed", plain)
    if code < 0:
        return Cause(f"rsync was ended by signal {-code}", "again")
    if code == 30:
        return Cause(f"nothing came for too long{_carried(lines)} (rsync 30)", "again")
    line = _telling(lines)
    if line is not None and line.get("reason"):
        reason = _SERVER.sub(lambda _: f"{hop}: ", str(line["reason"]))
        text = f"{reason}{_carried(lines)} ({line.get('code', '--')}, rsync {code}){_advice(reason)}"
        return Cause(text, _outlook(line, reason))
    meaning = rsync.CODES[code]
    ended = f" by the {line['ended_by']}" if line is not None and line.get("ended_by") else ""
    return Cause(f"{meaning}{ended}{_carried(lines)} (rsync {code})", "again", plain)


def _telling(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The line that knows most: one that has a reason, the last of them."""
    with_reason = [line for line in lines if line.get("reason")]
    return with_reason[-1] if with_reason else lines[-1] if lines else None


def _carried(lines: Sequence[Mapping[str, Any]]) -> str:
    """How far it got."""
    count = carried(lines)
    return f", after {count} bytes" if count else ""


def carried(lines: Sequence[Mapping[str, Any]]) -> int:
    """Bytes of an attempt that went through."""
    return max((int(line.get("bytes", {}).get("in", 0)) for line in lines), default=0)


def _outlook(line: Mapping[str, Any], reason: str) -> Outlook:
    """A wrong certificate stays wrong; a machine that is down comes up again."""
    if (answer := _PROXY.search(reason)) is not None:
        return "again" if int(answer[1]) in _AGAIN else "refused"
    if "wrong user or password" in reason:
        return "refused"
    if "certificate" in reason or "TLS alert" in reason or "no version of TLS" in reason:
        return "refused"
    return "again"


def _advice(reason: str) -> str:
    """What to do about it, if that is plain."""
    if (answer := _PROXY.search(reason)) is None:
        by_the_proxy = "its certificate: " in reason and re.search(r"\bproxy \S+: its certificate", reason)
        return "; --via-ca names the file that verifies the proxy" if by_the_proxy else ""
    if answer[1] == "407":
        return "; give its user and password: --via-user and --via-password-file"
    return "; `ferryman doctor` finds out what the proxy allows" if answer[1] == "403" else ""


def _outlook_of(denied: str) -> Outlook:
    """What a daemon says after @ERROR."""
    if "max connections" in denied:
        return "again"
    return "refused" if "auth" in denied or "denied" in denied else "failed"


def _plain(line: str) -> str:
    return _WORDS.sub("", line).strip()
