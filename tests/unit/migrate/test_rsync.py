"""Command lines of rsync."""

from __future__ import annotations

import pytest

from ferryman.migrate import rsync
from ferryman.migrate.rsync import Flags


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("rsync  version 3.2.7  protocol version 31\n", (3, 2, 7)),
        ("rsync  version v3.4.1  protocol version 32\n", (3, 4, 1)),
        ("rsync  version 4.0  protocol version 40\n", (4, 0, 0)),
        ("openrsync: protocol version 29\n", None),
        ("", None),
    ],
)
def test_versions(text: str, version: tuple[int, int, int] | None) -> None:
    assert rsync.parse_version(text) == version


def test_the_command_ends_with_both_ends_and_nothing_can_be_taken_for_an_option() -> None:
    command = rsync.command("rsync", Flags(), "-x", "volume", ("127.0.0.1", 7))
    assert command[-3] == "--"
    assert command[-2].startswith("/")
    assert command[-2].endswith("/-x/")
    assert command[-1] == "rsync://root@127.0.0.1:7/volume/"
    assert "--delete" not in command
    assert "--timeout=30" in command


def test_what_is_asked_for_is_a_flag() -> None:
    flags = Flags(delete=True, sparse=True, hard_links=False, xattrs=True, acls=True, bwlimit="5m", excludes=("a", "b"))
    command = rsync.command("rsync", flags, "/x", "v", ("h", 1))
    for flag in ("--delete", "--sparse", "--xattrs", "--acls", "--bwlimit=5m", "--exclude=a", "--exclude=b"):
        assert flag in command
    assert "--hard-links" not in command
    assert not [flag for flag in rsync.command("rsync", flags, "/x", "v", ("h", 1), ours=False) if "temp-dir" in flag]


def test_a_verification_changes_nothing_and_has_more_patience() -> None:
    command = rsync.verification("rsync", Flags(), "/x", "v", ("h", 1))
    assert {"--dry-run", "--checksum"} <= set(command)
    assert "--timeout=3600" in command


def test_what_leads_rsync_elsewhere_is_not_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSYNC_PROXY", "proxy:1")
    monkeypatch.setenv("RSYNC_PASSWORD", "old")
    assert "RSYNC_PROXY" not in rsync.environment()
    assert "RSYNC_PASSWORD" not in rsync.environment()
    assert rsync.environment("new")["RSYNC_PASSWORD"] == "new"
