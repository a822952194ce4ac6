"""The systemd files are such that systemd takes them without a word, and point to what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.cli.main import main

ROOT = Path(__file__).parent.parent.parent
PACKAGING = ROOT / "packaging"
INSTALLED = "/opt/ferryman/bin/ferryman"


def settings(name: str) -> dict[str, dict[str, list[str]]]:
    """A unit file as section -> key -> values; keys may repeat, which configparser does not allow."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in (PACKAGING / name).read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(found[1], {})
        elif line and line[0] not in "#;":
            key, equals, value = line.partition("=")
            assert equals, f"{name}: {line}"
            assert re.fullmatch("[A-Z][A-Za-z0-9]*", key), f"{name}: {line}"
            section.setdefault(key, []).append(value)
    return sections


@pytest.mark.parametrize("dropins", [[], ["ferryman-root.conf"]], ids=["as it is", "as root"])
def test_systemd_takes_them(dropins: list[str], tmp_path: Path) -> None:
    here = str(Path(sys.executable).parent / "ferryman")
    units = [tmp_path / "ferryman.service", tmp_path / "ferryman.socket"]
    for unit in units:
        unit.write_text((PACKAGING / unit.name).read_text().replace(INSTALLED, here))
    for dropin in dropins:
        (tmp_path / "ferryman.service.d").mkdir()
        text = (PACKAGING / dropin).read_text()
        (tmp_path / "ferryman.service.d" / dropin).write_text(text.replace(INSTALLED, here))
    for name in (*(unit.name for unit in units), *dropins):
        assert set(settings(name)) <= {"Unit", "Service", "Socket", "Install"}
    if analyze := shutil.which("systemd-analyze"):
        command = [analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, units)]
        verified = subprocess.run(command, capture_output=True, text=True, check=False)
        assert verified.returncode == 0, verified.stderr
        assert "ferryman" not in verified.stderr, verified.stderr  # an unknown key is only a remark


@pytest.mark.parametrize("key", ["ExecStart", "ExecReload"])
def test_commands_are_ferrymans(key: str) -> None:
    (command,) = settings("ferryman.service")["Service"][key]
    program, verb, *_ = command.split()
    assert program == INSTALLED
    assert verb in main.commands


def test_it_can_bind_low_ports_and_nothing_else() -> None:
    service = settings("ferryman.service")["Service"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["User"] == ["ferryman"]


def test_status_finds_the_control_socket_of_the_service() -> None:
    from ferryman.controlplane import control

    service = settings("ferryman.service")["Service"]
    assert service["Environment"] == ["FERRYMAN_CONTROL=/run/ferryman/control.sock"]
    assert service["RuntimeDirectory"] == ["ferryman"]
    assert '"/run/ferryman/control.sock"' in Path(control.__file__).read_text()  # root's default


def test_users_and_folders_fit_the_service() -> None:
    assert re.search(r"^u ferryman ", (PACKAGING / "ferryman.sysusers").read_text(), re.M)
    folders = re.findall(r"^d (\S+) ", (PACKAGING / "ferryman.tmpfiles").read_text(), re.M)
    assert folders == ["/run/ferryman", "/etc/ferryman"]


def test_the_container_copies_what_there_is() -> None:
    text = (PACKAGING / "Containerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M) for name in line.split()]
    assert copied
    ignored = (ROOT / ".containerignore").read_text().splitlines()
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, f".containerignore hides {name}"


def test_the_entry_point_puts_aside_what_a_container_has() -> None:
    text = (PACKAGING / "Containerfile").read_text()
    found = re.search(r"^ENTRYPOINT (\[.*?\])$", text.replace("\\\n", ""), re.M)
    assert found is not None
    words = re.findall(r'"([^"]*)"', found[1])
    assert words[:2] == ["ferryman", "run"]
    assert words[3::2] == ["global.user=", "global.group=", "global.chroot=", "global.pidfile="]
