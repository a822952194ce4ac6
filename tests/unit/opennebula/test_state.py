"""What is remembered, and the lock."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ferryman.errors import StartError
from ferryman.opennebula import state
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.state import Bridge, State

WHOLE = State(
    {
        "br0": Bridge(("vnet0", "3"), ("eth0",), 100, False, (Endpoint(5030, "10.11.12.13", 5030),), "a"),
        "ovs0": Bridge(openvswitch=True),
    },
    {"one.example.org": "10.11.12.13"},
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "bridges.json")
    assert state.read(path) == State()
    state.write(WHOLE, path)
    assert state.read(path) == WHOLE
    state.write(WHOLE.without("br0"), path)
    assert list(state.read(path).bridges) == ["ovs0"]
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["bridges.json"]
    assert os.stat(path).st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "bridges": [], "names": {}}',
        '{"format": 1, "bridges": {"br0": {}}, "names": {}}', '{"format": 1, "bridges": {"br0": 1}, "names": {}}',
    ],
)  # fmt: skip
def test_a_damaged_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bridges.json"
    path.write_text(text)
    with pytest.raises(StartError, match=f"{re.escape(str(path))} cannot be used: it is damaged .*; remove it, then"):
        state.read(str(path))


def test_a_file_of_another_time(tmp_path: Path) -> None:
    path = tmp_path / "bridges.json"
    path.write_text('{"format": 2}')
    with pytest.raises(StartError, match="it is of format 2, and this ferryman knows 1"):
        state.read(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(StartError, match="cannot be used"):
        state.read(str(path))


def test_what_cannot_be_written_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bridges.json"
    state.write(WHOLE, str(path))
    (tmp_path / "bridges.json.new").mkdir()
    with pytest.raises(StartError, match=r"cannot write .*bridges\.json\.new: Is a directory"):
        state.write(State(), str(path))
    assert state.read(str(path)) == WHOLE


def test_one_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "run" / "lock")
    with state.locked(1, path):
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(tmp_path / "run").st_mode & 0o777 == 0o711
        with pytest.raises(StartError, match=rf"process {os.getpid()} \(.*\) has been changing the proxies for 0 s"):
            state.locked(0, path).__enter__()
    with state.locked(0, path):
        pass


def test_who_may_not_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="are you root"):
        state.locked(0, str(tmp_path / "file" / "lock")).__enter__()


def test_the_boot_is_known() -> None:
    assert re.fullmatch(r"[0-9a-f-]{36}", state.boot())
