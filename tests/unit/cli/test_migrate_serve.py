"""The file that `ferryman migrate serve` writes its token to: nobody else can read it, whoever made it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman.cli import migrate_serve
from ferryman.migrate import MigrationError


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    migrate_serve._write(str(file), "first, and longer")
    file.chmod(0o644)
    migrate_serve._write(str(file), "second")
    assert file.read_text() == "second\n"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_another_users_file_is_not_written_to(tmp_path: Path) -> None:
    theirs, link = tmp_path / "theirs", tmp_path / "link"
    theirs.write_text("theirs")
    theirs.chmod(0o666)
    os.chown(theirs, 65534, 65534)
    link.symlink_to(tmp_path / "made by whoever follows")
    with pytest.raises(MigrationError, match="another user"):
        migrate_serve._write(str(theirs), "secret")
    with pytest.raises(MigrationError, match="cannot write"):
        migrate_serve._write(str(link), "secret")
    assert theirs.read_text() == "theirs"
    assert not (tmp_path / "made by whoever follows").exists()
