"""ferryman transparent: what it prints. What it does to a kernel is in tests/e2e/test_transparent.py."""

from __future__ import annotations

from pathlib import Path

from .conftest import Ferryman

CONFIGURATION = """\
listeners:
  web: {bind: "*:8443", transparent: tproxy, to: app}
  plain: {bind: "*:8080", to: app}
backends:
  app: {servers: "192.0.2.7:443", source: client}
"""


def test_setup_prints_commands(ferryman: Ferryman, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(CONFIGURATION)
    told = ferryman("transparent", "setup", str(file), "--ports", "443", "--mark", "0x10", "--table", "7")
    assert told.exit_code == 0
    assert "ip -6 route add local default dev lo table 7 protocol 102\n" in told.stdout
    assert "tcp dport { 443 } counter tproxy ip to :8443 meta mark set 0x10 accept" in told.stdout
    assert "8080" not in told.stdout


def test_without_a_file(ferryman: Ferryman) -> None:
    told = ferryman("transparent", "setup", "--redirect", "80,81=8080", "--from", "10.0.0.0/8", "--interface", "eth1")
    assert told.exit_code == 0
    assert "ip saddr { 10.0.0.0/8 } tcp dport { 80, 81 } counter redirect to :8080" in told.stdout
    assert "ip -" not in told.stdout, "rewriting needs no routing"
    assert "tproxy ip6 to :9" in ferryman("transparent", "setup", "--tproxy", "443=9").stdout
    answers = ferryman("transparent", "setup", "--answers").stdout
    assert "socket transparent 1" in answers
    assert "tproxy" not in answers


def test_what_is_wrong_is_said(ferryman: Ferryman, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(CONFIGURATION)
    for arguments, says in (
        (["setup"], "nothing is transparent"),
        (["setup", "--ports", "443"], "--ports is for the listeners of a FILE"),
        (["setup", "--tproxy", "443"], "not of the form PORTS=PORT"),
        (["setup", "--tproxy", "443=1", "--from", "somewhere"], "somewhere"),
        (["setup", "--tproxy", "443=1", "--mark", "red"], "red is no number"),
        (["setup", str(file), "--ports", "plain=443"], "there is no transparent listener plain"),
        (["install"], "setup"),
    ):
        told = ferryman("transparent", *arguments)
        assert told.exit_code == 2, arguments
        assert says in told.stderr
