"""What it takes to examine a host, and repairs that fail. The rest: tests/e2e/test_tproxy_doctor.py."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ferryman.errors import StartError
from ferryman.opennebula import doctor, driver
from ferryman.opennebula.symptoms import Finding


def test_what_it_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it, nothing else is looked at."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [(each.severity, each.message, each.remedy) for each in doctor.examine()] == [
        ("error", "only root sees what there is", "run it by sudo"),
        ("error", "ip is not installed", "it is in the package iproute2"),
        ("error", "nft is not installed", "it is in the package nftables"),
    ]


def test_repairs_that_fail_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the others go on."""

    def down(bridge: str) -> list[str]:
        raise StartError(f"somebody has {bridge}")

    monkeypatch.setattr(driver, "down", down)
    file = tmp_path / "br9.sock"
    file.touch()
    findings = [
        Finding("warning", "br7", "left", repair="down"),
        Finding("warning", "", "left", repair="remove", subject=str(file)),
        Finding("warning", "", "left", repair="remove", subject=str(file)),
        Finding("error", "", "a remote is down"),
    ]
    assert list(doctor.mend(findings)) == [
        "not repaired: somebody has br7",
        f"{file} is removed",
        f"not repaired: [Errno 2] No such file or directory: '{file}'",
    ]


def test_settings_and_their_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "one.conf"
    file.write_text(":tproxy:\n- :service_port: 0\n  :remote_addr: 10.0.0.1\n  :remote_port: 1\n")
    said, found = doctor._settings(str(file))
    assert said is None
    assert [(each.severity, each.message) for each in found] == [("error", f"{file}:2:18: 0 is no port")]
    file.write_text(":tproxy_process_owner: oneadmin\n")
    said, found = doctor._settings(str(file))
    assert (doctor._owner(said), found) == ("oneadmin", [])
    file.write_bytes(b"\xff")
    assert [each.message.partition(": ")[0] for each in doctor._settings(str(file))[1]] == [f"cannot read {file}"]


def test_remotes_are_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        assert doctor._unreachable(place) == ""
    assert doctor._unreachable(place) == "Connection refused"
