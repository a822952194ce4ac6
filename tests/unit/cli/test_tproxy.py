"""`ferryman tproxy check`."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Ferryman

TEXT = """\
:tproxy:
- :service_port: 5030
  :remote_addr: 10.11.12.13
  :remote_port: 5030
- :service_port: 1234
  :remote_addr: one.example
  :remote_port: 80
  :networks: [vnet0, 7]
"""
MORE = """\
- :service_port: {port}
  :remote_addr: a
  :remote_port: 1
"""


def test_what_reaches_what(ferryman: Ferryman, tmp_path: Path) -> None:
    file = tmp_path / "one.conf"
    file.write_text(TEXT)
    done = ferryman("tproxy", "check", str(file))
    assert (done.exit_code, done.stdout) == (
        0,
        "169.254.16.9:5030  →  10.11.12.13:5030  all networks\n169.254.16.9:1234  →  one.example:80    vnet0, 7\n",
    )
    assert ferryman("tproxy", "check", str(file), "--network", "other").stdout.count("\n") == 1
    assert ferryman("tproxy", "check", str(file), "--network", "other", "--network", "7").stdout.count("\n") == 2


def test_nothing(ferryman: Ferryman) -> None:
    done = ferryman("tproxy", "check", "-", input=":vxlan_mtu: 1500\n")
    assert (done.exit_code, done.stdout) == (0, "no service is named under `:tproxy:`\n")


def test_mistakes_and_warnings(ferryman: Ferryman, tmp_path: Path) -> None:
    file = tmp_path / "one.conf"
    file.write_text(TEXT + MORE.format(port=5030))
    done = ferryman("tproxy", "check", str(file))
    assert done.exit_code == 0
    assert f"{file}:9:3: warning: service port 5030 is taken by the entry at {file}:2:3, which counts" in done.stdout
    assert ferryman("tproxy", "check", "--strict", str(file)).exit_code == 1
    file.write_text(TEXT + MORE.format(port=99999))
    done = ferryman("tproxy", "check", str(file))
    assert done.exit_code == 1
    assert ":9:18: error: 99999 is no port; ports are 1 to 65535" in done.stdout
    assert "\n1 error, 0 warnings\n" in done.stdout


def test_a_file_that_is_not_there(ferryman: Ferryman) -> None:
    done = ferryman("tproxy", "check", "/none/such")
    assert done.exit_code == 1
    assert "cannot read /none/such: No such file or directory" in done.stdout
