"""Names to numbers, becoming somebody, handing a socket over."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from plans import make_plan, server

from ferryman.controlplane import identity
from ferryman.controlplane.identity import Identity
from ferryman.dataplane import privileges
from ferryman.errors import StartError
from ferryman.plan import Address, RuntimeSocket, Settings, Source

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_names_and_numbers() -> None:
    me = pwd.getpwuid(os.getuid())
    group = grp.getgrgid(os.getgid()).gr_name
    assert identity.resolve(Settings()) == Identity(None, None)
    assert identity.resolve(Settings(user=me.pw_name)) == Identity(me.pw_uid, me.pw_gid)
    assert identity.resolve(Settings(user=str(me.pw_uid))) == Identity(me.pw_uid, me.pw_gid)
    assert identity.resolve(Settings(user="54321", group="54322")) == Identity(54321, 54322), "need not exist"
    assert identity.resolve(Settings(group=group)) == Identity(None, os.getgid())


@pytest.mark.parametrize("settings", [Settings(user="nobody-of-that-name"), Settings(group="no-group-of-that-name")])
def test_who_does_not_exist_is_named_with_a_way_out(settings: Settings) -> None:
    with pytest.raises(StartError, match=r"does not exist here; .* --set global\."):
        identity.resolve(settings)


@root
def test_root_becomes_the_user_and_takes_files_along(tmp_path: Path) -> None:
    (tmp_path / "control").touch()
    code = "\n".join(
        [
            "import os",
            "from ferryman.controlplane.identity import Identity",
            f"Identity(12345, 12346).assume({str(tmp_path / 'control')!r})",
            "print(os.getresuid(), os.getresgid(), os.getgroups())",
            "Identity(54321, 54321).assume()",
            "print(os.getuid())",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{(12345,) * 3} {(12346,) * 3} [12346]", "12345"]
    owner = os.stat(tmp_path / "control")
    assert (owner.st_uid, owner.st_gid) == (12345, 12346)


def test_a_plan_that_needs_what_workers_gave_up_asks_for_a_new_start() -> None:
    plain = make_plan([], {"app": [server("s1")]})
    foreign = make_plan([], {"app": [replace(server("s1"), source=Source(client="address"))]})
    identity.demand_kept(foreign, (privileges.NET_RAW,))
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
            identity.demand_kept(plain, ())
            identity.demand_kept(foreign, ())
        except StartError as error:
            os._exit(0 if "start ferryman anew" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@root
def test_what_cannot_be_taken_along_is_a_reason_not_to_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot become user 12345"):
        Identity(12345, 12345).assume(str(tmp_path / "nothing"))


def test_a_runtime_socket_gets_its_owner_and_mode(tmp_path: Path) -> None:
    path = str(tmp_path / "stats")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        identity.hand_over(RuntimeSocket(Address("unix", path), 0o660, str(os.getuid()), str(os.getgid())))
    status = os.stat(path)
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    identity.hand_over(RuntimeSocket(Address("inet", "127.0.0.1", 1), 0o600, "x"))


@pytest.mark.parametrize(
    "fields", [{"user": "nobody-of-that-name"}, {"group": "no-group-of-that-name"}, {"mode": 0o600}]
)
def test_a_runtime_socket_that_cannot_be_handed_over(tmp_path: Path, fields: dict[str, object]) -> None:
    spec = RuntimeSocket(Address("unix", str(tmp_path / "gone")), **fields)  # type: ignore[arg-type]
    with pytest.raises(StartError):
        identity.hand_over(spec)
