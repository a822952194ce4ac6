"""Files that include others, directives that say nothing here, mistakes that do not end the reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config.dialects.squid.reading import OPEN, parsed

from ferryman.config.dialects import squid
from ferryman.config.source import Diagnostics, Source


def read(path: Path) -> tuple[list[str], list[str]]:
    """The names of the listeners, and what was found."""
    diagnostics = Diagnostics()
    document = squid.parse([Source(str(path), path.read_text())], diagnostics, {})
    found = [str(finding).replace(str(path.parent), "") for finding in diagnostics.found]
    listeners = document.data["listeners"]
    assert isinstance(listeners, dict)
    return list(listeners), found


def test_included_files_come_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf.d").mkdir()
    for name in ("b", "a", "c"):
        (tmp_path / "conf.d" / f"{name}.conf").write_text(f"http_port 1{ord(name)}\n")
    (tmp_path / "conf.d" / "folder.conf").mkdir()
    (tmp_path / "one.conf").write_text("http_port 1\nhttp_prot 5\n")
    main = tmp_path / "main.conf"
    main.write_text(f"include conf.d/*.conf {tmp_path}/one.conf\nhttp_port 2\n{OPEN}")
    expected = (
        ["197", "198", "199", "1", "2"],
        ["/one.conf:2:1: error: unknown directive 'http_prot'; did you mean 'http_port'?"],
    )
    assert read(main) == expected  # relative to the file
    monkeypatch.chdir(tmp_path)
    assert read(main) == expected  # relative to the current folder


def test_files_that_include_themselves(tmp_path: Path) -> None:
    main = tmp_path / "main.conf"
    main.write_text(f"include {main}\nhttp_port 1\n{OPEN}")
    _, found = read(main)
    assert found[0] == "/main.conf:1:9: error: files include each other more than 16 deep"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.conf").write_bytes(b"# \xe4\n")
    main = tmp_path / "main.conf"
    main.write_text(
        f"include latin.conf\ninclude none.conf\ninclude none*.conf\ninclude /dev/null\nhttp_port 1\n{OPEN}"
    )
    _, found = read(main)
    assert found == [
        "/main.conf:1:9: error: '/latin.conf' is not UTF-8; save it as UTF-8",
        "/main.conf:2:9: error: there is no file none.conf",
        "/main.conf:3:9: warning: no file is like none*.conf: nothing is included",
        "/main.conf:4:9: error: '/dev/null' is no file",
    ]


@pytest.mark.parametrize(
    ("line", "findings"),
    [
        ("cache_dir ufs /var/spool/squid 100 16 256", ["'cache_dir' has no effect here: nothing is cached"]),
        ("icap_enable off", []),
        ("delay_pools 0", []),
        ("http_reply_access allow all", []),
        ("logfile_rotate 0", []),
        ("forwarded_for on", ["'forwarded_for' has no effect here; X-Forwarded-For is left as it comes"]),
        ("dns_v4_first on", ["'dns_v4_first' is gone from Squid, and ignored"]),
        ("cache_mgr webmaster", []),
        ("request_header_access Via deny all", ["'via' has no effect here; HTTP requests get `Via: 1.1 ferryman-…`"]),
        ("request_header_access User-Agent allow all", []),
        ("request_header_access Proxy-Connection deny all", []),
        (
            "max_filedescriptors 5\nmax_filedescriptors 6",
            ["'max_filedescriptors' has no effect here; the limit of the p"],
        ),
    ],
)
def test_what_has_no_effect(line: str, findings: list[str]) -> None:
    _, found = parsed(f"http_port 3128\n{line}\n{OPEN}")
    assert len(found) == len(findings)
    for finding, expected in zip(found, findings, strict=True):
        assert finding.partition(" warning: ")[2].startswith(expected)


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("icap_enable on", "2:1: error: 'icap_enable' is Squid's, not supported by ferryman yet; requests are carried"),
        ("http_reply_access deny all", "2:1: error: 'http_reply_access' is Squid's, not supported by ferryman yet"),
        ("htp_access allow all", "2:1: error: unknown directive 'htp_access'; did you mean 'http_access'?"),
        ("connect_timeout 1 minute 5", "2:26: error: unexpected '5' after 'connect_timeout'"),
        ("include", "2:1: error: 'include' needs a file"),
        (
            "request_header_access User-Agent deny all",
            "2:23: error: to leave out 'User-Agent' is Squid's, not supported",
        ),
        ("if true", "2:1: error: 'if' is Squid's, not supported by ferryman yet"),
    ],
)
def test_mistakes(line: str, finding: str) -> None:
    _, found = parsed(f"http_port 3128\n{line}\n{OPEN}")
    assert len(found) == 1
    assert found[0].startswith(finding)
