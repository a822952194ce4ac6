"""ferryman convert: native YAML on standard output, findings on standard error."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config import leaves

from .conftest import Ferryman, Write

HAPROXY = """\
listen web
    mode tcp
    bind 127.0.0.1:8443
    timeout connect 3s
    timeout client 1m
    timeout server 1m
    server one 192.0.2.7:443 check
"""


def test_haproxys_file_becomes_yaml_that_is_fine(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("convert", write(HAPROXY, "haproxy.cfg"), "--to", "ferryman")
    assert result.exit_code == 0, result.stderr
    assert "bind: 127.0.0.1:8443\n" in result.stdout
    assert ferryman("check", "-", input=result.stdout).exit_code == 0


def test_the_output_may_be_saved_anywhere(
    ferryman: Ferryman, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A haproxy.cfg names files relative to where HAProxy is started, native YAML relative to itself."""
    leaf, key = leaves.issue(leaves.ca(tmp_path / "pki"), ["www.example.org"])
    file = leaves.write(tmp_path / "here" / "web.pem", leaf, key)
    text = HAPROXY.replace("8443", "8443 ssl crt web.pem") + "    server two 192.0.2.8:443 ssl ca-file web.pem\n"
    path = write(text, "haproxy.cfg")
    monkeypatch.chdir(tmp_path / "here")
    result = ferryman("convert", path)
    assert result.exit_code == 0, result.stderr
    assert (f"certificates: {file}\n" in result.stdout, f"ca: {file}\n" in result.stdout) == (True, True)
    native = tmp_path / "here" / "f.yaml"
    native.write_text("listeners: {w: {bind: '127.0.0.1:1', tls: {certificates: web.pem}, servers: '127.0.0.1:2'}}\n")
    monkeypatch.chdir("/")
    assert f"certificates: {file}\n" in ferryman("convert", str(native)).stdout


def test_files_of_several_folders_are_converted_one_by_one(ferryman: Ferryman, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.yaml").write_text(
            f"listeners: {{{name}: {{bind: 'unix@/run/{name}.sock', servers: '192.0.2.7:1'}}}}"
        )
    result = ferryman("convert", *(str(tmp_path / name / "f.yaml") for name in ("one", "two")))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "convert the files of one folder at a time" in result.stderr


def test_mistakes_go_to_standard_error(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("convert", write("listeners: {web: {bnd: 1}}\n"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "unknown key listeners.web.bnd" in result.stderr
