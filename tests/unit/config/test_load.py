"""From files and text to a plan: which dialect, what is overridden, what cannot be read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ferryman.config.load import Loaded, load, read
from ferryman.config.source import Source
from ferryman.errors import ConfigError
from ferryman.plan import Plan

SHORTEST = """\
listeners:
  web:
    bind: 127.0.0.1:8443
    servers: ["[::1]:9443", "[::1]:9444"]
"""


def findings(loaded: Loaded) -> list[str]:
    return [str(finding) for finding in loaded.diagnostics.found]


def plan(text: str, *overrides: tuple[str, str]) -> Plan:
    loaded = load([Source("f.yaml", text)], "ferryman", overrides, {})
    assert findings(loaded) == []
    assert loaded.plan is not None
    return loaded.plan


def test_the_shortest_configuration_works() -> None:
    loaded = load([Source("f.yaml", SHORTEST)], environment={})
    assert findings(loaded) == []
    assert loaded.document.dialect == "ferryman"
    assert loaded.configuration is not None
    assert loaded.plan is not None
    assert loaded.plan.sources == ("f.yaml",)
    assert [str(server.address) for server in loaded.plan.servers] == ["[::1]:9443", "[::1]:9444"]


def test_with_errors_there_is_no_plan() -> None:
    loaded = load([Source("f.yaml", SHORTEST + "    to: web\n")], "ferryman")
    assert loaded.diagnostics.errors == 1
    assert loaded.plan is None
    assert loaded.configuration is None


def test_findings_come_in_the_order_of_the_text() -> None:
    one = Source("one.yaml", SHORTEST.replace("web", "a") + "    mode: udp\n    backlog: x\n")
    two = Source("two.yaml", SHORTEST.replace("web", "b").replace("8443", "8444") + "    to: nowhere\n")
    loaded = load([one, two], "ferryman")
    assert [(f.mark.file, f.mark.line) for f in loaded.diagnostics.found if f.mark] == [
        ("one.yaml", 5),
        ("one.yaml", 6),
        ("two.yaml", 5),
    ]


def test_all_files_are_of_one_dialect() -> None:
    haproxy = Source("h.cfg", "frontend x\n    bind 127.0.0.1:1\n")
    loaded = load([Source("f.yaml", SHORTEST), Source("empty.cfg", "# nothing\n"), haproxy])
    assert findings(loaded) == [
        "error: all files must be of one dialect, but f.yaml is ferryman, h.cfg is haproxy; "
        "convert one with `ferryman convert`"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "error: f is empty"),
        ("# only a comment\n", "error: f is empty"),
        (
            ":tproxy: []\n",
            "f:1:1: error: this is an OpenNebulaNetwork.conf, whose bridges are not in it; see `ferryman tproxy",
        ),
        ("hello world\n", "f:1:1: error: this is no configuration in a known dialect; say --as ferryman"),
    ],
)
def test_text_in_no_dialect(text: str, complaint: str) -> None:
    loaded = load([Source("f", text)])
    assert findings(loaded)[0].startswith(complaint)
    assert loaded.plan is None


def test_an_unknown_dialect_is_named() -> None:
    assert findings(load([Source("f", SHORTEST)], "nginx"))[0].startswith("error: unknown dialect 'nginx'; there are")


def test_values_are_overridden() -> None:
    found = plan(
        SHORTEST,
        ("global.workers", "3"),
        ("global.user", '""'),
        ("listeners.web.bind", "127.0.0.1:7000,127.0.0.1:7001"),
        ("listeners.web.servers.1", "[::1]:7002"),
        ("listeners.web.client_timeout", "2m"),
        ("listeners.web.keepalive", "true"),
    )
    assert found.settings.workers == 3
    assert [str(address) for address in found.listeners[0].bind] == ["127.0.0.1:7000", "127.0.0.1:7001"]
    assert [str(server.address) for server in found.servers] == ["[::1]:9443", "[::1]:7002"]
    assert found.listeners[0].client_timeout == 120.0
    assert found.listeners[0].keepalive
    assert found.sources == ("f.yaml",)


def test_a_name_with_dots_can_be_overridden() -> None:
    text = SHORTEST.replace("web", "a.example.org")
    assert plan(text, ("listeners.a.example.org.backlog", "7")).listeners[0].backlog == 7


def test_a_star_stands_for_all_that_have_what_follows() -> None:
    text = (
        "listeners:\n  a.b: {bind: '127.0.0.1:1', connect: {egress_guard: false, access: []}}\n"
        "  c: {bind: '127.0.0.1:2', connect: {access: []}}\n  d: {bind: '127.0.0.1:3', servers: 'x:1'}\n"
    )
    override = ("listeners.*.connect.egress_guard", "true")
    loaded = load([Source("f.yaml", text)], "ferryman", [override])
    assert loaded.plan is not None
    assert [listener.connect and listener.connect.egress_guard for listener in loaded.plan.listeners] == [
        True,
        True,
        None,
    ]
    assert str(loaded.document.mark(("listeners", "a.b", "connect", "egress_guard"))) == "--set:1:34"
    loaded = load([Source("f.yaml", SHORTEST)], "ferryman", [override])
    assert findings(loaded) == ["--set:1:1: warning: --set listeners.*.connect.egress_guard: nothing here has that"]


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("global.usr", "x", "--set:1:1: error: unknown key global.usr; did you mean 'user'?"),
        ("globl.user", "x", "--set:1:1: error: unknown key globl; did you mean 'global'?"),
        ("listeners.wob.backlog", "1", "--set:1:1: error: --set listeners.wob.backlog: there is no 'wob' in listeners"),
        ("listeners.web.bind.0", "1", "--set:1:1: error: --set listeners.web.bind.0: there is no '0'"),
        ("listeners.web.servers.5", "1", "--set:1:1: error: --set listeners.web.servers.5: there is no '5'"),
        ("listeners.web.bind", "*:99999", "--set:1:20: error: listeners.web.bind: port 99999"),
        ("global.workers", "x", "--set:1:16: error: global.workers: must be a whole number, not 'x'"),
        ("", "x", "--set:1:1: error: --set : there is no ''"),
        ("global..user", "x", "--set:1:1: error: --set global..user: there is no ''"),
    ],
)
def test_an_override_that_does_not_fit_is_named(path: str, value: str, complaint: str) -> None:
    loaded = load([Source("f.yaml", SHORTEST)], "ferryman", [(path, value)])
    assert findings(loaded)[0].startswith(complaint)
    assert loaded.plan is None
    assert loaded.sources[-1].text == f"{path}={value}"


def test_an_override_mends_what_it_replaces() -> None:
    assert plan(SHORTEST.replace("127.0.0.1:8443", "nonsense"), ("listeners.web.bind", "*:1")).listeners[0].bind


def test_reads_files_folders_and_standard_input(tmp_path: Path) -> None:
    for name in ("b.yaml", "B.cfg", "a.yml", "c.conf", "d.txt", ".hidden.yaml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "e.yaml").mkdir()
    single = tmp_path / "d.txt"
    sources = read([str(tmp_path), str(single), "-"], io.BytesIO(b"\xef\xbb\xbfin"))
    assert [source.text for source in sources] == ["B.cfg", "a.yml", "b.yaml", "c.conf", "d.txt", "in"]
    assert sources[-1].name == "<stdin>"
    assert sources[0].name == str(tmp_path / "B.cfg")


def test_everything_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"ok\nab\xe9")
    (tmp_path / "binary").write_bytes(b"\x7fELF\0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as refused:
        read([str(tmp_path / name) for name in ("latin", "missing", "binary", "empty")])
    assert [str(finding).replace(str(tmp_path), "") for finding in refused.value.diagnostics.found] == [
        "/latin:2:3: error: byte 0xe9 is not UTF-8; save the file as UTF-8",
        "error: cannot read /missing: No such file or directory",
        "error: /binary is binary, not text",
        "error: the folder /empty holds no configuration; it should end in .cfg, .conf, .config, .yaml, .yml",
    ]
    with pytest.raises(ConfigError):
        read([])


def test_what_a_dialect_says_of_one_line_for_several_entries_is_said_once() -> None:
    texts = {
        "sni.yaml": "sni:\n" + "".join(f"- fqdn: {name}.test\n  forward_route: 192.0.2.1:80\n" for name in "abc"),
        "records.config": "CONFIG proxy.config.http.server_ports STRING 443:ssl 444:ssl\n"
        "CONFIG proxy.config.ssl.TLSv1_1 INT 1\n",
        "ssl_multicert.config": "dest_ip=* ssl_cert_name=/nowhere.pem\n",
    }
    found = load([Source(name, text) for name, text in texts.items()], environment={})
    assert [finding for finding in findings(found) if "TLS 1.0" in finding] == [
        "records.config:2:37: warning: TLS 1.0 and 1.1 are not spoken; clients and servers need TLS 1.2"
    ]
