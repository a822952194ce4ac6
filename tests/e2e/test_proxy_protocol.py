"""The PROXY protocol with other people's programs on either side: who the client is survives, and nobody else says it.

HAProxy, curl and another ferryman send headers to ferryman; HAProxy, nginx and ferryman take them from it.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from programs import Peer, nginx, program, run, tinyproxy
from servers import Authority, EchoServer
from talk import Talk

from ferryman.wire import proxyprotocol as pp

FROM, TO = ("203.0.113.9", 5000), ("198.51.100.1", 443)
FROM6, TO6 = ("2001:db8::9", 5000), ("2001:db8::1", 443)


@pytest.fixture(scope="module")
def origin() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    names = ("in", "six", "short", "some", "told", "out")
    return {name: free_port("::1" if name == "six" else "127.0.0.1") for name in names}


@pytest.fixture(scope="module")
def ferry(run_shared_ferry: Callable[..., Ferry], origin: EchoServer, ports: dict[str, int]) -> Ferry:
    return run_shared_ferry(f"""
listeners:
  in: {{bind: "127.0.0.1:{ports["in"]}", proxy_protocol: true, to: origin}}
  six: {{bind: "[::1]:{ports["six"]}", proxy_protocol: true, to: origin}}
  short: {{bind: "127.0.0.1:{ports["short"]}", proxy_protocol: {{timeout: 300ms}}, to: origin}}
  some: {{bind: "127.0.0.1:{ports["some"]}", proxy_protocol: {{from: 127.0.0.3}}, to: origin}}
  told:
    bind: "127.0.0.1:{ports["told"]}"
    proxy_protocol: true
    routes:
      - to: origin
        when: {{proxy_authority: www.example.org, "proxy_tlv(0x20,0x21)": {{prefix: TLSv1}}, proxied: true}}
  out:
    bind: "127.0.0.1:{ports["out"]}"
    proxy_protocol: true
    connect: {{egress_guard: false}}
backends:
  origin: {{servers: "{origin.address}"}}
