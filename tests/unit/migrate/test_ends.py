"""Both ends' configurations are such that ferryman takes them without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.migrate import certificates, ends
from ferryman.migrate.ends import Peer, Via
from ferryman.plan import Plan


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    made = {}
    for name, end in (("client", "client"), ("server", "server")):
        identity = certificates.make(end)  # type: ignore[arg-type]
        path = tmp_path / f"{name}.pem"
        path.write_text(identity.certificate + identity.key)
        path.chmod(0o600)
        made[name] = str(path)
    return made


def plan_of(*documents: dict[str, object]) -> Plan:
    loaded = load([Source("made", ends.as_text(ends.united(*documents, workers=1)))], "ferryman")
    assert not loaded.diagnostics.found, [str(one) for one in loaded.diagnostics.found]
    assert loaded.plan is not None
    return loaded.plan


def test_a_client_end_pins_its_server_and_shows_its_certificate(files: dict[str, str]) -> None:
    via = Via("http://proxy.test:3128", "a", "p${HOME}%:")
    peer = Peer(("192.0.2.7:6443", "[2001:db8::7]:6443"), "ab" * 32, certificate=files["client"])
    plan = plan_of(ends.client_end(peer, via, {"data": "127.0.0.1:7001"}, {ends.CLAIM: "/tmp/claim"}))
    by_name = {backend.name: backend for backend in plan.backends}
    volume, claim = by_name[ends.listener_name("data")], by_name[ends.CLAIM]
    for backend in (volume, claim):
        tls = backend.servers[0].tls
        assert tls is not None
        assert (tls.fingerprints, tls.limits.min_version, len(backend.servers)) == (("ab" * 32,), "1.3", 2)
    assert volume.servers[0].tls.certificate is not None  # type: ignore[union-attr]
    assert claim.servers[0].tls.certificate is None  # type: ignore[union-attr]
    assert "p${HOME}%:" in repr(plan) or volume.via is not None
    assert volume.via is not None
    assert volume.via.chains[0][0].password == "p${HOME}%:"


def test_a_server_end_that_nobody_has_claimed_has_nothing_but_the_claim(files: dict[str, str]) -> None:
    services = {ends.CLAIM: "/tmp/claim", ends.CONTROL: "/tmp/control"}
    plan = plan_of(ends.server_end(["127.0.0.1:7002"], 7002, files["server"], "", {"data": "/tmp/d"}, services))
    assert [backend.name for backend in plan.backends] == [ends.CLAIM]
    [case] = plan.listeners[0].tls
    assert case.accept is not None
    assert case.accept.verify == "none"


def test_a_claimed_one_wants_the_certificate_for_everything_else(files: dict[str, str]) -> None:
    services = {ends.CLAIM: "/tmp/claim", ends.CONTROL: "/tmp/control"}
    plan = plan_of(
        ends.server_end(["127.0.0.1:7002"], 7002, files["server"], files["client"], {"data": "/tmp/d"}, services)
    )
    first, second = plan.listeners[0].tls
    assert first.accept is not None
    assert second.accept is not None
    assert first.accept.alpn == (ends.CLAIM,)
    assert second.accept.verify == "required"
    assert second.accept.limits.min_version == "1.3"
    assert {backend.name for backend in plan.backends} == {ends.CLAIM, ends.CONTROL, ends.protocol("data")}


def test_a_server_of_others_may_speak_tls_1_2_and_hears_of_no_protocol(files: dict[str, str]) -> None:
    peer = Peer(("192.0.2.7:443",), ca=files["server"], name="dvm.example.org", ours=False)
    plan = plan_of(ends.client_end(peer, None, {"volume": "127.0.0.1:7001"}, {}))
    tls = plan.backends[0].servers[0].tls
    assert tls is not None
    assert (tls.alpn, tls.limits.min_version, tls.server_name) == ((), "1.2", "dvm.example.org")
