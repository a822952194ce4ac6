"""The control socket that a supervisor opens; the rest of it is tests/e2e's matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.controlplane.supervisor import _unix_listener
from ferryman.errors import StartError


def test_a_control_socket_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with _unix_listener("c.sock"):
        assert (tmp_path / "c.sock").is_socket()
        with pytest.raises(StartError, match=r"in use; another ferryman may be running"), _unix_listener("c.sock"):
            pass


def test_a_control_socket_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError) as caught, _unix_listener(f"{tmp_path}/file/c.sock"):
        pass
    assert "another ferryman" not in str(caught.value)
    assert "--control PATH" in str(caught.value)
