"""Which user ferryman becomes, what it keeps of root's powers, and the file that says which process it is.

Used by the supervisor, once, after everything that needs root is open. The supervisor keeps two capabilities: binding
low ports (a reload may add one) and chroot (for workers it starts later); workers keep none. Where addresses of other
machines are used, those who use them keep the one capability for that.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferryman.dataplane import privileges
from ferryman.errors import StartError
from ferryman.plan import Plan, RuntimeSocket, Settings


@dataclass(frozen=True, slots=True)
class Identity:
    """Numbers of user and group to become; None: stay."""

    uid: int | None = None
    gid: int | None = None

    def assume(self, *own: str, keep: Sequence[int] = ()) -> None:
        """Become it, taking the files `own` along, and capabilities. Does nothing unless root. Raises StartError."""
        if os.geteuid() != 0 or (self.uid is None and self.gid is None):
            return
        uid, gid = self.uid or 0, self.gid if self.gid is not None else os.getgid()
        try:
            for path in own:
                os.chown(path, uid, gid)
            if uid:
                privileges.become(uid, gid, (privileges.NET_BIND_SERVICE, privileges.SYS_CHROOT, *keep))
            else:
                os.setgroups([gid])
                os.setresgid(gid, gid, gid)
        except OSError as error:
            raise StartError(f"cannot become user {uid}, group {gid}: {error}") from None


def resolve(settings: Settings) -> Identity:
    """Names (or numbers) to numbers. Raises StartError."""
    uid = gid = None
    if settings.user:
        try:
            entry = pwd.getpwuid(int(settings.user)) if settings.user.isdigit() else pwd.getpwnam(settings.user)
            uid, gid = entry.pw_uid, entry.pw_gid
        except KeyError:
            if not settings.user.isdigit():
                raise StartError(
                    f"user {settings.user} does not exist here; create it, or --set global.user=NAME"
                ) from None
            uid = int(settings.user)
    if settings.group:
        gid = _group(settings.group)
    return Identity(uid, gid)


def demand_kept(plan: Plan, kept: Sequence[int]) -> None:
    """Raise StartError where a new plan needs what workers have given up: `kept` is what they have not."""
    if plan.transparent_out and not kept and os.geteuid() != 0:
        message = "connecting from the addresses of clients needs CAP_NET_RAW or CAP_NET_ADMIN, which workers gave up"
        raise StartError(f"{message} when they began; start ferryman anew")


def hand_over(spec: RuntimeSocket) -> None:
    """Owner and permissions of a runtime socket that was just bound. Raises StartError."""
    if spec.address.family != "unix":
        return
    path = spec.address.host
    try:
        if spec.user or spec.group:
            uid = (int(spec.user) if spec.user.isdigit() else pwd.getpwnam(spec.user).pw_uid) if spec.user else -1
            os.chown(path, uid, _group(spec.group) if spec.group else -1)
        if spec.mode is not None:
            os.chmod(path, spec.mode)
    except (OSError, KeyError) as error:
        raise StartError(f"stats socket {path}: {error}") from None


def _group(name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StartError(f"group {name} does not exist here; create it, or --set global.group=NAME") from None


@contextlib.contextmanager
def pidfile(path: str) -> Iterator[None]:
    """Our process number in a file, emptied at the end (its folder may be out of reach by then). Raises StartError."""
    try:
        file = open(path, "w")  # noqa: SIM115 - kept open to be emptied after root was dropped
    except OSError as error:
        raise StartError(f"pidfile {path}: {error.strerror}; --set global.pidfile=PATH names another") from None
    with file:
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)
            file.truncate(0)
