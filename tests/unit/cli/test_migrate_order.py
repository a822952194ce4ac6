"""ferryman.cli.migrate_order: what --resume may be given anew, and options that would not do anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from ferryman.cli.migrate_order import renewed
from ferryman.migrate import rsync
from ferryman.migrate.ends import Via
from ferryman.migrate.session import Foreign, Order
from ferryman.migrate.volumes import Volume

from .conftest import Ferryman

SOURCES = (Volume("volume", "/data", single=True),)
BEFORE = Order(SOURCES, rsync.Flags(), "/there", via=Via("http://alice:old@proxy.example:3128", ca="/ca"))
ALL: dict[str, Any] = {
    "via": "", "via_user": "", "via_password_file": None, "via_ca": None, "password_file": None,
    "parallel": 2, "bwlimit": "", "retries": 20, "timeout": 30,
}  # fmt: skip


def again(before: Order, **given: Any) -> Order:
    return renewed(before, {**ALL, **given}, list(given))


def test_a_new_password_for_the_proxy_and_user_of_before(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("new\n")
    after = again(BEFORE, via_password_file=str(tmp_path / "password"))
    assert after.via == Via("http://proxy.example:3128", "alice", "new", "/ca")
    assert again(after, via_ca="/other").via == Via("http://proxy.example:3128", "alice", "new", "/other")
    bob = again(after, via_user="bob", via_password_file=str(tmp_path / "password"))
    assert bob.via == Via("http://proxy.example:3128", "bob", "new", "/ca")


def test_another_proxy_and_none() -> None:
    assert again(BEFORE, via="http://bob:x@other.example:1").via == Via("http://bob:x@other.example:1")
    assert again(BEFORE, via="").via is None


def test_numbers_and_the_daemons_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("new")
    before = Order(SOURCES, rsync.Flags(xattrs=True), foreign=Foreign("h:1", "module", password="old"))
    after = again(before, parallel=4, bwlimit="1m", retries=3, timeout=9, password_file=str(tmp_path / "password"))
    assert (after.parallel, after.limit, after.foreign) == (4, 3, Foreign("h:1", "module", password="new"))
    assert after.flags == rsync.Flags(xattrs=True, bwlimit="1m", timeout=9)
    assert again(before) == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"checksum": True}, "--checksum cannot be given with it; --via"),
        ({"address": "h:1"}, "--to cannot be given"),
        ({"via_user": "bob"}, "belong together"),
        ({"password_file": "x"}, "begun without"),
    ],
)
def test_what_it_does_not_take(given: dict[str, Any], words: str) -> None:
    with pytest.raises(click.UsageError, match=words):
        again(BEFORE, **given)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "root", "{}", "{}/x"], "--user is of --to"),
        (["name={}", "--to", "h:1", "--no-verify", "--module", "m"], "--module is of one SOURCE"),
        (["{}", "--to", "h:1", "--no-verify"], "--to needs --module"),
    ],
)
def test_options_that_would_do_nothing(ferryman: Ferryman, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = ferryman("migrate", *(one.format(tmp_path) for one in arguments))
    assert done.exit_code == 2, done.output
    assert words in done.output
