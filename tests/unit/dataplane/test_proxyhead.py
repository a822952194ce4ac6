"""PROXY headers in front of a client's bytes and in front of a server's, in a worker of this process."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import pytest
from rig import Far, Rig, plan, reset, server

from ferryman.dataplane import proxyhead
from ferryman.plan import ReceiveProxy, SendProxy
from ferryman.rules.condition import Condition, Test
from ferryman.rules.decision import Action, Route, Rule
from ferryman.rules.expression import parse
from ferryman.rules.facts import Facts
from ferryman.rules.match import Matcher
from ferryman.rules.networks import Networks, network
from ferryman.wire import proxyprotocol as pp
from ferryman.wire.proxyprotocol import Endpoint, Header

pytestmark = pytest.mark.twin

FROM, TO = ("203.0.113.9", 5000), ("198.51.100.1", 443)
FROM6, TO6 = ("2001:db8::9", 5000), ("2001:db8::1", 443)
LOOPBACK = Networks.of([network("127.0.0.0/8")])
ELSEWHERE = Networks.of([network("192.0.2.0/24")])
TLVS = ((pp.AUTHORITY, b"a.example"), (pp.UNIQUE_ID, b"id-1"), (0xEA, b"vpce"))


def condition(fact: str, method: str, *patterns: str) -> Condition:
    return Test(parse(fact), Matcher.build(method, patterns, type=parse(fact).type), fact)


def hello(name: str = "www.example.org", *alpn: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def expecting(rig: Rig, networks: Networks | None = None, timeout: float = 5.0, **listener: Any) -> Far:
    far = rig.server()
    receive = ReceiveProxy(networks, timeout)
    rig.follow(plan(server(far.port), listener={"receive_proxy": receive, **listener}))
    return far


def sending(rig: Rig, *tlvs: str, version: int = 2, **listener: Any) -> Far:
    far = rig.server()
    rig.follow(plan(server(far.port, send_proxy=SendProxy(version, tlvs)), listener=listener))
    return far


def line(rig: Rig) -> dict[str, Any]:
    """The log line of the connection, whose far ends leave."""
    for peer in rig.peers:
        for sock in peer.accepted if isinstance(peer, Far) else [peer]:
            sock.close()
    rig.run(lambda: bool(rig.lines()))
    found: dict[str, Any] = json.loads(rig.lines()[-1])
    return found


def arrived(rig: Rig, far: Far, count: int) -> bytes:
    rig.run(far.waiting)
    connection = far.accept()
    data = rig.read(connection, count)
    connection.close()
    return data


# --- in ---


FOUR, SIX = ("203.0.113.9:5000", "198.51.100.1:443"), ("[2001:db8::9]:5000", "[2001:db8::1]:443")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (pp.v1(FROM, TO), FOUR),
        (pp.v1(FROM6, TO6), SIX),
        (pp.v2(FROM, TO, TLVS, checksum=True), FOUR),
        (pp.v2(FROM6, TO6), SIX),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_the_client_is_whom_the_header_names(rig: Rig, header: bytes, said: tuple[str, str], piece: int) -> None:
    far = expecting(rig)
    client = rig.client()
    peer = f"127.0.0.1:{client.getsockname()[1]}"
    data = header + b"payload"
    for at in range(0, len(data), piece):
        client.sendall(data[at : at + piece])
        rig.turns(0)
    assert arrived(rig, far, 7) == b"payload"
    client.close()
    found = line(rig)
    assert (found["client"], found["local"], found["peer"]) == (*said, peer)
    assert found["bytes"]["in"] == 7, "the header is none of the client's bytes"


@pytest.mark.parametrize("header", [pp.local(), b"PROXY UNKNOWN\r\n", pp.v2(("unix", 0), ("unix", 0))])
def test_a_header_that_names_nobody_leaves_the_client_as_it_is(rig: Rig, header: bytes) -> None:
    far = expecting(rig)
    client = rig.client()
    name = client.getsockname()
    client.sendall(header + b"payload")
    assert arrived(rig, far, 7) == b"payload"
    found = line(rig)
    assert found["client"] == f"127.0.0.1:{name[1]}"
    assert "peer" not in found


def test_a_hello_right_behind_the_header_is_looked_at(rig: Rig) -> None:
    to_app = Route(condition("sni", "name", "*.example.org"), "f:1", "app")
    far = expecting(rig, routes=(to_app,), default_backend="", needs_hello=True, inspect_timeout=5.0)
    data = hello()
    rig.client().sendall(pp.v2(FROM, TO) + data)
    assert arrived(rig, far, len(data)) == data
    assert line(rig)["sni"] == "www.example.org"


def test_rules_know_what_the_header_says(rig: Rig) -> None:
    by_tlv = Route(condition("proxy_tlv(0xEA)", "binary", b"vpce".hex()), "f:1", "app")
    far = expecting(rig, routes=(by_tlv,), default_backend="")
    client = rig.client()
    client.sendall(pp.v2(FROM, TO, TLVS) + b"x")
    assert arrived(rig, far, 1) == b"x"
    assert line(rig)["unique_id"] == "id-1"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        hello(),
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
        pp.v2(FROM, TO, checksum=True)[:-1] + b"\0",
        pp.v2(FROM, TO)[:14] + b"\xff\xff",
    ],
)
def test_whoever_has_to_send_one_and_sends_something_else_is_refused(rig: Rig, sent: bytes) -> None:
    far = expecting(rig)
    client = rig.client()
    client.sendall(sent)
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    assert not far.waiting()
    found = line(rig)
    assert (found["code"], found["how"]) == ("PR", "policy")
    assert "PROXY protocol: " in found["reason"]


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 1.2", pp.v2(FROM, TO)[:-1]])
def test_a_header_that_does_not_come_in_time(rig: Rig, sent: bytes) -> None:
    expecting(rig, timeout=0.1)
    client = rig.client()
    client.sendall(sent)
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    found = line(rig)
    assert (found["code"], found["how"]) == ("cR", "timeout")
    assert found["reason"] == "client: no PROXY header within 0.1 s"


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 1.2", pp.v2(FROM, TO)[:-1]])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_client_that_leaves_before_the_end_of_its_header(rig: Rig, sent: bytes, how: str) -> None:
    expecting(rig)
    client = rig.client()
    client.sendall(sent)
    rig.run(lambda: bool(rig.worker.waiting))
    client.shutdown(socket.SHUT_WR) if how == "fin" else reset(client)
    rig.run(rig.over)
    found = line(rig)
    assert (found["code"], found["how"]) == ("CR", how)


def test_who_is_not_to_send_one_has_its_bytes_left_alone(rig: Rig) -> None:
    far = expecting(rig, ELSEWHERE)
    data = pp.v2(FROM, TO) + b"x"
    client = rig.client()
    name = client.getsockname()
    client.sendall(data)
    assert arrived(rig, far, len(data)) == data
    assert line(rig)["client"] == f"127.0.0.1:{name[1]}"


def test_who_is_to_send_one_by_its_network(rig: Rig) -> None:
    far = expecting(rig, LOOPBACK)
    rig.client().sendall(pp.v1(FROM, TO) + b"x")
    assert arrived(rig, far, 1) == b"x"
    assert line(rig)["client"] == "203.0.113.9:5000"


def test_connection_rules_on_who_connected_do_not_wait_for_the_header(rig: Rig) -> None:
    expecting(rig, connection=(Rule(Action.REJECT, condition("peer_address", "cidr", "127.0.0.1"), "f:1"),))
    client = rig.client()
    assert rig.read(client) == b""
    assert (line(rig)["code"], line(rig)["rule"]) == ("PR", "f:1")


@pytest.mark.parametrize(("network", "refused"), [("203.0.113.0/24", True), ("127.0.0.0/8", False)])
def test_connection_rules_on_the_client_hold_for_whom_the_header_names(rig: Rig, network: str, refused: bool) -> None:
    rules = (Rule(Action.REJECT, condition("client_address", "cidr", network), "f:1"),)
    far = expecting(rig, connection=rules)
    client = rig.client()
    rig.run(lambda: bool(rig.worker.waiting))
    rig.turns(1)
    assert not rig.lines()
    client.sendall(pp.v2(FROM, TO))
    if refused:
        assert rig.read(client) == b""
        assert (line(rig)["rule"], line(rig)["client"]) == ("f:1", "203.0.113.9:5000")
    else:
        client.sendall(b"x")
        assert arrived(rig, far, 1) == b"x"


# --- out ---


def told(rig: Rig, far: Far, sent: bytes = b"payload") -> tuple[Header, Endpoint]:
    """What the server reads in front of what the client has sent, and the client's own address."""
    client = rig.client()
    name = client.getsockname()
    client.sendall(sent)
    rig.run(far.waiting)
    connection = far.accept()
    data = b""
    while (found := pp.parse(data)) is None or len(data) < found[1] + len(sent):
        data += rig.read(connection)
    assert data[found[1] :] == sent
    client.close()
    return found[0], name


