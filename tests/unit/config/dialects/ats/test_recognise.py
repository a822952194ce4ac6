"""What is Traffic Server's, and which files are read together."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config.dialects.ats.reading import CERTS, RECORDS, entry

from ferryman.config.dialects import ats
from ferryman.config.load import load, read
from ferryman.config.source import Diagnostics, Source


@pytest.mark.parametrize(
    ("name", "text", "least", "most"),
    [
        ("x", "sni:\n- fqdn: a\n", 95, 95),
        ("x", RECORDS, 95, 95),
        ("x", CERTS, 95, 95),
        ("sni.yaml", "# nothing\n", 31, 60),
        ("strategies.yaml", "groups: []\n", 71, 89),
        ("x.yaml", "listeners:\n  a: {bind: ':1'}\n", 0, 0),
        ("x.conf", "http_port 3128\n", 0, 0),
    ],
)
def test_recognise(name: str, text: str, least: int, most: int) -> None:
    assert least <= ats.recognise(Source(name, text)) <= most


def test_a_sni_yaml_alone_is_read_with_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sni.yaml").write_text(entry("tunnel_route: b.example:443"))
    (tmp_path / "records.config").write_text(
        "CONFIG proxy.config.http.server_ports STRING 8443:ssl\n"
        "CONFIG proxy.config.cache.ip_allow.filename STRING who.yaml\n"
    )
    (tmp_path / "who.yaml").write_text("ip_allow: {apply: in, ip_addrs: 10.0.0.0/8, action: allow}\n")
    loaded = load(read([str(tmp_path / "sni.yaml")]), environment={})
    assert loaded.document.dialect == "trafficserver"
    assert loaded.plan is not None
    (listener,) = loaded.plan.listeners
    assert (listener.bind[0].port, len(listener.connection)) == (8443, 2)
    assert [str(finding).removeprefix(str(tmp_path)) for finding in loaded.diagnostics.found] == [
        "/sni.yaml:1:1: warning: also read, as they are beside it: records.config, who.yaml; "
        "name all files to choose others"
    ]


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sni.yaml").write_text(entry("tunnel_route: b.example:443"))
    (tmp_path / "records.config").write_text(RECORDS)
    (tmp_path / "remap.config").write_text("map http://a http://b\n")
    (tmp_path / "volume.config").write_text("# nothing\n")
    loaded = load(read([str(tmp_path)]), environment={})
    assert loaded.plan is not None
    assert [finding.message for finding in loaded.diagnostics.found] == [
        "not read, since it is about HTTP, the cache or logs: remap.config"
    ]


def test_without_a_sni_yaml_there_is_nothing_to_do() -> None:
    diagnostics = Diagnostics()
    assert ats.parse([Source("records.config", RECORDS)], diagnostics, {}).data == {}
    assert [str(finding) for finding in diagnostics.found] == [
        "records.config:1:1: error: there is no sni.yaml with an entry, which says where connections lead; "
        "name it as well"
    ]
