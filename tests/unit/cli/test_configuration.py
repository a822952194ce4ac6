"""Where a configuration comes from, and how findings about it are shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ferryman.cli.configuration import Input, count, show
from ferryman.config.source import Diagnostic

from .conftest import Ferryman, Write


class _Stdin:
    def __init__(self, text: str) -> None:
        self.buffer = io.BytesIO(text.encode())


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", _Stdin("listeners: {web: {bind: '*:80', servers: 'a:1'}}"))
    source = Input(("-",), None, ())
    assert source.load().plan is not None
    assert source.load().plan is not None


def test_what_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    loaded = Input((str(tmp_path / "none"),), None, ()).load()
    assert loaded.plan is None
    assert loaded.diagnostics.errors == 1


def test_later_overrides_win(write: Write) -> None:
    path = write("listeners: {web: {bind: '*:80', servers: 'a:1'}}")
    plan = Input((path,), None, (("global.workers", "2"),)).with_overrides(("global.workers", "3")).load().plan
    assert plan is not None
    assert plan.settings.workers == 3


def test_count() -> None:
    error, warning = Diagnostic("error", None, ""), Diagnostic("warning", None, "")
    assert count([]) == "0 errors, 0 warnings"
    assert count([error, warning, warning]) == "1 error, 2 warnings"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "listeners:\n  p: {bind: '*:80', pages: {users: {admin: 'hunter2', b: hunter2}, refresh: x}}\n"),
        ("a.yaml", "listeners:\n  p:\n    bind: '*:80'\n    pages: {users: {admin: hunter2}, x: 1}\n"),
        ("a.yaml", "listeners: {p: {bind: '*:80', pages: {users: {admin: hunter2} x\n"),
        ("a.yaml", "listeners:\n  p:\n    pages:\n      users:\n        admin: hunter2: 3\n"),
        ("a.cfg", "frontend p\n  mode http\n  bind *:80\n  stats enable\n  stats auth admin:hunter2 more\n"),
        ("a.cfg", "userlist u\n  user admin insecure-password hunter2\n"),
        ("a.conf", "http_port 1\ncache_peer p parent 1 0 login=u:hunter2 x\n"),
        ("a.conf", "http_port 1\nhttp_access allow all\ncache_peer p parent 1 0 login=u:hunter2\n"),
    ],
)
def test_no_line_shows_a_password(name: str, text: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = Input((write(text, name),), None, ()).load()
    assert loaded.diagnostics.found
    show(loaded, err=False)
    printed = capsys.readouterr().out
    assert "    " in printed, "no line was shown"
    assert "hunter2" not in printed


def test_no_value_is_empty_text(ferryman: Ferryman, write: Write) -> None:
    path = write("global: {user: no-such-user}\nlisteners: {web: {bind: '*:80', servers: 'a:1'}}")
    assert ferryman("check", "--strict", path).exit_code == 1
    assert ferryman("check", "--strict", path, "--set", "global.user=").exit_code == 0
