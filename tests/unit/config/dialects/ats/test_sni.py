"""Entries of sni.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.config.dialects.ats import sni
from ferryman.config.dialects.ats.sni import Entry
from ferryman.config.source import Diagnostics, Source


def read(text: str, name: str = "sni.yaml") -> tuple[list[Entry], list[str]]:
    diagnostics = Diagnostics()
    found = sni.read(Source(name, text), diagnostics)
    return found, [str(finding).removeprefix("sni.yaml:") for finding in diagnostics.found]


def one(text: str) -> Entry:
    (entry,), said = read(f"sni:\n- {text}\n")
    assert said == []
    return entry


def said(text: str) -> list[str]:
    return read(f"sni:\n- fqdn: a.example\n  {text}\n")[1]


@pytest.mark.parametrize(
    ("route", "host", "port"),
    [
        ("b.example:443", "b.example", "443"),
        ("b.example", "b.example", "local"),
        ("'b.example:{inbound_local_port}'", "b.example", "local"),
        ("'b.example:{proxy_protocol_port}'", "b.example", "proxy"),
        ("'[2001:db8::1]:443'", "2001:db8::1", "443"),
        ("'2001:db8::1'", "2001:db8::1", "local"),
        ("192.0.2.1:1", "192.0.2.1", "1"),
    ],
)
def test_where_it_leads(route: str, host: str, port: str) -> None:
    found = one(f"{{fqdn: a.example, forward_route: {route}}}").route
    assert found is not None
    assert (found.kind, found.host, found.port) == ("forward", host, port)


def test_all_that_an_entry_may_say() -> None:
    entry = one("""fqdn: "*.A.example."
  inbound_port_ranges: [443, 8000-8010]
  ip_allow: 192.0.2.1,198.51.100.0/24
  partial_blind_route: b.example:443
  tunnel_alpn: [h2]
  verify_client: Strict
  verify_client_ca_certs: {file: ca.pem}
  valid_tls_versions_in: [TLSv1_2, TLSv1_3]
  valid_tls_version_min_in: TLSv1_2
  valid_tls_version_max_in: TLSv1_3
  http2: off
  client_cert: c.pem
""")
    assert entry.name == "*.a.example"
    assert entry.ports == [(443, 443), (8000, 8010)]
    assert [at.value for at in entry.allow or ()] == ["192.0.2.1/32", "198.51.100.0/24"]
    assert [word.text for word in entry.alpn or ()] == ["h2"]
    assert entry.client_ca is not None
    assert entry.client_ca.text == "ca.pem"
    assert entry.http2 is False
    assert entry.listens(8005)
    assert not entry.listens(8443)
    assert one("{fqdn: a, disable_h2: true}").http2 is False


def test_addresses_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "who.txt").write_text("192.0.2.1\n198.51.100.0/24,2001:db8::/32\n")
    text = "sni: [{fqdn: a.example, ip_allow: '@who.txt'}]"
    (entry,), found = read(text, str(tmp_path / "sni.yaml"))
    assert found == []
    assert [at.value for at in entry.allow or ()] == ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32"]
    _, found = read(text.replace("who", "nobody"), str(tmp_path / "sni.yaml"))
    assert "cannot read" in found[0]


def test_names_that_an_entry_covers() -> None:
    below = one("{fqdn: '*.a.example'}")
    assert [below.covers(name) for name in ("x.a.example", "*.b.a.example", "a.example", "xa.example")] == [
        *(True, True, False, False)
    ]
    assert one("{fqdn: '*'}").covers("anything")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("tunnel_rute: b:1", "3:3: error: unknown key of sni.yaml 'tunnel_rute'; did you mean 'tunnel_route'?"),
        ("tunnel_route: b:0", "3:17: error: '0' is no port; it is 1 to 65535, {inbound_local_port}"),
        ("tunnel_route: 'b:{port}'", "3:17: error: '{port}' is no port"),
        ("tunnel_route: b_ c", "3:17: error: 'b_ c' is no destination"),
        ("tunnel_route: $1.b:1", "3:17: error: $1 stands for nothing: there is no `*` in a.example"),
        ("tunnel_route: $2.b:1", "3:17: error: $2: fqdn has one `*`, which $1 stands for"),
        ("tunnel_route: [b]", "3:17: error: `tunnel_route` takes one value"),
        ("tunnel_route:", "error: `tunnel_route` needs a value"),
        ("verify_client: MAYBE", "3:18: error: 'MAYBE' is none of the values"),
        ("valid_tls_versions_in: [TLSv1_4]", "3:27: error: 'TLSv1_4' is none of the values"),
        ("verify_client_ca_certs: {dir: /x}", "3:28: error: verify_client_ca_certs: 'dir' is Traffic Server's, not"),
        ("verify_client_ca_certs: {}", "error: `verify_client_ca_certs` needs a value"),
        ("http2: maybe", "3:10: error: 'maybe' is neither on nor off"),
        ("ip_allow: x", "3:13: error: 'x' is no address"),
        ("tunnel_alpn: [h2]", "3:3: warning: tunnel_alpn has no effect without partial_blind_route"),
    ],
)
def test_mistakes(text: str, finding: str) -> None:
    found = said(text)
    assert len(found) == 1
    assert finding in found[0]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("sni: {}", "1:6: error: `sni` is a list of entries"),
        ("a: 1", "error: there is nothing but `sni` here, not 'a'"),
        ("sni: [a]", "1:7: error: an entry is a mapping"),
        ("sni: [{http2: on}]", "1:7: error: which name is this entry about?"),
        ("sni: [{fqdn: 'a.*.b'}]", "1:14: error: 'a.*.b': a `*` that is not in front is Traffic Server 9's"),
        ("sni: [{fqdn: 'a b'}]", "1:14: error: 'a b' is no name"),
        ("sni: [{fqdn: ä.example}]", "1:14: error: 'ä.example' is not ASCII"),
        ("sni: [{fqdn: a, tunnel_route: b, forward_route: b}]", "tunnel_route and forward_route: where does it lead?"),
    ],
)
def test_mistakes_of_the_whole(text: str, finding: str) -> None:
    assert finding in read(text)[1][0]


def test_entries_that_are_never_come_to() -> None:
    diagnostics = Diagnostics()
    entries = sni.read(
        Source("s", "sni: [{fqdn: '*.a'}, {fqdn: b.a}, {fqdn: c, inbound_port_ranges: 1}, {fqdn: c}]"), diagnostics
    )
    sni.check_order(entries, diagnostics)
    assert [str(finding) for finding in diagnostics.found] == [
        "s:1:29: warning: b.a is never come to: *.a at s:1:14 is before it; "
        "the first entry that fits counts: move it up"
    ]
