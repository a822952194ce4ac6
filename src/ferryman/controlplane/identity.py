"""Which user ferryman becomes, and what it keeps of root's powers.

Used by the supervisor, once, after everything that needs root is open. The supervisor keeps two capabilities: binding
low ports (a reload may add one) and chroot (for workers it starts later); workers keep none.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from ferryman.dataplane import privileges
from ferryman.errors import StartError
from ferryman.plan import RuntimeSocket, Settings


@dataclass(frozen=True, slots=True)
class Identity:
    """Numbers of user and group to become; None: stay."""

    uid: int | None = None
    gid: int | None = None

    def assume(self, *own: str) -> None:
        """Become it, taking the files `own` along. Does nothing unless root. Raises StartError."""
        if os.geteuid() != 0 or (self.uid is None and self.gid is None):
            return
        uid, gid = self.uid or 0, self.gid if self.gid is not None else os.getgid()
        try:
            for path in own:
                os.chown(path, uid, gid)
            if uid:
                privileges.become(uid, gid, (privileges.NET_BIND_SERVICE, privileges.SYS_CHROOT))
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
