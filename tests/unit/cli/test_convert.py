"""ferryman convert: native YAML on standard output, findings on standard error."""

from __future__ import annotations

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


def test_mistakes_go_to_standard_error(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("convert", write("listeners: {web: {bnd: 1}}\n"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "unknown key listeners.web.bnd" in result.stderr
