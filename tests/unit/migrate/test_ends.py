"""Both ends' plans: what a client end asks of its server, and what a server end lets in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.migrate import certificates, ends
from ferryman.migrate.ends import End, Peer, Via
from ferryman.plan import Address, Backend, Plan

CLIENT, SERVER = certificates.make("client"), certificates.make("server")


def plan_of(*parts: End) -> Plan:
    return ends.united(*parts, workers=1, log=2)


def test_a_client_end_pins_its_server_and_shows_its_certificate() -> None:
    via = Via("http://proxy.test:3128", "a", "p${HOME}%:")
    peer = Peer(("192.0.2.7:6443", "[2001:db8::7]:6443"), "ab" * 32, certificate=ends.shown(CLIENT))
    plan = plan_of(ends.client_end(peer, ends.hop(via, ""), {"data": ("127.0.0.1", 7001)}, {ends.CLAIM: "/tmp/claim"}))
    by_name = {backend.name: backend for backend in plan.backends}
    volume, claim = by_name[ends.listener_name("data")], by_name[ends.CLAIM]
    for backend in (volume, claim):
        tls = backend.servers[0].tls
        assert tls is not None
        assert (tls.fingerprints, tls.limits.min_version, len(backend.servers)) == (("ab" * 32,), "1.3", 2)
    assert volume.servers[0].tls.certificate is not None  # type: ignore[union-attr]
    assert claim.servers[0].tls.certificate is None  # type: ignore[union-attr]
    assert volume.via is not None
    assert volume.via.chains[0][0].password == "p${HOME}%:"


def test_a_server_end_that_nobody_has_claimed_has_nothing_but_the_claim() -> None:
    services = {ends.CLAIM: "/tmp/claim", ends.CONTROL: "/tmp/control"}
    plan = plan_of(
        ends.server_end(ends.address("127.0.0.1", 7002), ends.shown(SERVER), "", {"data": "/tmp/d"}, services)
    )
    assert [backend.name for backend in plan.backends] == [ends.CLAIM]
    [case] = plan.listeners[0].tls
    assert case.accept is not None
    assert case.accept.verify == "none"


def test_a_claimed_one_wants_the_certificate_for_everything_else() -> None:
    services = {ends.CLAIM: "/tmp/claim", ends.CONTROL: "/tmp/control"}
    volumes = {"data": "/tmp/d"}
    plan = plan_of(
        ends.server_end(ends.address("127.0.0.1", 7002), ends.shown(SERVER), CLIENT.certificate, volumes, services)
    )
    first, second = plan.listeners[0].tls
    assert first.accept is not None
    assert second.accept is not None
    assert first.accept.alpn == (ends.CLAIM,)
    assert second.accept.verify == "required"
    assert second.accept.limits.min_version == "1.3"
    assert {backend.name for backend in plan.backends} == {ends.CLAIM, ends.CONTROL, ends.protocol("data")}


def test_a_server_of_others_may_speak_tls_1_2_and_hears_of_no_protocol() -> None:
    peer = Peer(("192.0.2.7:443",), ca=SERVER.certificate, name="dvm.example.org", ours=False)
    plan = plan_of(ends.client_end(peer, None, {"volume": ("127.0.0.1", 7001)}, {}))
    tls = plan.backends[0].servers[0].tls
    assert tls is not None
    assert (tls.alpn, tls.limits.min_version, tls.server_name) == ((), "1.2", "dvm.example.org")


def test_ids_are_places_and_all_lines_go_to_the_same_descriptor() -> None:
    client = ends.client_end(Peer(("192.0.2.7:1", "192.0.2.8:1")), None, {"a": ("127.0.0.1", 1)}, {})
    server = ends.server_end(
        Address("unix", "/served"), ends.shown(SERVER), CLIENT.certificate, {"a": "/a", "b": "/b"}, {}
    )
    plan = plan_of(client, server)
    for ordered in (plan.listeners, plan.backends, plan.servers):
        assert [one.id for one in ordered] == list(range(len(ordered)))
    assert [server for backend in plan.backends for server in backend.servers] == list(plan.servers)
    assert {target.address for one in plan.listeners for target in one.log.targets} == {"2"}


def test_a_client_end_is_what_a_native_configuration_would_be(tmp_path: Path) -> None:
    """Defaults are config.compile's to know: no other plan may come of the same wishes."""
    file = tmp_path / "client.pem"
    file.write_text(CLIENT.certificate + CLIENT.key)
    file.chmod(0o600)
    tls = {"fingerprints": ["ab" * 32], "resume": False, "min_version": "1.3", "alpn": [ends.protocol("data")],
           "ciphersuites": ends.OURS.ciphersuites, "certificate": {"file": str(file)}}  # fmt: skip
    backend = {"servers": ["192.0.2.7:6443"], "balance": "first", "retries": 0, "redispatch": True,
               "connect_timeout": 10, "keepalive": True, "tls": tls,
               "via": {"url": "http://a:b@proxy.test:3128"}}  # fmt: skip
    listener = {"bind": "127.0.0.1:7001", "keepalive": True, "to": "to.data", "log": "fd@2"}
    text = json.dumps({"global": {"node": "ferryman-migrate"}, "listeners": {"to.data": listener},
                       "backends": {"to.data": backend}})  # fmt: skip
    loaded = load([Source("made", text)], "ferryman")
    assert loaded.plan is not None, loaded.diagnostics.found
    peer = Peer(("192.0.2.7:6443",), "ab" * 32, certificate=ends.shown(CLIENT))
    hop = ends.hop(Via("http://a:b@proxy.test:3128"), "")
    plan = plan_of(ends.client_end(peer, hop, {"data": ("127.0.0.1", 7001)}, {}))
    [ours], [theirs] = plan.backends, loaded.plan.backends
    same = {"where": "", "names": (), "not_after": 0.0, "kind": ""}

    def plain(one: Backend) -> Backend:
        server = one.servers[0]
        assert server.tls is not None
        assert server.tls.certificate is not None
        shown = replace(server.tls.certificate, **same)
        return replace(one, servers=(replace(server, tls=replace(server.tls, certificate=shown)),))

    assert plain(ours) == plain(theirs)
    assert replace(plan.listeners[0], log=loaded.plan.listeners[0].log) == loaded.plan.listeners[0]
