"""The files beside a sni.yaml."""

from __future__ import annotations

from pathlib import Path

from ferryman.config.dialects.ats import files
from ferryman.config.source import Diagnostics, Source


def test_the_first_that_is_there(tmp_path: Path) -> None:
    diagnostics = Diagnostics()
    source = Source(str(tmp_path / "sni.yaml"), "")
    assert files.beside(source, files.RECORDS, diagnostics) is None
    (tmp_path / "records.config").write_text("old")
    found = files.beside(source, files.RECORDS, diagnostics)
    assert found == Source(str(tmp_path / "records.config"), "old")
    (tmp_path / "records.yaml").write_text("new")
    found = files.beside(source, files.RECORDS, diagnostics)
    assert found is not None
    assert found.text == "new"
    assert diagnostics.found == []


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    diagnostics = Diagnostics()
    source = Source(str(tmp_path / "sni.yaml"), "")
    (tmp_path / "records.config").write_bytes(b"\xff")
    assert files.beside(source, files.RECORDS, diagnostics) is None
    assert "it is not UTF-8" in str(diagnostics.found[0])
    (tmp_path / "ip_allow.yaml").mkdir()
    assert files.beside(source, ["ip_allow.yaml"], diagnostics) is None
    assert len(diagnostics.found) == 1