@pytest.mark.parametrize("version", [1, 2])
def test_a_server_is_told_of_the_client(rig: Rig, version: int) -> None:
    far = sending(rig, version=version)
    header, name = told(rig, far)
    assert header == Header(version, name, rig.doors["web"].getsockname())


def test_a_server_is_told_before_the_client_has_said_anything(rig: Rig) -> None:
    far = sending(rig, version=1)
    rig.client()
    assert arrived(rig, far, 6) == b"PROXY "


def test_what_a_header_said_is_handed_on(rig: Rig) -> None:
    far = sending(rig, "authority", "unique-id", "netns", "crc32c", receive_proxy=ReceiveProxy())
    rig.client().sendall(pp.v2(FROM6, TO6, (*TLVS, (pp.NETNS, b"blue"))) + b"x")
    rig.run(far.waiting)
    connection = far.accept()
    found = None
    data = b""
    while found is None:
        data += rig.read(connection)
        found = pp.parse(data)
    assert (found[0].source, found[0].destination) == (FROM6, TO6)
    assert found[0].tlvs[:-1] == ((pp.AUTHORITY, b"a.example"), (pp.UNIQUE_ID, b"id-1"), (pp.NETNS, b"blue"))
    assert found[0].tlvs[-1][0] == pp.CRC32C


