"""The command lines of up, down, apply and heal; the driver behind them is replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ferryman.cli import tproxy_bridges
from ferryman.errors import ConfigError
from ferryman.opennebula import daemons, driver
from ferryman.opennebula.settings import Settings

GOOD = ":tproxy:\n- :service_port: 5030\n  :remote_addr: 10.11.12.13\n  :remote_port: 5030\n"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the driver was asked to do."""
    asked: list[tuple[Any, ...]] = []
    for name in ("up", "down", "apply", "heal"):
        monkeypatch.setattr(driver, name, lambda *given, name=name: asked.append((name, *given)) or [f"{name} says"])
    monkeypatch.setattr(daemons, "follow", lambda file: asked.append(("follow", file)) or ["so it is"])
    monkeypatch.setattr(daemons, "start", lambda: asked.append(("start",)) or [])
    return asked


def test_up(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text(GOOD)
    arguments = [
        "br0",
        "--network",
        "vnet0",
        "--network",
        "3",
        "--uplink",
        "eth1",
        "--vlan",
        "7",
        "--settings",
        str(file),
    ]
    ended = CliRunner().invoke(tproxy_bridges.up, arguments)
    assert (ended.exit_code, ended.stderr) == (0, "up says\nso it is\n")
    (verb, bridge, networks, settings, uplinks, vlan), follow = calls
    assert follow == ("follow", str(file))
    assert (verb, bridge, networks, uplinks, vlan) == ("up", "br0", ("vnet0", "3"), ("eth1",), 7)
    assert [service.port for service in settings.services] == [5030]


def test_without_a_file_there_are_no_services(
    calls: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = str(tmp_path / "none")
    monkeypatch.setattr(tproxy_bridges, "SETTINGS", none)
    assert CliRunner().invoke(tproxy_bridges.apply, []).exit_code == 0
    assert calls == [("apply", Settings()), ("follow", none)]


def test_a_file_that_is_named_must_be_there(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    ended = CliRunner().invoke(tproxy_bridges.apply, ["--settings", str(tmp_path / "none")])
    assert isinstance(ended.exception, ConfigError)
    assert "cannot read" in ended.stderr
    assert calls == []


def test_every_mistake_is_shown_and_nothing_done(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text(GOOD.replace(":remote_port: 5030", ":remote_port: x\n  :networks: vnet0"))
    ended = CliRunner().invoke(tproxy_bridges.up, ["br0", "--settings", str(file)])
    assert isinstance(ended.exception, ConfigError)
    assert ended.stderr.count("error:") == 2
    assert calls == []


def test_down_and_heal(calls: list[tuple[Any, ...]]) -> None:
    assert CliRunner().invoke(tproxy_bridges.down, ["br0"]).exit_code == 0
    assert CliRunner().invoke(tproxy_bridges.heal, []).exit_code == 0
    assert [call[0] for call in calls] == ["down", "follow", "heal", "follow"]


def test_where_nothing_was_lost_nothing_is_read_again(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer heals once a minute; daemons that are missing are started all the same."""
    monkeypatch.setattr(driver, "heal", list)
    assert CliRunner().invoke(tproxy_bridges.heal, []).exit_code == 0
    assert calls == [("start",)]


@pytest.mark.parametrize("arguments", [[], ["br0", "--vlan", "0"], ["br0", "--vlan", "4095"], ["br0", "br1"]])
def test_wrong_command_lines(calls: list[tuple[Any, ...]], arguments: list[str]) -> None:
    assert CliRunner().invoke(tproxy_bridges.up, arguments).exit_code == 2
    assert calls == []


def test_the_driver_is_light() -> None:
    """It runs for every machine that is deployed: what takes long to load stays away."""
    code = (
        "import sys\nfrom ferryman.cli import tproxy_bridges\nfrom ferryman.config.load import read\n"
        "from ferryman.opennebula import driver, settings\n"
        "print(*{'pydantic', 'asyncio', 'starlette', 'cryptography'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "\n"