""")


def haproxy(folder: Path, text: str) -> Peer:
    """HAProxy in the foreground; `{port}` in the text is where it is asked whether it is ready."""
    path, port = program("haproxy"), free_port()
    folder.mkdir()
    timeouts = "defaults\n timeout connect 1m\n timeout client 5m\n timeout server 5m\n log stdout format raw local0\n"
    (folder / "conf").write_text(timeouts + text.replace("{port}", str(port)))
    return Peer(folder, port, [path, "-db", "-f", str(folder / "conf")])


def endpoint(name: tuple[Any, ...]) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def of(listener: str, client: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line["listener"] == listener and line["client"] == client


def ended_with(sock: socket.socket) -> str:
    """How a connection ends on which nothing is answered."""
    try:
        return "fin" if sock.recv(1) == b"" else "an answer"
    except ConnectionResetError:
        return "rst"


# --- in: HAProxy, curl and clients that write what they please ---


@pytest.mark.parametrize(
    "how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id", "send-proxy-v2-ssl-cn"]
)
def test_clients_of_a_haproxy_in_front(ferry: Ferry, ports: dict[str, int], tmp_path: Path, how: str) -> None:
    peer = haproxy(
        tmp_path / "haproxy",
        f"listen f\n bind 127.0.0.1:{{port}}\n unique-id-format id-%rt\n server s 127.0.0.1:{ports['in']} {how}\n",
    )
    try:
        with Talk(peer.port, source="127.0.0.5") as client:
            own = endpoint(client.sock.getsockname())
            client.send(b"through both")
            assert client.exactly(12) == b"through both"
            inner = client.sock.getsockname()
        line = ferry.line(of("in", own))
        assert line["local"] == f"127.0.0.1:{peer.port}", "where the client connected to HAProxy"
        assert line["peer"].startswith("127.0.0.1:")
        assert line["peer"] != endpoint(inner)
        assert ("unique_id" in line) == ("unique-id" in how)
    finally:
        peer.stop()


def test_what_haproxy_tells_of_its_clients_tls(
    ferry: Ferry, ports: dict[str, int], tmp_path: Path, authority: Authority
) -> None:
    pem = tmp_path / "haproxy.pem"
    certificate = authority.ca.issue_cert("www.example.org", "other.example.org")
    pem.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    peer = haproxy(
        tmp_path / "haproxy",
        f"listen f\n bind 127.0.0.1:{{port}} ssl crt {pem}\n"
        f" server s 127.0.0.1:{ports['told']} send-proxy-v2-ssl proxy-v2-options authority,ssl-cipher\n",
    )
    try:
        for host, let_in in (("www.example.org", True), ("other.example.org", False)):
            with (
                socket.create_connection(("127.0.0.1", peer.port), PATIENCE) as sock,
                authority.client_context().wrap_socket(sock, server_hostname=host) as client,
            ):
                client.sendall(b"hello")
                try:
                    answer = client.recv(5)
                except (ssl.SSLError, ConnectionResetError):
                    answer = b""
                assert answer == (b"hello" if let_in else b""), host
    finally:
        peer.stop()


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (pp.v1(FROM, TO), "203.0.113.9:5000"),
        (pp.v1(FROM6, TO6), "[2001:db8::9]:5000"),
        (pp.v2(FROM6, TO6, ((pp.AUTHORITY, b"a.example"), (pp.NOOP, b"xyz")), checksum=True), "[2001:db8::9]:5000"),
    ],
)
@pytest.mark.parametrize("listener", ["in", "six"])
def test_data_right_behind_the_header(
    ferry: Ferry, ports: dict[str, int], listener: str, header: bytes, client: str
) -> None:
    data = bytes(range(256)) * 2000
    with Talk(ports[listener], "::1" if listener == "six" else "127.0.0.1") as talk:
        own = endpoint(talk.sock.getsockname())
        talk.send(header + data[:100])
        assert talk.exactly(100) == data[:100]
        talk.send(data[100:5000])
        talk.end()
        assert talk.rest() == data[100:5000]
    line = ferry.line(lambda line: line.get("peer") == own)
    assert (line["listener"], line["client"], line["bytes"]["in"]) == (listener, client, 5000)


@pytest.mark.parametrize("header", [pp.local(), b"PROXY UNKNOWN\r\n", pp.v2(("unix", 0), ("unix", 0))])
def test_the_connections_own_addresses_count(ferry: Ferry, ports: dict[str, int], header: bytes) -> None:
    with Talk(ports["in"]) as talk:
        own = endpoint(talk.sock.getsockname())
        talk.send(header + b"x")
        assert talk.exactly(1) == b"x"
    assert "peer" not in ferry.line(of("in", own))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n",
        b"PROXY UNKNOWN " + b"x" * 100,
        pp.v2(FROM, TO)[:14] + b"\x10\x00" + bytes(4096),
        pp.v2(FROM, TO, checksum=True)[:-1] + b"!",
        pp.v2(FROM, TO)[:12] + b"\x31\x11\x00\x0c" + bytes(12),
    ],
    ids=["http", "tls", "port", "long line", "long block", "checksum", "version 3"],
)
def test_what_is_no_good_header_is_cut_off(
    ferry: Ferry, ports: dict[str, int], origin: EchoServer, sent: bytes
) -> None:
    until(lambda: not ferry.listener("in")["counts"]["sessions_now"], "what was before to end")
    before = origin.heard()
    with Talk(ports["in"]) as talk:
        own = endpoint(talk.sock.getsockname())
        talk.send(sent)
        assert ended_with(talk.sock) == "rst"
    line = ferry.line(of("in", own))
    assert (line["code"], line["how"]) == ("PR", "policy")
    assert line["reason"].startswith("client: PROXY protocol: ")
    assert origin.heard() == before


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 192.0.2.1 ", pp.v2(FROM, TO)[:20]])
def test_a_header_that_is_cut_short(ferry: Ferry, ports: dict[str, int], sent: bytes) -> None:
    with Talk(ports["in"]) as talk:
        own = endpoint(talk.sock.getsockname())
        talk.send(sent)
        talk.end()
        assert ended_with(talk.sock) in ("fin", "rst")
    assert ferry.line(of("in", own))["code"] == "CR"


def test_a_header_that_drips_in_too_slowly(ferry: Ferry, ports: dict[str, int]) -> None:
    """Every byte is new, but the header has its time as a whole."""
    with Talk(ports["short"]) as talk:
        own = endpoint(talk.sock.getsockname())
        how = ""
        for byte in pp.v1(FROM6, TO6):
            if select.select([talk.sock], [], [], 0.05)[0]:
                how = ended_with(talk.sock)
                break
            try:
                talk.send(bytes([byte]))
            except ConnectionError:  # it came in this very moment
                how = "rst"
                break
        assert how == "rst", "before the header was complete"
    line = ferry.line(of("short", own))
    assert (line["code"], line["how"]) == ("cR", "timeout")


def test_a_header_that_drips_in_time(ferry: Ferry, ports: dict[str, int]) -> None:
    with Talk(ports["in"]) as talk:
        for byte in pp.v2(("203.0.113.77", 1), TO) + b"x":
            talk.send(bytes([byte]))
        assert talk.exactly(1) == b"x"
    ferry.line(of("in", "203.0.113.77:1"))


def test_only_some_may_say_who_the_client_is(ferry: Ferry, ports: dict[str, int]) -> None:
    header = pp.v1(("203.0.113.66", 1), TO)
    with Talk(ports["some"], source="127.0.0.3") as talk:
        talk.send(header + b"x")
        assert talk.exactly(1) == b"x"
    ferry.line(of("some", "203.0.113.66:1"))
    with Talk(ports["some"]) as talk:
        own = endpoint(talk.sock.getsockname())
        talk.send(header)
        assert talk.exactly(len(header)) == header, "its bytes are no header but data"
    assert "peer" not in ferry.line(of("some", own))


def test_clients_of_an_explicit_proxy_behind_another_one(
    ferry: Ferry, ports: dict[str, int], origin: EchoServer
) -> None:
    with Talk(ports["out"]) as talk:
        talk.send(pp.v2(("203.0.113.55", 1), TO) + f"CONNECT {origin.address} HTTP/1.1\r\n\r\n".encode())
        assert talk.answer("CONNECT").status == 200
        talk.send(b"x")
        assert talk.exactly(1) == b"x"
    assert ferry.line(of("out", "203.0.113.55:1"))["target"] == origin.address


# --- out: HAProxy, nginx and ferryman behind; curl in front ---


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> dict[str, Peer]:
    folder = tmp_path_factory.mktemp("behind")
    taking, port = free_port(), free_port()
    front = haproxy(
        folder / "haproxy",
        f"frontend f\n mode http\n bind 127.0.0.1:{{port}}\n bind 127.0.0.1:{taking} accept-proxy\n option httplog\n"
        " http-request return status 200 content-type text/plain"
        ' lf-string "%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]"\n',
    )
    at_the_end.callback(front.stop)
    says = "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port"
    web = nginx(folder, f'listen 127.0.0.1:{port} proxy_protocol; default_type text/plain; return 200 "{says}";')
    at_the_end.callback(web.stop)
    front.address, web.address = f"127.0.0.1:{taking}", f"127.0.0.1:{port}"  # where headers are taken
    return {"haproxy": front, "nginx": web}


@pytest.fixture(scope="module")
def sender(run_shared_ferry: Callable[..., Ferry], behind: dict[str, Peer]) -> tuple[Ferry, dict[str, int]]:
    ports: dict[str, int] = {}
    listeners = ""
    for peer in behind:
        for version in ("v1", "v2"):
            name = f"{peer}-{version}"
            ports[name] = free_port()
            ports[f"{name}-in"] = free_port()
            tlvs = ", tlvs: [authority, unique-id, ssl, crc32c]" if version == "v2" else ""
            servers = (
                f"servers: [{{address: '{behind[peer].address}', name: {name}}}], "
                f"check: {{interval: 50ms, timeout: 1m}}, send_proxy: {{version: {version}{tlvs}}}"
            )
            listeners += f"  {name}: {{bind: '127.0.0.1:{ports[name]}', backend: {{{servers}}}}}\n"
            listeners += f"  {name}-in: {{bind: '127.0.0.1:{ports[f'{name}-in']}', proxy_protocol: true, to: {name}}}\n"
    return run_shared_ferry("listeners:\n" + listeners), ports


@pytest.mark.parametrize("peer", ["haproxy", "nginx"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_servers_know_the_client(sender: tuple[Ferry, dict[str, int]], peer: str, version: str) -> None:
    ferry, ports = sender
    port = ports[f"{peer}-{version}"]
    with Talk(port, source="127.0.0.9") as client:
        own = endpoint(client.sock.getsockname())
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        body = client.answer().body.decode()
    assert body.split()[:2] == [own, f"127.0.0.1:{port}"]
    line = ferry.line(of(f"{peer}-{version}", own))
    if version == "v2":
        assert len(line["unique_id"]) == 32
    if version == "v2" and peer == "haproxy":
        assert body.split()[-1] == line["unique_id"]


@pytest.mark.parametrize("peer", ["haproxy", "nginx"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_came_in_goes_out(sender: tuple[Ferry, dict[str, int]], peer: str, version: str) -> None:
    _, ports = sender
    with Talk(ports[f"{peer}-{version}-in"]) as client:
        header = pp.v2(FROM6, TO6, ((pp.AUTHORITY, b"said.example"), (pp.UNIQUE_ID, b"id-7")))
        client.send(header + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        body = client.answer().body.decode()
    assert body.split()[:2] == ["2001:db8::9:5000", "2001:db8::1:443"]
    if version == "v2" and peer == "haproxy":
        assert body.split()[2:] == ["said.example", "id-7"]


def test_curl_in_front(sender: tuple[Ferry, dict[str, int]]) -> None:
    ferry, ports = sender
    done = run("curl", "-sS", "--haproxy-protocol", f"http://127.0.0.1:{ports['nginx-v1-in']}/")
    assert done.returncode == 0, done.stderr
    client, local = done.stdout.split()
    assert (client.partition(":")[0], local) == ("127.0.0.1", f"127.0.0.1:{ports['nginx-v1-in']}")
    assert ferry.line(of("nginx-v1-in", client))["peer"] == client, "curl tells of itself"


def test_checks_are_no_broken_headers(sender: tuple[Ferry, dict[str, int]], behind: dict[str, Peer]) -> None:
    """The servers are up, by checks that they have nothing to say against."""
    ferry, _ = sender
    for peer in behind:
        for version in ("v1", "v2"):
            until(lambda name=f"{peer}-{version}": ferry.server(name)["status"] == "UP", "a check")  # type: ignore[misc]
    assert "broken header" not in behind["nginx"].log
    assert "PROXY protocol" not in behind["haproxy"].log, behind["haproxy"].log


def test_through_another_proxy_the_header_is_inside_the_tunnel(
    ferry: Ferry, ports: dict[str, int], run_ferry: Callable[..., Ferry], tmp_path: Path
) -> None:
    peer, way = tinyproxy(tmp_path), free_port()
    try:
        first = run_ferry(f"""
