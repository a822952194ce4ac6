"""What concerns the process: chroot, pid, setuid, foreground, and where the log goes; into the native `global`.

Called by native.py, with the options before the first service; `log` also with a service's own.
"""

from __future__ import annotations

import os
from typing import Final

from ferryman.config.dialects.stunnel.reader import Options
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word

LEVELS: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_FACILITIES: Final = (
    *("auth", "cron", "daemon", "kern", "lpr", "mail", "news", "syslog", "user", "uucp", "authpriv", "ftp", "ntp"),
    *(f"local{number}" for number in range(8)),
)
_NATIVE: Final = {"authpriv": "auth2"}
_STREAMS: Final = {"/dev/stdout": "stdout", "/dev/stderr": "stderr"}
_CONNECTIONS: Final = LEVELS.index("notice")  # stunnel tells of connections from this level on
_USUAL: Final = "notice"


def settings(options: Options) -> dict[str, object]:
    """Keys of the native `global`. Raises Mistake."""
    tree: dict[str, object] = {}
    for name, key in (("setuid", "user"), ("setgid", "group"), ("chroot", "chroot")):
        if (word := options.last(name)) is not None and word.text:
            tree[key] = At(word.text, word.mark)
    if (pid := options.last("pid")) is not None and pid.text:
        tree["pidfile"] = At(_within(options, pid), pid.mark)
    foreground = options.last("foreground")
    if foreground is None or foreground.text.lower() == "no":
        if any(options.last(name) is not None for name in ("foreground", "pid", "chroot", "setuid")):
            tree["daemon"] = True
        for name in ("output", "pid"):
            if (word := options.last(name)) is not None and word.text and not word.text.startswith("/"):
                message = f"{word.text} has to be a whole path where stunnel goes to the background"
                raise Mistake(word, message, "write the path from /, or foreground = yes")
    return {**tree, "log": log(options, options)}


def log(process: Options, service: Options) -> list[object]:
    """Native targets of the log: as before the first service, with the service's own level. Raises Mistake."""
    facility = (_debug(word)[0] if (word := process.last("debug")) is not None else "") or "daemon"
    common: dict[str, object] = {"tag": "stunnel"}
    if (tag := process.last("service")) is not None and tag.text:
        common["tag"] = At(tag.text, tag.mark)
    if (level := limit(service)) is not None:
        common["max_level"] = level
    targets: list[object] = []
    output, foreground = process.last("output"), process.last("foreground")
    if output is not None and output.text:
        name = _STREAMS.get(output.text) or f"file:{os.path.abspath(output.text)}"
        targets.append(At({"target": name, **common}, output.mark))
    if foreground is not None and foreground.text.lower() == "yes" and not _has(targets, "stderr"):
        targets.append(At({"target": "stderr", **common}, foreground.mark))
    if process.truth("syslog", True):
        targets.append({"target": "unix:/dev/log", "format": "local", "facility": facility, **common})
    return targets


def limit(options: Options) -> str | None:
    """The least urgent level that is logged; None: everything, and so connections. Raises Mistake."""
    word = options.last("debug")
    level = _debug(word)[1] if word is not None else _USUAL
    return level if LEVELS.index(level) < _CONNECTIONS else None


def _has(targets: list[object], name: str) -> bool:
    return any(
        isinstance(each, At) and isinstance(each.value, dict) and each.value["target"] == name for each in targets
    )


def _within(options: Options, pid: Word) -> str:
    root = options.last("chroot")
    return os.path.join(root.text, pid.text.lstrip("/")) if root is not None and root.text else pid.text


def _debug(word: Word) -> tuple[str, str]:
    """Facility ("" where none is said) and level."""
    facility, dot, level = word.text.lower().rpartition(".")
    if dot and facility not in _FACILITIES:
        raise Mistake(word, f"there is no facility {facility!r}", nearest(facility, _FACILITIES))
    if len(level) == 1 and level in "01234567":
        level = LEVELS[int(level)]
    if level not in LEVELS:
        hint = nearest(level, LEVELS) or f"there are 0 to 7, and {', '.join(LEVELS)}"
        raise Mistake(word, f"there is no level {level!r}", hint)
    return _NATIVE.get(facility, facility), level