def test_what_is_known_of_the_client(rig: Rig) -> None:
    to_app = Route(condition("sni", "name", "*.example.org"), "f:1", "app")
    wanted = ("authority", "alpn", "unique-id", "ssl", "cert-cn")
    far = sending(rig, *wanted, routes=(to_app,), needs_hello=True, inspect_timeout=5.0)
    header, _ = told(rig, far, hello("www.example.org", "h2"))
    tlvs = dict(header.tlvs)
    assert tlvs[pp.AUTHORITY] == b"www.example.org"
    assert tlvs[pp.ALPN] == b"h2"
    assert header.ssl == pp.Ssl(0, 1), "its TLS does not end here"
    assert line(rig)["unique_id"].encode() == tlvs[pp.UNIQUE_ID]
    assert len(bytes.fromhex(tlvs[pp.UNIQUE_ID].decode())) == 16


def test_what_is_not_known_is_left_out(rig: Rig) -> None:
    far = sending(rig, "authority", "alpn", "netns")
    assert told(rig, far)[0].tlvs == ()


def test_a_server_that_takes_no_header_has_failed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes of a fresh connection always find room, so what is sent in part has to be made up."""
    bad, good = rig.server(), rig.server()
    servers = [server(far.port, name, send_proxy=SendProxy(1)) for far, name in ((bad, "bad"), (good, "good"))]
    rig.follow(plan(*servers, backend={"retries": 1, "redispatch": 1, "algorithm": "first"}))
    send = proxyhead.fdio.send
    answers = iter((3,))
    monkeypatch.setattr(proxyhead.fdio, "send", lambda fd, data: next(answers, 0) or send(fd, data))
    client = rig.client()
    rig.run(good.waiting)
    assert rig.read(good.accept(), 6) == b"PROXY "
    client.close()
    assert (line(rig)["server"], line(rig)["retries"]) == ("good", 1)


@dataclass(frozen=True)
class Agreed:
    version: str = "TLSv1.3"
    cipher: str = "TLS_AES_128_GCM_SHA256"
    alpn: str = "h2"
    resumed: bool = False
    certificate: bytes = b"DER"
    subject: tuple[tuple[str, str], ...] = (("O", "Example"), ("CN", "me"), ("CN", "myself"))
    issuer: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    fingerprint: str = ""


@pytest.mark.parametrize(
    ("agreed", "parts", "ssl"),
    [
        (Agreed(certificate=b""), ("ssl",), pp.Ssl(1, 1, ((pp.SSL_VERSION, b"TLSv1.3"),))),
        (Agreed(), ("ssl-version",), pp.Ssl(7, 0, ((pp.SSL_VERSION, b"TLSv1.3"),))),
        (Agreed(resumed=True), ("ssl",), pp.Ssl(5, 0, ((pp.SSL_VERSION, b"TLSv1.3"),))),
        (Agreed(), ("cert-cn",), pp.Ssl(7, 0, ((pp.SSL_VERSION, b"TLSv1.3"), (pp.SSL_CN, b"me")))),
        (
            Agreed(certificate=b"", subject=()),
            ("cert-cn", "ssl-cipher"),
            pp.Ssl(1, 1, ((pp.SSL_VERSION, b"TLSv1.3"), (pp.SSL_CIPHER, b"TLS_AES_128_GCM_SHA256"))),
        ),
    ],
)
def test_what_a_handshake_with_the_client_agreed_on(
    rig: Rig, agreed: Agreed, parts: tuple[str, ...], ssl: pp.Ssl
) -> None:
    far = sending(rig)
    client = rig.client()
    rig.run(far.waiting)
    session = type("Session", (), {"learn": lambda self: self.facts})()
    session.facts = Facts(*FROM, *TO, tls=agreed)
    session.record = type("Record", (), {
        "client_host": FROM[0], "client_port": FROM[1], "local_host": TO[0], "local_port": TO[1],
    })()  # fmt: skip
    found = pp.parse(proxyhead.header(session, SendProxy(2, (*parts, "alpn"))))
    client.close()
    assert found is not None
    assert found[0].ssl == ssl
    assert dict(found[0].tlvs)[pp.ALPN] == b"h2"


def test_offsets_of_ports_count_from_the_port_that_the_header_names(rig: Rig) -> None:
    far = rig.server()
    address = server(far.port).address
    here = far.port - 443
    moved = type(address)("inet", "127.0.0.1", here, from_client=True)
    rig.follow(plan(server(0, address=moved), listener={"receive_proxy": ReceiveProxy()}))
    client: socket.socket = rig.client()
    client.sendall(pp.v1(FROM, TO) + b"x")
    assert arrived(rig, far, 1) == b"x"