listeners:
  way:
    bind: "127.0.0.1:{way}"
    backend:
      servers: "127.0.0.1:{ports["in"]}"
      send_proxy: {{version: v2, tlvs: [unique-id, crc32c]}}
      via: "http://{peer.address}"
""")
        with Talk(way, source="127.0.0.7") as client:
            own = endpoint(client.sock.getsockname())
            client.send(b"all the way")
            assert client.exactly(11) == b"all the way"
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # tinyproxy lingers
        sent, received = first.line(of("way", own)), ferry.line(of("in", own))
        assert received["local"] == f"127.0.0.1:{way}"
        assert received["unique_id"] == sent["unique_id"]
    finally:
        peer.stop()


def test_servers_are_told_of_the_tls_that_ends_here(
    run_ferry: Callable[..., Ferry], authority: Authority, tmp_path: Path
) -> None:
    """A header in front of the client's handshake, and one in front of what was within it."""
    pem, mine = tmp_path / "site.pem", tmp_path / "client.pem"
    pem.write_bytes(authority.ca.issue_cert("www.example.org").private_key_and_cert_chain_pem.bytes())
    shown = authority.ca.issue_cert("client.example.org", common_name="somebody")
    mine.write_bytes(shown.private_key_and_cert_chain_pem.bytes())
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        run_ferry(f"""
listeners:
  web:
    bind: "127.0.0.1:{port}"
    proxy_protocol: true
    tls: {{certificates: {pem}, alpn: http/1.1, clients: {{certificate: required, ca: {authority.file}}}}}
    backend:
      servers: "127.0.0.1:{server.getsockname()[1]}"
      send_proxy: {{version: v2, tlvs: [authority, alpn, cert-cn, ssl-cipher, crc32c]}}
""")
        context = authority.client_context()
        context.load_cert_chain(mine)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(pp.v1(FROM, TO))
            with context.wrap_socket(sock, server_hostname="www.example.org") as client:
                client.sendall(b"within")
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(PATIENCE)
                    data = b""
                    while (found := pp.parse(data)) is None or len(data) < found[1] + 6:
                        data += connection.recv(4096)
                cipher = client.cipher()
    header = found[0]
    assert data[found[1] :] == b"within"
    assert (header.source, header.destination) == (FROM, TO)
    assert dict(header.tlvs)[pp.AUTHORITY] == b"www.example.org"
    assert dict(header.tlvs)[pp.ALPN] == b"http/1.1"
    assert header.ssl is not None
    assert cipher is not None
    assert (header.ssl.client, header.ssl.verify) == (pp.CLIENT_SSL | pp.CLIENT_CERT_CONN | pp.CLIENT_CERT_SESS, 0)
    assert dict(header.ssl.tlvs) == {
        pp.SSL_VERSION: b"TLSv1.3", pp.SSL_CN: b"somebody", pp.SSL_CIPHER: cipher[0].encode()
    }  # fmt: skip
