"""ferryman check: every mistake at once, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.config import leaves

from .conftest import Ferryman, Write

GOOD = """\
listeners:
  web:
    bind: 127.0.0.1:8443
    servers: 192.0.2.7:443
"""
WARNED = """\
global: {chroot: /does/not/exist}
listeners:
  web:
    bind: 127.0.0.1:8443
    servers: 192.0.2.7:443
"""
BAD = """\
listeners:
  web:
    bind: 127.0.0.1
    server: 192.0.2.7:443
  api:
    bind: 127.0.0.1:8444
    client_timeout: soon
    servers: 192.0.2.7:443
"""


def test_a_good_one_is_fine(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("check", write(GOOD))
    assert (result.exit_code, result.stdout) == (0, "configuration is fine\n")


def test_every_mistake_is_shown_with_its_place_and_its_line(ferryman: Ferryman, write: Write) -> None:
    path = write(BAD)
    result = ferryman("check", path)
    assert result.exit_code == 1
    assert f"{path}:3:11: error: " in result.stdout
    assert f"{path}:4:5: error: unknown key listeners.web.server; did you mean 'servers'?" in result.stdout
    assert f"{path}:7:21: error: " in result.stdout
    assert "    client_timeout: soon\n                        ^~~~\n" in result.stdout
    assert result.stdout.splitlines()[-1] == "3 errors, 0 warnings"


def test_what_this_machine_lacks_is_a_warning_with_its_place(ferryman: Ferryman, write: Write) -> None:
    path = write(WARNED)
    result = ferryman("check", path)
    assert result.exit_code == 0
    assert f"{path}:1:18: warning: there is no folder /does/not/exist to be locked into" in result.stdout
    assert "--set global.chroot= for none" in result.stdout
    assert result.stdout.splitlines()[-1] == "0 errors, 1 warning"


def test_strict_makes_warnings_errors(ferryman: Ferryman, write: Write) -> None:
    path = write(WARNED)
    assert ferryman("check", "--strict", path).exit_code == 1
    assert ferryman("check", "--strict", path, "--set", "global.chroot=").exit_code == 0


def test_json_for_programs(ferryman: Ferryman, write: Write) -> None:
    path = write(BAD)
    result = ferryman("check", "--json", path)
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["ok"], report["errors"], report["warnings"], report["dialect"]) == (False, 3, 0, "ferryman")
    first = report["diagnostics"][0]
    assert (first["severity"], first["file"], first["line"], first["column"]) == ("error", path, 3, 11)
    assert json.loads(ferryman("check", "--json", write(GOOD)).stdout)["ok"] is True


def test_a_file_that_is_not_there(ferryman: Ferryman, tmp_path: Path) -> None:
    result = ferryman("check", str(tmp_path / "none.yaml"), str(tmp_path / "neither.yaml"))
    assert result.exit_code == 1
    assert "none.yaml: No such file or directory" in result.stdout
    assert "neither.yaml: No such file or directory" in result.stdout


def test_standard_input(ferryman: Ferryman) -> None:
    result = ferryman("check", "-", input=BAD)
    assert result.exit_code == 1
    assert "<stdin>:3:11: error: " in result.stdout


def test_a_folder_is_one_configuration(ferryman: Ferryman, write: Write, tmp_path: Path) -> None:
    write("listeners:\n  web: {bind: '127.0.0.1:8443', to: there}\n", "a.yaml")
    write("backends:\n  there: {servers: '192.0.2.7:443'}\n", "b.yaml")
    assert ferryman("check", str(tmp_path)).stdout == "configuration is fine\n"


def test_overrides_are_checked_like_the_file(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("check", write(GOOD), "--set", "listeners.web.bind=nowhere")
    assert result.exit_code == 1
    assert "--set:1:20: error: " in result.stdout


def test_a_dialect_can_be_forced(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("check", write(GOOD), "--as", "cobol")
    assert result.exit_code == 1
    assert "unknown dialect 'cobol'" in result.stdout


def test_passwords_in_shown_lines_are_stars(ferryman: Ferryman, write: Write) -> None:
    text = "listeners:\n  p: {bind: '127.0.0.1:8443', pages: {users: {admin: hunter2}, refresh: x}}\n"
    result = ferryman("check", write(text))
    assert "admin: *******}, refresh: x" in result.stdout
    assert "hunter2" not in ferryman("check", write(GOOD), "--set", "listeners.web.pages.users.admin=hunter2").stdout


def test_passwords_in_a_file_that_cannot_be_understood_are_stars(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("check", write("global\n  stats auth admin:hunter2\n", "haproxy.cfg"))
    assert "hunter2" not in result.stdout


def test_the_egress_guard_overrules_the_file(ferryman: Ferryman, write: Write) -> None:
    path = write("http_port 3128\nhttp_access allow all\n", "squid.conf")
    result = ferryman("check", path)
    assert result.exit_code == 0
    assert "can reach 127.0.0.1, ::1, 169.254.169.254 as this machine does" in result.stdout
    assert ferryman("check", "--egress-guard", path).stdout == "configuration is fine\n"


def test_what_a_listener_with_tls_accepts(ferryman: Ferryman, write: Write, tmp_path: Path) -> None:
    file = leaves.write(tmp_path / "a.pem", *leaves.issue(leaves.ca(tmp_path), ["a.example"]))
    path = write(GOOD + f"    tls: {{certificates: {file}, min_version: '1.3', groups: X25519, strict: true}}\n")
    lines = ferryman("check", path).stdout.splitlines()
    assert lines[0] == f"listener web ends TLS ({path}:5)"
    assert "  versions      TLSv1.3" in lines
    assert "  groups        X25519" in lines
    assert "  names         others are refused" in lines
    assert next(line for line in lines if line.startswith("  certificate ")).startswith(
        "  certificate   a.example: ECDSA P-256, expires 20"
    )
    assert lines[-1] == "configuration is fine"
    (told,) = json.loads(ferryman("check", "--json", path).stdout)["tls"]
    assert told["versions"] == ["TLSv1.3"]
    assert told["certificates"][0]["names"] == ["a.example"]


def test_what_several_listeners_accept_is_told_once(ferryman: Ferryman, tmp_path: Path) -> None:
    """An sni.yaml has its entries at each port."""
    file = leaves.write(tmp_path / "a.pem", *leaves.issue(leaves.ca(tmp_path / "pki"), ["a.example"]))
    (tmp_path / "sni.yaml").write_text("sni:\n- fqdn: a.example\n  forward_route: 192.0.2.1:80\n")
    (tmp_path / "records.config").write_text("CONFIG proxy.config.http.server_ports STRING 8443:ssl 8444:ssl\n")
    (tmp_path / "ssl_multicert.config").write_text(f"dest_ip=* ssl_cert_name={file}\n")
    path = tmp_path / "sni.yaml"
    lines = ferryman("check", str(tmp_path)).stdout.splitlines()
    assert [line for line in lines if "TLS" in line and not line.startswith(" ")] == [
        f"listeners 8443, 8444 end TLS ({path}:2)"
    ]
    assert [told["listener"] for told in json.loads(ferryman("check", "--json", str(tmp_path)).stdout)["tls"]] == [
        "8443",
        "8444",
    ]
