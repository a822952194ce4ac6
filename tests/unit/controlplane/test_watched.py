"""Files that change, come to rest, vanish and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.controlplane.watched import EVERY, Watched


class Clock:
    """Looks, one after the other."""

    def __init__(self, *names: Path) -> None:
        self.watched = Watched()
        self.watched.follow(map(str, names))
        self.now = self.watched._due

    def look(self) -> list[str]:
        self.now += EVERY
        return self.watched.changed(self.now)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.pem"
    file.write_text("one")
    return file


def test_a_change_is_told_once_it_has_come_to_rest(file: Path) -> None:
    clock = Clock(file)
    assert clock.look() == []
    file.write_text("other")
    assert clock.look() == [], "it may still be written"
    file.write_text("another one")
    assert clock.look() == []
    assert clock.look() == [str(file)]
    assert clock.look() == []


def test_a_file_that_is_replaced(file: Path, tmp_path: Path) -> None:
    clock = Clock(file)
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(file)
    assert clock.look() == []
    assert clock.look() == [str(file)]


def test_a_file_that_comes_back_as_it_was_is_no_change(file: Path, tmp_path: Path) -> None:
    clock = Clock(file)
    file.rename(tmp_path / "away")
    assert clock.look() == []
    (tmp_path / "away").rename(file)
    assert clock.look() == []
    assert clock.look() == []


def test_a_folder_of_which_all_files_are_meant(file: Path, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    (tmp_path / "b.pem").write_text("two")
    assert clock.look() == []
    assert clock.look() == [str(tmp_path)]


def test_looks_are_rare(file: Path) -> None:
    clock = Clock(file)
    clock.look()
    file.write_text("other")
    assert [clock.watched.changed(clock.now + 0.1) for _ in range(3)] == [[], [], []]
    clock.look()
    assert clock.look() == [str(file)]
