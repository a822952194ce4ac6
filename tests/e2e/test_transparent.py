"""Clients that do not know of the proxy, servers that see the clients: three machines, rules made by ferryman itself.

The configuration is the one of docs/guides/transparent.md.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry
from namespaces import CLIENT, ROUTER, SITE, Network, demand

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "transparent.md"
NOBODY = 65534
CAP_NET_RAW = 1 << 13

Listening = dict[tuple[int, int], socket.socket]


def example() -> str:
    found = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def redirecting() -> str:
    """The same, by the other method, and with an address of the router's own."""
    text = example().replace("transparent: tproxy", "transparent: redirect").replace("8443", "8080")
    text = text.replace("7:443", "7:80").replace("]:443", "]:80").replace("source: client", "source: {interface: wan}")
    return text.replace("  user: nobody", "  workers: 1")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    demand()
    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def site(network: Network) -> Listening:
    """The site's ports: 443 and 80 are intercepted, 22 is not."""
    return network.listen([443, 80, 22])


@pytest.fixture(scope="module")
def ferry(network: Network, site: Listening, run_shared_ferry: Callable[..., Ferry]) -> Ferry:
    return run_shared_ferry(example(), prefix=("ip", "netns", "exec", network.router))


@pytest.fixture
def ruled(network: Network, ferry: Ferry) -> Iterator[Callable[..., str]]:
    """`ferryman transparent` on the router; what it installed is gone afterwards."""

    def transparent(*arguments: str, code: int = 0) -> str:
        ended = network.run(network.router, sys.executable, "-m", "ferryman", "transparent", *arguments)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    yield transparent
    transparent("clear", "--apply")
    assert untouched(network)


def untouched(network: Network) -> bool:
    """Is nothing of ours in the router's kernel?"""
    rules = network.run(network.router, "nft", "list", "ruleset").stdout
    routing = network.ip(network.router, "rule show") + network.ip(network.router, "-6 rule show")
    routes = network.ip(network.router, "route show table all") + network.ip(network.router, "-6 route show table all")
    return rules == "" and "fwmark" not in routing and " 102 " not in routes and " 26213 " not in routes


