"""The first crossing: IPv4 clients, routed by SNI, to IPv6 servers, by the file as it stands, moved to loopback."""

from __future__ import annotations

import base64
import json
import re
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from ferry import Ferry, free_port, until
from servers import Authority, TlsServer

pytestmark = pytest.mark.twin

SEED = Path(__file__).parents[1] / "golden" / "haproxy" / "cluster.cfg"
NAME = "ocp-disconnected.fede.ipv6.lab"


Crossing = tuple[Ferry, int, int, list[TlsServer]]
"""ferryman on the seed's file; the front port, the stats port, the three servers."""


@pytest.fixture(scope="module")
def crossing(
    run_shared_ferry: Callable[..., Ferry],
    authority: Authority,
    at_the_end: ExitStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Crossing:
    servers = [TlsServer(f"master{number}", authority, (NAME, "api.example.org")) for number in range(3)]
    for server in servers:
        at_the_end.callback(server.close)
    tmp_path, front, stats = tmp_path_factory.mktemp("crossing"), free_port(), free_port()
    text = SEED.read_text()
    text = text.replace("bind *:6443", f"bind 127.0.0.1:{front}").replace("bind *:50000", f"bind 127.0.0.1:{stats}")
    for number, server in enumerate(servers):
        # the seed's form: an IPv6 address without brackets, the port after the last colon
        text = text.replace(f"2620:52:0:1305::10{number}:6443", f"::1:{server.port}")
    (tmp_path / "runtime").mkdir()
    ferry = run_shared_ferry(
        text,
        "haproxy.cfg",
        *("--set", f"global.pidfile={tmp_path}/pid"),
        *("--set", "global.chroot=", "--set", "global.user=", "--set", "global.group="),
        *("--set", f"global.runtime_sockets.0.address={tmp_path}/runtime/stats"),
        *("--set", "global.log=stderr", "--set", "listeners.main6443.log=stdout"),
    )
    return ferry, front, stats, servers


def curl(authority: Authority, port: int, name: str, source: str = "127.0.0.1") -> str:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [
            *("curl", "-sS", "--max-time", "60", "--cacert", authority.file, "--interface", source),
            *("--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_curl_crosses_and_stays_with_its_server(crossing: Crossing, authority: Authority) -> None:
    ferry, front, _, _ = crossing
    first = curl(authority, front, NAME)
    assert first.startswith("master")
    assert {curl(authority, front, NAME) for _ in range(4)} == {first}, "balance source"
    by_client = {curl(authority, front, NAME, f"127.0.0.{number}") for number in range(2, 8)}
    assert len(by_client) == 3, "other clients are spread over all servers"
    until(lambda: f"capture0: {NAME}" in ferry.log, "the seed's log line")


def test_openssl_sees_the_servers_own_certificate(crossing: Crossing, authority: Authority) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    _, front, _, servers = crossing
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{front}", "-servername", NAME]
    command += ["-CAfile", authority.file, "-verify_return_error"]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert "Verification: OK" in done.stdout
    through = re.search(r"-----BEGIN.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
    assert through is not None
    own = {ssl.get_server_certificate(("::1", server.port)).strip() for server in servers}
    assert through.group(0) in own, "TLS was not opened"


def test_the_stats_page_wants_the_seeds_password(crossing: Crossing) -> None:
    _, _, stats, _ = crossing
    url = f"http://127.0.0.1:{stats}/stats"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url)
    assert refused.value.code == 401
    refused.value.close()
    allowed = {"Authorization": "Basic " + base64.b64encode(b"admin:password").decode()}
    with urllib.request.urlopen(urllib.request.Request(url, headers=allowed)) as page:
        text = page.read().decode()
        assert page.headers["Refresh"].startswith("10")
    assert "cluster0-master1" in text
    with urllib.request.urlopen(urllib.request.Request(url + ";csv", headers=allowed)) as table:
        assert table.read().decode().startswith("# pxname,svname,")


def test_status_counts_what_crossed(crossing: Crossing, authority: Authority) -> None:
    ferry, front, _, _ = crossing

    def counts() -> dict[str, int]:
        until(lambda: ferry.listener("main6443")["counts"]["sessions_now"] == 0, "the connections to end")
        return dict(ferry.listener("main6443")["counts"])

    before = counts()
    for _ in range(3):
        curl(authority, front, NAME)
    after = counts()
    added = {name: after[name] - before[name] for name in ("sessions", "hellos", "bytes_in", "bytes_out")}
    assert (added["sessions"], added["hellos"]) == (3, 3)
    assert added["bytes_in"] > 3 * 500
    assert added["bytes_out"] > 3 * 500
    assert json.dumps(ferry.status())


def test_a_server_that_goes_is_noticed_and_the_traffic_moves(crossing: Crossing, authority: Authority) -> None:
    ferry, front, _, servers = crossing
    until(lambda: ferry.server("cluster0-master0")["status"].startswith("UP"), "the first checks")
    name = curl(authority, front, NAME)
    number = int(name[-1])
    servers[number].close()
    # at once: the connection is refused, retried, and redispatched to another server
    other = curl(authority, front, NAME)
    assert other != name
    until(lambda: ferry.server(f"cluster0-{name}")["status"] == "DOWN", "the checks to find it down")
    assert curl(authority, front, NAME) not in ("", name)
    assert f"Server cluster0-6443/cluster0-{name} is DOWN" in ferry.log
