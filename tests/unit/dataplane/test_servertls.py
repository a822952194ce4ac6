"""What servers are asked for; the handshakes themselves are tested with clients (test_terminate)."""

from __future__ import annotations

import ssl

import pytest
from rig import Rig, plan

from ferryman.dataplane.servertls import asked_name, offered
from ferryman.dataplane.session import Session
from ferryman.plan import TlsConnect
from ferryman.rules.facts import ABSENT, UNKNOWN
from ferryman.wire import clienthello
from ferryman.wire.clienthello import ClientHello


@pytest.fixture
def session(rig: Rig) -> Session:
    rig.follow(plan())
    made = Session(rig.worker, rig.worker.generation.plan.listeners[0], -1, "192.0.2.1", 1)
    made.coroutine.close()
    made.record.local_host = "192.0.2.2"
    return made


def hello(sni: str, *alpn: str) -> ClientHello:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(list(alpn))
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=sni).do_handshake()
    found = clienthello.parse(sent.read())
    assert isinstance(found, ClientHello)
    return found


def test_without_a_hello_it_is_the_server_s_own_name(session: Session) -> None:
    assert asked_name(session, TlsConnect(), "db.example") == "db.example"
    session.learn().hello = ABSENT
    assert asked_name(session, TlsConnect(), "db.example") == "db.example"
    assert offered(session, TlsConnect()) == ()


def test_as_the_client_asked(session: Session) -> None:
    session.learn().tls = UNKNOWN
    session.learn().hello = hello("api.example", "h2", "http/1.1")
    assert asked_name(session, TlsConnect(), "db.example") == "api.example"
    assert offered(session, TlsConnect()) == ("h2", "http/1.1")


def test_what_is_written_wins(session: Session) -> None:
    session.learn().tls = UNKNOWN
    session.learn().hello = hello("api.example", "h2")
    assert asked_name(session, TlsConnect(server_name="fixed.example"), "db.example") == "fixed.example"
    assert asked_name(session, TlsConnect(server_name=""), "db.example") == ""
    assert offered(session, TlsConnect(alpn=("acme",))) == ("acme",)
    assert offered(session, TlsConnect(alpn=())) == ()
