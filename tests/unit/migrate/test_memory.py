"""What is remembered of a migration: whole, private, one owner at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman.migrate import MigrationError, memory


def test_there_and_back(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    made = memory.begin(place, "migrate", {"secret": "x"})
    made.data["more"] = 1
    made.save()
    made.close()
    again = memory.find(place, "migrate", "")
    assert (again.name, again.data) == (made.name, {"secret": "x", "more": 1})
    assert os.stat(again.folder).st_mode & 0o777 == 0o700
    assert os.stat(os.path.join(again.folder, "state.json")).st_mode & 0o777 == 0o600
    assert "secret" not in repr(again)
    runtime = again.make_runtime()
    assert os.stat(runtime).st_mode & 0o777 == 0o700
    assert again.make_runtime() != runtime
    assert not os.path.exists(runtime), "what a killed process left is removed"
    again.forget()
    assert not os.path.exists(again.runtime)
    with pytest.raises(MigrationError, match="no unfinished migration"):
        memory.find(place, "migrate", "")


def test_one_at_a_time(tmp_path: Path) -> None:
    made = memory.begin(str(tmp_path), "serve", {})
    with pytest.raises(MigrationError, match="running already"):
        memory.find(str(tmp_path), "serve", made.name)
    made.close()
    memory.find(str(tmp_path), "serve", made.name).close()


def test_which_is_meant(tmp_path: Path) -> None:
    place = str(tmp_path)
    first, second = memory.begin(place, "migrate", {}), memory.begin(place, "migrate", {})
    for one in (first, second):
        one.close()
    with pytest.raises(MigrationError, match="several"):
        memory.find(place, "migrate", "")
    with pytest.raises(MigrationError, match="the other end"):
        memory.find(place, "serve", first.name)
    for name in ("nothing", "../x"):
        with pytest.raises(MigrationError, match="no unfinished"):
            memory.find(place, "migrate", name)
    memory.find(place, "migrate", second.name).close()


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"version": 1}', '{"version": 9}'])
def test_damage_is_said(tmp_path: Path, text: str) -> None:
    made = memory.begin(str(tmp_path), "migrate", {})
    made.close()
    Path(made.folder, "state.json").write_text(text)
    with pytest.raises(MigrationError, match=r"damaged|another version"):
        memory.find(str(tmp_path), "migrate", made.name)
