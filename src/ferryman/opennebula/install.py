"""Ferryman in the place of OpenNebula's executable, with its logs rotated and its bridges healed; and all of it undone.

Called by cli.tproxy_host, as root. What is put there calls the ferryman that put it there, by absolute paths, so that
it also works with the few variables that sudo leaves. The original stays beside it as `tproxy.original`. Each step says
what it does, and with `dry` does only that. Starts and stops no daemon of ferryman's.

Source: OpenNebula's manual, "Transparent Proxies"; logrotate(8); systemd.timer(5), systemd-run(1).
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ferryman.errors import StartError
from ferryman.opennebula import names

ROTATION: Final = "/etc/logrotate.d/one_tproxy"
UNITS: Final = "/etc/systemd/system"
SERVICE: Final = "one-tproxy.service"
TIMER: Final = "one-tproxy.timer"
VERBS: Final = (
    "start", "stop", "restart", "reload", "status",
    "check", "up", "down", "apply", "heal", "doctor", "install", "uninstall",
)  # fmt: skip
"""The original's, and ours."""
_RUNNING: Final = "/run/systemd/system"
"""Is there while systemd runs: sd_booted(3)."""
_KEPT: Final = ".original"
_OURS: Final = "# OpenNebula's transparent proxies, by ferryman"
"""By this line what is ours is known again."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PATIENCE: Final = 60.0
"""Seconds for a program."""

_SCRIPT: Final = """\
#!/bin/sh
{ours}: `ferryman tproxy uninstall` puts the original back.
[ $# -gt 0 ] || exit 0
if ! [ -x {program} ] && [ -x "$0{kept}" ]; then
    exec "$0{kept}" "$@" # a host that has no ferryman
fi
case "$1" in
-* | {verbs}) ;;
*) # the original does nothing, and that is no failure
    echo "$0: there is no $1; there are {verbs}" >&2
    exit 0
    ;;
esac
PATH="${{PATH:+$PATH:}}{path}"
export PATH
exec {command} tproxy "$@"
"""
# the new file has the owner and the mode of the old one; the daemons look for it every few seconds
_ROTATE: Final = """\
{ours}
/var/log/{outer}.log /var/log/{outer}_*.log {{
    su root root
    weekly
    maxsize 100M
    rotate 5
    create
    compress
    delaycompress
    missingok
    notifempty
}}
"""
# The daemons it starts are to outlive it: they get a scope of their own.
_HEAL: Final = """\
{ours}
[Unit]
Description=OpenNebula's transparent proxies: make again what was lost
After=network.target nftables.service openvswitch-switch.service

[Service]
Type=oneshot
ExecStart=systemd-run --scope --quiet --collect {command} tproxy heal
SyslogIdentifier=one-tproxy
SyslogLevel=notice
LogLevelMax=notice
"""
_EVERY: Final = """\
{ours}
[Unit]
Description=OpenNebula's transparent proxies, looked after every minute

[Timer]
OnBootSec=5s
OnUnitInactiveSec=1min
AccuracySec=5s

[Install]
WantedBy=timers.target
"""


def executable(path: str = names.EXECUTABLE, dry: bool = False) -> Iterator[str]:
    """Put ferryman in the place of the executable at `path`, and keep what was there. Raises StartError."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        hint = "is OpenNebula installed here? --path says where its executable is"
        raise StartError(f"there is no folder {folder}; {hint}")
    command = _command()
    text = _SCRIPT.format(
        ours=_OURS, program=command[0], kept=_KEPT, path=_PATH, verbs=" | ".join(VERBS), command=" ".join(command)
    )
    try:
        present = _read(path)
        if present == text.encode():
            yield f"{path} is ferryman already"
            return
        owner = os.stat(path) if present is not None else None
        if present is None:
            yield f"there was no original at {path}"
        elif not _is_ours(present):
            yield f"the original is kept as {path}{_KEPT}"
            if not dry:
                _keep(path)
        yield f"{path} is ferryman now"
        if not dry:
            _replace(path, text, owner, 0o755)
    except OSError as error:
        raise _failure(error) from None


def restore(path: str = names.EXECUTABLE, dry: bool = False) -> Iterator[str]:
    """Put the original back. Raises StartError."""
    try:
        present = _read(path)
        if present is None or not _is_ours(present):
            yield f"{path} is {'not there' if present is None else 'not ferryman'}: left as it is"
        elif os.path.lexists(path + _KEPT):
            yield f"{path} is the original again"
            if not dry:
                os.replace(path + _KEPT, path)
        else:
            yield f"{path} is removed; there was no original"
            if not dry:
                os.unlink(path)
    except OSError as error:
        raise _failure(error) from None


