"""Giving up root, in processes of their own: what is left afterwards, as the kernel says."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.dataplane import privileges

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")

REPORT = """
def report(**more):
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    print(json.dumps({
        "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
        **{key: int(status[key], 16) for key in ("CapPrm", "CapEff", "CapInh", "CapAmb")}, **more,
    }))
"""


def after(code: str) -> dict[str, object]:
    """Run it in a process of its own and let that tell about itself."""
    text = f"import json, os\nfrom ferryman.dataplane import privileges\n{REPORT}\n{code}\n"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


@root
def test_a_worker_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "inside").touch()
    tmp_path.chmod(0o755)
    code = f"os.mkdir({str(tmp_path / 'proc')!r})\nstatus = open('/proc/self/status')\n"
    code += f"privileges.confine({str(tmp_path)!r}, 12345, 12346)\n"
    code += "inside = os.listdir('/')\nopen = lambda path: status\nreport(inside=sorted(inside))"
    left = after(code)
    assert (left["uid"], left["gid"], left["groups"]) == ([12345] * 3, [12346] * 3, [12346])
    assert left["CapPrm"] == left["CapEff"] == left["CapInh"] == left["CapAmb"] == 0
    assert left["inside"] == ["inside", "proc"]


@root
def test_the_supervisor_keeps_what_it_was_told_also_for_those_it_starts() -> None:
    code = "privileges.become(12345, 12345, (privileges.NET_BIND_SERVICE, privileges.SYS_CHROOT))\nreport()"
    left = after(code)
    kept = 1 << privileges.NET_BIND_SERVICE | 1 << privileges.SYS_CHROOT
    assert left["CapPrm"] == left["CapEff"] == left["CapInh"] == left["CapAmb"] == kept
    assert left["uid"] == [12345] * 3


@root
def test_a_worker_started_by_it_can_still_enter_the_chroot() -> None:
    code = "privileges.become(12345, 12345, (privileges.NET_BIND_SERVICE, privileges.SYS_CHROOT))\n"
    code += "privileges.confine('/usr', 12345, 12345)\nprint(json.dumps({'left': os.listdir('/')}))"
    assert after(code) == {"left": os.listdir("/usr")}


@root
def test_a_capability_that_root_was_denied_is_no_obstacle() -> None:
    drop = f"import ctypes\nctypes.CDLL(None).prctl(24, {privileges.NET_BIND_SERVICE}, 0, 0, 0)\n"  # PR_CAPBSET_DROP
    drop += "held = privileges._permitted() & ~(1 << privileges.NET_BIND_SERVICE)\n"
    drop += "privileges.set_capabilities([number for number in range(64) if held >> number & 1])\n"
    left = after(
        drop + "privileges.become(12345, 12345, (privileges.NET_BIND_SERVICE, privileges.SYS_CHROOT))\nreport()"
    )
    assert left["CapEff"] == 1 << privileges.SYS_CHROOT


@root
def test_a_worker_of_an_ordinary_user_keeps_nothing_either() -> None:
    code = "privileges.become(12345, 12345, (privileges.NET_BIND_SERVICE,))\n"
    assert after(code + "privileges.confine('', None, None)\nreport()")["CapPrm"] == 0


@root
def test_a_worker_keeps_what_foreign_addresses_need(tmp_path: Path) -> None:
    """Started by root, and started by a supervisor that is somebody else already."""
    keep = "keep = privileges.foreign_addresses()\n"
    for before in ("", "privileges.become(12345, 12345, (privileges.NET_BIND_SERVICE, *keep))\n"):
        left = after(keep + before + "privileges.confine('', 12345, 12345, keep)\nreport(keep=keep)")
        assert left["keep"] == [privileges.NET_RAW], "the lesser one of two"
        assert left["CapPrm"] == left["CapEff"] == 1 << privileges.NET_RAW
        assert left["uid"] == [12345] * 3


@root
def test_either_capability_will_do_for_foreign_addresses() -> None:
    for held, found in (("NET_ADMIN", [12]), ("NET_RAW", [13]), ("SYS_CHROOT", [])):
        code = f"privileges.set_capabilities([privileges.{held}])\nreport(found=privileges.foreign_addresses())"
        assert after(code)["found"] == found


@root
def test_what_cannot_be_had_is_an_error() -> None:
    code = "privileges.become(12345, 12345, ())\n"
    for attempt in ("privileges.confine('/', None, None)", "privileges.set_capabilities([privileges.NET_ADMIN])"):
        text = f"try:\n    {attempt}\nexcept PermissionError as error:\n    print(json.dumps({{'error': str(error)}}))"
        assert "not permitted" in str(after(code + text)["error"])


def test_without_a_user_to_become_nothing_changes_for_the_user() -> None:
    before = after("report()")
    left = after("privileges.confine('', None, None)\nreport()")
    assert (left["uid"], left["gid"], left["groups"]) == (before["uid"], before["gid"], before["groups"])


def test_processes_have_names() -> None:
    answer = after(
        "privileges.name_process('ferryman-w3-and-too-long')\nprint(json.dumps(open('/proc/self/comm').read()))"
    )
    assert answer == "ferryman-w3-and\n"


def test_the_kernel_is_asked_in_its_own_layout() -> None:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        permitted = next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm:"))
    assert privileges._permitted() == permitted
    assert ctypes.sizeof(ctypes.c_uint32 * 6) == 24


@pytest.mark.parametrize("title", ["one_tproxy", "one_tproxy_br0.100"])
def test_a_title_is_the_whole_command_line(title: str) -> None:
    code = f"privileges.title_process({title!r})\nreport(line=open('/proc/self/cmdline').read())"
    assert after(code)["line"] == title + "\0"


def test_a_title_that_has_no_room() -> None:
    code = "try:\n    privileges.title_process('x' * 100_000)\nexcept OSError as error:\n    report(why=str(error))"
    assert "no room for the title xxx" in str(after(code)["why"])
