"""What is put in the place of an executable, and what stays of the one that was there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.cli.tproxy import tproxy
from ferryman.errors import StartError
from ferryman.opennebula import install

ORIGINAL = "#!/bin/sh\necho original\n"


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As if ferryman were a program that says how it is called."""
    found = ["/bin/echo", "called:"]
    monkeypatch.setattr(install, "_command", lambda: found)
    return found


def put(folder: Path, text: str, mode: int = 0o750) -> str:
    path = folder / "tproxy"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def called(path: str, *arguments: str) -> str:
    return subprocess.run([path, *arguments], env={}, capture_output=True, text=True, check=True).stdout


def test_there_and_back(tmp_path: Path) -> None:
    path = put(tmp_path, ORIGINAL)
    planned = list(install.executable(path, dry=True))
    assert Path(path).read_text() == ORIGINAL
    assert (
        list(install.executable(path))
        == planned
        == [
            f"the original is kept as {path}.original",
            f"{path} is ferryman now",
        ]
    )
    assert os.stat(path).st_mode & 0o777 == 0o750
    assert called(path, "up", "a b") == "called: tproxy up a b\n"
    assert called(path) == ""
    assert list(install.executable(path)) == [f"{path} is ferryman already"]
    assert sorted(os.listdir(tmp_path)) == ["tproxy", "tproxy.original"]
    assert install.is_in_place(path) is True
    planned = list(install.restore(path, dry=True))
    assert list(install.restore(path)) == planned == [f"{path} is the original again"]
    assert Path(path).read_text() == ORIGINAL
    assert os.listdir(tmp_path) == ["tproxy"]
    assert install.is_in_place(path) is False


def test_where_there_was_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "tproxy")
    assert list(install.executable(path)) == [f"there was no original at {path}", f"{path} is ferryman now"]
    assert os.stat(path).st_mode & 0o777 == 0o755
    assert list(install.restore(path)) == [f"{path} is removed; there was no original"]
    assert os.listdir(tmp_path) == []
    assert list(install.restore(path)) == [f"{path} is not there: left as it is"]
    assert install.is_in_place(path) is None


def test_another_ferryman_takes_over(tmp_path: Path, command: list[str]) -> None:
    """One of another place replaces the first; the original stays the original."""
    path = put(tmp_path, ORIGINAL)
    list(install.executable(path))
    command[1] = "elsewhere:"
    assert list(install.executable(path)) == [f"{path} is ferryman now"]
    assert called(path, "stop") == "elsewhere: tproxy stop\n"
    assert Path(f"{path}.original").read_text() == ORIGINAL


def test_a_newer_original_is_kept(tmp_path: Path) -> None:
    """As an upgrade, or `onehost sync`, puts it there."""
    path = put(tmp_path, ORIGINAL)
    list(install.executable(path))
    os.unlink(path)
    put(tmp_path, "#!/bin/sh\necho newer\n")
    list(install.executable(path))
    assert called(f"{path}.original") == "newer\n"


def test_a_host_without_ferryman_goes_on_with_the_original(tmp_path: Path, command: list[str]) -> None:
    path = put(tmp_path, '#!/bin/sh\necho "original $*"\n')
    command[0] = "/nowhere/python"
    list(install.executable(path))
    assert called(path, "status") == "original status\n"


def test_a_verb_that_does_not_exist_is_no_failure(tmp_path: Path) -> None:
    """As with the original, whose callers may count on it; but it is told."""
    path = put(tmp_path, ORIGINAL)
    list(install.executable(path))
    ended = subprocess.run([path, "sttaus"], capture_output=True, text=True, check=False)
    shown = "start | stop | restart | reload | status | "
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.startswith(f"{path}: there is no sttaus; there are {shown}")
    assert called(path, "--help") == "called: tproxy --help\n"
    assert sorted(install.VERBS) == sorted(tproxy.commands)
    for verb in install.VERBS:
        assert called(path, verb, "br0") == f"called: tproxy {verb} br0\n"


def test_what_is_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"there is no folder .*; is OpenNebula installed here"):
        list(install.executable(str(tmp_path / "vnm" / "tproxy")))
    (tmp_path / "tproxy").mkdir()
    with pytest.raises(StartError, match=r"cannot change .*tproxy: Is a directory"):
        list(install.executable(str(tmp_path / "tproxy")))


def test_a_ferryman_that_does_not_run_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that is found by PYTHONPATH only."""
    monkeypatch.undo()
    assert install._command() == [sys.executable, "-P", "-m", "ferryman"]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StartError, match="/bin/false -P -m ferryman does not run by itself"):
        install._command()
