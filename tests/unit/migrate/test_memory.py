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
    first, second = (memory.begin(place, "migrate", {"about": f"/{name} to /x"}) for name in "ab")
    for one in (first, second):
        one.close()
    with pytest.raises(
        MigrationError, match=rf"{first.name}, begun 20.*, /a to /x; {second.name}, begun 20.*, /b to /x"
    ):
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


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
@pytest.mark.parametrize("whose", ["folder", "file", "writable", "link"])
def test_what_another_user_wrote_is_not_followed(tmp_path: Path, whose: str) -> None:
    made = memory.begin(str(tmp_path / "place"), "migrate", {})
    made.close()
    state = Path(made.folder, "state.json")
    match whose:
        case "folder":
            os.chown(made.folder, 65534, 65534)
        case "file":
            os.chown(state, 65534, 65534)
        case "writable":
            os.chmod(made.folder, 0o777)
        case _:
            os.rename(made.folder, tmp_path / "elsewhere")
            os.symlink(tmp_path / "elsewhere", made.folder)
    with pytest.raises(MigrationError, match="another user's"):
        memory.find(str(tmp_path / "place"), "migrate", made.name)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_another_users_runtime_folder_is_not_worked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = memory.begin(str(tmp_path / "place"), "migrate", {})
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(mine))
    assert made.make_runtime().startswith(str(mine))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(theirs))
    assert not made.make_runtime().startswith(str(theirs))
    made.forget()