def surroundings(dry: bool = False) -> Iterator[str]:
    """Have the logs rotated, and what is lost made again, at boot and every minute. Raises StartError."""
    wanted = {}
    if os.path.isdir(os.path.dirname(ROTATION)):
        wanted[ROTATION] = _ROTATE.format(ours=_OURS, outer=names.OUTER)
    else:
        yield "logrotate is not installed: the logs grow without end"
    if os.path.isdir(UNITS) or os.path.isdir(_RUNNING):
        command = " ".join(_command()).replace("%", "%%")
        wanted[f"{UNITS}/{SERVICE}"] = _HEAL.format(ours=_OURS, command=command)
        wanted[f"{UNITS}/{TIMER}"] = _EVERY.format(ours=_OURS)
    else:
        yield "there is no systemd here: let something else run `ferryman tproxy heal`, at boot and every minute"
    try:
        for path, text in wanted.items():
            if _read(path) == text.encode():
                yield f"{path} is there already"
                continue
            yield f"{path} is written"
            if not dry:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                _replace(path, text, None, 0o644)
    except OSError as error:
        raise _failure(error) from None
    if not dry and ROTATION in wanted and shutil.which("logrotate"):
        _run("logrotate", "--debug", ROTATION)
    if os.path.isdir(_RUNNING):
        yield from _systemctl(dry, ("daemon-reload",), ("enable", "--now", TIMER))


def clear(dry: bool = False) -> Iterator[str]:
    """Undo `surroundings`. Raises StartError."""
    if os.path.isdir(_RUNNING) and os.path.exists(f"{UNITS}/{TIMER}"):
        yield from _systemctl(dry, ("disable", "--now", TIMER))
    try:
        for path in (ROTATION, f"{UNITS}/{SERVICE}", f"{UNITS}/{TIMER}"):
            present = _read(path)
            if present is not None and _is_ours(present):
                yield f"{path} is removed"
                if not dry:
                    os.unlink(path)
    except OSError as error:
        raise _failure(error) from None
    if os.path.isdir(_RUNNING):
        yield from _systemctl(dry, ("daemon-reload",))


def is_in_place(path: str = names.EXECUTABLE) -> bool | None:
    """Is the executable ferryman? None: there is none, or it cannot be read."""
    try:
        present = _read(path)
    except OSError:
        return None
    return None if present is None else _is_ours(present)


def is_watched() -> bool | None:
    """Is what is lost made again? None: there is no systemd that would do it."""
    return os.path.exists(f"{UNITS}/{TIMER}") if os.path.isdir(_RUNNING) else None


def _command() -> list[str]:
    """What runs this ferryman, quoted; -P: whatever folder the caller is in. Raises StartError where it does not."""
    command = [sys.executable, "-P", "-m", "ferryman"]
    tried = subprocess.run(
        [*command, "version"], env={}, cwd="/", capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if tried.returncode:
        last = tried.stderr.strip().rpartition("\n")[2]
        raise StartError(f"{shlex.join(command)} does not run by itself: {last}; install ferryman for root")
    return [shlex.quote(word) for word in command]


def _is_ours(content: bytes) -> bool:
    return _OURS.encode() in content[:200]


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _keep(path: str) -> None:
    """The same file under its other name too, so that there is always one."""
    with suppress(FileNotFoundError):
        os.unlink(f"{path}{_KEPT}.new")
    os.link(path, f"{path}{_KEPT}.new", follow_symlinks=False)
    os.replace(f"{path}{_KEPT}.new", path + _KEPT)


def _replace(path: str, text: str, like: os.stat_result | None, mode: int) -> None:
    """Write a file at once or not at all; with owner and mode of another one, if there is one."""
    new = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(new)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
        if like is not None:
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        os.fchmod(file.fileno(), mode if like is None else stat.S_IMODE(like.st_mode) | 0o500)
    os.replace(new, path)


def _systemctl(dry: bool, *commands: tuple[str, ...]) -> Iterator[str]:
    for command in commands:
        yield f"systemctl {' '.join(command)}"
        if not dry:
            _run("systemctl", *command)


def _run(*command: str) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{' '.join(command)}: {error}") from None
    if ended.returncode:
        raise StartError(f"{' '.join(command)}: {ended.stderr.strip() or f'exit code {ended.returncode}'}")


def _failure(error: OSError) -> StartError:
    hint = "; are you root?" if isinstance(error, PermissionError) else ""
    return StartError(f"cannot change {error.filename}: {error.strerror}{hint}")
