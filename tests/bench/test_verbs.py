"""What is not a proxy's work is measured as well: each runs once, with little to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__, verbs, volumes


@pytest.mark.parametrize("name", verbs.VERBS)
def test_a_command_is_timed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.run(name, 1) == 0
    said = capsys.readouterr().out
    assert said.lstrip().startswith(f"{name}: ")
    assert "target 2: " in said


def test_volumes_are_moved_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(volumes, "RESULTS", tmp_path / "volumes.json")
    assert volumes.main(["--rounds", "1", "--megabytes", "1", "--files", "20"]) == 0
    assert "ferryman/stunnel" in capsys.readouterr().out
    assert '"20 small files"' in (tmp_path / "volumes.json").read_text()


def test_they_can_be_chosen() -> None:
    assert __main__.options(["--only", "volumes,doctor,policy"]).only == ["volumes", "doctor", "policy"]
