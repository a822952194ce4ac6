"""What is moved where."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.migrate import MigrationError, volumes
from ferryman.migrate.volumes import Volume


def test_one_source_goes_to_the_destination_itself(tmp_path: Path) -> None:
    [volume] = volumes.parse([str(tmp_path)])
    assert volume == Volume("volume", str(tmp_path), single=True)
    assert volumes.destination(volume, "/dest") == "/dest"


def test_several_and_named_ones_go_below_it() -> None:
    first, second = volumes.parse(["data=/srv/x", "/srv/logs/"])
    assert [first.name, second.name] == ["data", "logs"]
    assert volumes.destination(first, "/dest") == "/dest/data"
    [named] = volumes.parse(["data=/srv/x"])
    assert volumes.destination(named, "/dest") == "/dest/data"


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    folder = str(tmp_path / "a=b")
    assert volumes.parse([folder])[0].path == folder


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["/srv/a", "/mnt/a"], "two volumes are called a"),
        (["/srv/.hidden", "/mnt/a"], "a name of its own"),
        (["-x=/srv", "/mnt/a b"], "a name of its own"),
        (["a" * 65 + "=/srv"], "no name of a volume"),
    ],
)
def test_what_has_no_clear_name(texts: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        volumes.parse(texts)


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, words in (("missing", "there is no"), ("file", "is no folder")):
        with pytest.raises(MigrationError, match=words):
            volumes.check_source(Volume("v", str(tmp_path / name)))


def test_neither_end_is_within_the_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "ab").mkdir()
    for source, target in (("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "link"), ("link", "a/new")):
        with pytest.raises(MigrationError, match=r"at once|within"):
            volumes.check_apart(str(tmp_path / source), str(tmp_path / target))
    volumes.check_apart(str(tmp_path / "a"), str(tmp_path / "ab"))


def test_paths_that_a_daemon_cannot_have(tmp_path: Path) -> None:
    for name in ("a\nb", "a%b", "a\tb"):
        with pytest.raises(MigrationError, match="control characters or %"):
            volumes.prepare_target(str(tmp_path / name))
    volumes.prepare_target(str(tmp_path / "x" / "y z"))
    assert (tmp_path / "x" / "y z").is_dir()
    assert "\n" not in volumes.shown("a\nb")


def test_what_a_dry_run_has_made_is_removed(tmp_path: Path) -> None:
    made = volumes.prepare_target(str(tmp_path / "a" / "one")) + volumes.prepare_target(str(tmp_path / "a" / "two"))
    assert made == [str(tmp_path / "a" / "one"), str(tmp_path / "a"), str(tmp_path / "a" / "two")]
    assert volumes.prepare_target(str(tmp_path / "a")) == []
    (tmp_path / "a" / "two" / "file").touch()
    volumes.remove_empty(made)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["two"]
    (tmp_path / "a" / "two" / "file").unlink()
    volumes.remove_empty(made)
    assert not (tmp_path / "a").exists()