def name(sock: socket.socket) -> str:
    """As the log has it."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def talk(network: Network, listening: socket.socket, host: str, port: int) -> tuple[str, str, str]:
    """The client says something and gets it back; who the server saw, who the client did, and who the client is."""
    with network.connect(host, port) as client:
        own = name(client)
        near = client.getpeername()[0]
        accepted, peer = listening.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            for size in (5, 100_000):
                data = b"x" * size
                client.sendall(data)
                got = b""
                while len(got) < size:
                    got += accepted.recv(size - len(got))
                accepted.sendall(got)
                back = b""
                while len(back) < size:
                    back += client.recv(size - len(back))
                assert back == data
        return peer[0], near, own


def packets(shown: str, what: str) -> int:
    found = re.search(rf"{what} #\w+, (\d+) packets", shown)
    assert found is not None, shown
    return int(found[1])


@pytest.mark.twin
def test_tproxy_in_and_the_client_s_address_out(
    network: Network, site: Listening, ferry: Ferry, ruled: Callable[..., str]
) -> None:
    arguments = ("--ports", "443", str(ferry.file))
    assert ruled("setup", *arguments, "--apply") == "installed\n"
    assert ruled("setup", *arguments, "--apply") == "it was installed already\n"
    for version in (4, 6):
        seen, near, own = talk(network, site[version, 443], SITE[version], 443)
        assert seen == CLIENT[version], "the server sees the client"
        assert near == SITE[version], "the client sees the server"
        line = ferry.line(lambda line, own=own: line["client"] == own)  # type: ignore[misc]
        shown = f"[{SITE[version]}]" if version == 6 else SITE[version]
        assert line["original"] == line["local"] == f"{shown}:443"
        assert own.rpartition(":")[0].strip("[]") == CLIENT[version]
        assert line["backend"] == f"site{version}"
        counted = ruled("show", *arguments)
        assert "all is as it should be" in counted
        assert packets(counted, f"tproxy ipv{version} to web") >= 1, "the client's SYN"
        assert packets(counted, "connections that ferryman has") >= 4, "what followed, and the server's answers"
        if version == 4:
            assert packets(counted, "tproxy ipv6 to web") == 0


def test_what_is_not_to_be_intercepted_is_forwarded(
    network: Network, site: Listening, ferry: Ferry, ruled: Callable[..., str]
) -> None:
    before = len(ferry.lines())
    setup = ("setup", "--ports", "443", "--apply", str(ferry.file))
    spared = ("--except", f"{SITE[4]}/32", "--except", f"{SITE[6]}/128")
    for options, port in (((), 22), (spared, 443), (("--interface", "wan"), 443)):
        ruled(*setup, *options)
        for version in (4, 6):
            assert talk(network, site[version, port], SITE[version], port)[0] == CLIENT[version]
    assert ferry.lines()[before:] == [], "ferryman saw none of it"


def test_who_calls_the_listener_itself_is_led_nowhere(
    network: Network, ferry: Ferry, ruled: Callable[..., str]
) -> None:
    ruled("setup", "--ports", "443", "--apply", str(ferry.file))
    for version in (4, 6):
        with network.connect(ROUTER[version], 8443) as client:
            own = name(client)
            assert client.recv(1) == b""
        line = ferry.line(lambda line, own=own: line["client"] == own)  # type: ignore[misc]
        assert "original" not in line
        assert line["backend"] is None


@pytest.mark.twin
def test_redirect_in(
    network: Network, site: Listening, run_ferry: Callable[..., Ferry], ruled: Callable[..., str]
) -> None:
    ferry = run_ferry(redirecting(), prefix=("ip", "netns", "exec", network.router))
    assert ruled("setup", "--ports", "80", "--apply", str(ferry.file)) == "installed\n"
    for version, router in ((4, "10.81.2.1"), (6, "fd81:2::1")):
        seen, near, _ = talk(network, site[version, 80], SITE[version], 80)
        assert seen == router, "the server sees the router"
        assert near == SITE[version], "the client sees the server"
        wanted = f"{SITE[4]}:80" if version == 4 else f"[{SITE[6]}]:80"
        line = ferry.line(lambda line, wanted=wanted: line.get("original") == wanted)  # type: ignore[misc]
        assert line["local"].endswith(":8080")
        with network.connect(ROUTER[version], 8080) as client:
            assert client.recv(1) == b""
    assert "original" not in ferry.line(lambda line: line["backend"] is None)
    shown = ruled("show", "--ports", "80", str(ferry.file))
    assert packets(shown, "redirect ipv4 to web") == packets(shown, "redirect ipv6 to web") == 1


def test_workers_keep_the_one_right_that_they_need(ferry: Ferry) -> None:
    for worker in ferry.workers():
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
        assert status["Uid"].split()[0] == str(NOBODY)
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == CAP_NET_RAW


def test_without_the_right_the_start_is_refused_by_name(network: Network, tmp_path: Path) -> None:
    file = tmp_path / "ferryman.yaml"
    file.write_text(example().replace("user: nobody", "workers: 1"))
    dropped = ("setpriv", "--bounding-set", "-net_raw,-net_admin", sys.executable, "-m", "ferryman", "run", str(file))
    ended = network.run(network.router, *dropped)
    assert ended.returncode == 1
    assert "listener web takes connections to other machines, which needs CAP_NET_RAW or CAP_NET_ADMIN" in ended.stderr
    assert "backend site4 connects from addresses of other machines" in ended.stderr


def test_when_a_step_fails_the_earlier_ones_are_undone(
    network: Network, ferry: Ferry, ruled: Callable[..., str]
) -> None:
    """A route of IPv6 needs the loopback interface, which is down; all of IPv4 was there already."""
    network.ip(network.router, "link set lo down")
    try:
        said = ruled("setup", "--ports", "443", "--apply", str(ferry.file), code=1)
        assert "ip -6 route add local default dev lo table 26213 protocol 102: " in said
        assert untouched(network)
    finally:
        network.ip(network.router, "link set lo up")


def test_clearing_leaves_what_others_made(network: Network, ferry: Ferry, ruled: Callable[..., str]) -> None:
    others = "table inet other {\n\tchain c {\n\t}\n}\n"
    network.ip(network.router, "rule add priority 1027 fwmark 0x7 lookup 99")
    network.run(network.router, "nft", "add", "table", "inet", "other")
    try:
        ruled("setup", "--ports", "443", "--apply", str(ferry.file))
        assert "missing: rule" in ruled("show", "--ports", "444", str(ferry.file), code=1)
        assert "nft delete table inet ferryman" in ruled("clear", "--apply")
        assert network.run(network.router, "nft", "list", "ruleset").stdout.split()[:3] == others.split()[:3]
        assert "fwmark 0x7" in network.ip(network.router, "rule show")
    finally:
        network.ip(network.router, "rule del priority 1027")
        network.run(network.router, "nft", "delete", "table", "inet", "other")
