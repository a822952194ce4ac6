"""`ferryman doctor` finds nothing on paths that are sound, and is quick about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import programs
import pytest
import squid
import trustme
from doctoring import Diagnosis, diagnose, far_end, haproxy, odd, opens, rsync_target, tunnels
from ferry import Ferry, free_port, until
from pki import Pki
from programs import Peer
from trafficserver import TrafficServer

FERRY = """
global: {{workers: 1}}
listeners:
  out:
    bind: 127.0.0.1:{port}
    connect: {{egress_allow: [127.0.0.1, "::1"]}}
"""
BUMPING = "ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert={folder}/operator.pem"
RECORDS = """
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.http.connect_ports STRING *
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 0
"""
ALLOWED = "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n"
SQUIDS: dict[str, tuple[str, list[str]]] = {
    "squid": ("", []),
    "squid that splices all": (BUMPING, ["ssl_bump splice all"]),
    "squid that splices the route and bumps the rest": (
        BUMPING,
        ["acl route dstdomain localhost", "ssl_bump splice route", "ssl_bump bump all"],
    ),
    "squid with Basic": (
        "",
        [
            f"auth_param basic program {squid.HELPERS}/basic_ncsa_auth {{folder}}/passwords",
            "acl known proxy_auth REQUIRED",
            "http_access allow known",
            "http_access deny all",
        ],
    ),
}
PROXIES = [*SQUIDS, "tinyproxy", "traffic server", "haproxy before squid", "ferryman", "a plain one"]
TARGETS = ["stunnel", "ferryman as stunnel", "hitch", "haproxy that ends TLS"]
AS_STUNNEL = """foreground = yes
[rsync]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{daemon}
cert = {certificate}
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with squid.folder() as folder:
        operator = trustme.CA()
        (folder / "operator.pem").write_bytes(operator.cert_pem.bytes() + operator.private_key_pem.bytes())
        (folder / "operator.pem").chmod(0o644)
        made = programs.run("openssl", "passwd", "-apr1", "p@ss word").stdout.strip()
        (folder / "passwords").write_text(f"walter:{made}\n")
        yield folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack) -> Peer:
    folder = tmp_path_factory.mktemp("target")
    peer = rsync_target(folder, Pki(folder), "localhost")
    at_the_end.callback(peer.daemon.stop)  # type: ignore[attr-defined]
    at_the_end.callback(peer.stop)
    return peer


@pytest.fixture(scope="module")
def proxies(
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    at_the_end: ExitStack,
    run_shared_ferry: Callable[..., Ferry],
) -> Callable[[str, int], int]:
    """The port of a proxy of this kind, started once. `target`: for the plain one."""
    running: dict[tuple[str, int], int] = {}

    def start(kind: str, target: int) -> int:
        port = free_port()
        if kind in SQUIDS:
            options, lines = SQUIDS[kind]
            listen = f"http_port 127.0.0.1:{port} {options.format(folder=place)}".rstrip()
            rules = [line.format(folder=place) for line in lines]
            if kind != "squid with Basic":
                rules.insert(0, "http_access allow all")
            here = squid.Squid(place, "\n".join([listen, *rules]), port)
            at_the_end.callback(here.close)
        elif kind == "traffic server":
            running = TrafficServer(
                tmp_path_factory.mktemp("ats") / "ats",
                {"records.config": RECORDS.format(port=port), "ip_allow.yaml": ALLOWED},
            )
            at_the_end.callback(running.close)
            until(lambda: opens(port, target), "it to have read its names")
        elif kind == "haproxy before squid":
            text = f"listen front\n  mode http\n  bind 127.0.0.1:{port}\n  server squid 127.0.0.1:{once('squid', 0)}\n"
            at_the_end.callback(haproxy(tmp_path_factory.mktemp("haproxy"), port, text).stop)
        elif kind == "tinyproxy":
            peer = programs.tinyproxy(tmp_path_factory.mktemp("tinyproxy"))
            at_the_end.callback(peer.stop)
            return peer.port
        elif kind == "ferryman":
            run_shared_ferry(FERRY.format(port=port))
        else:
            return at_the_end.enter_context(odd(tunnels(target)))
        return port

    def once(kind: str, target: int) -> int:
        key = (kind, target if kind == "a plain one" else 0)
        if key not in running:
            running[key] = start(kind, target)
        return running[key]

    return once


def sound(found: Diagnosis) -> None:
    assert found.codes == set(), found.output
    assert found.exit_code == 0
    assert found.data["carries"] == "yes"


def through(kind: str, port: int) -> list[str]:
    return ["--via", f"http://{'walter:p%40ss%20word@' if kind == 'squid with Basic' else ''}127.0.0.1:{port}"]


@pytest.mark.parametrize("kind", ["", *PROXIES])
def test_nothing_is_found_on_the_way_to_rsync(
    kind: str, target: Peer, proxies: Callable[[str, int], int], tmp_path: Path
) -> None:
    via = through(kind, proxies(kind, target.port)) if kind else []
    for expect in ([], ["--expect-cert", target.certificate], ["--no-direct"]):  # type: ignore[attr-defined]
        found = diagnose(f"localhost:{target.port}", *via, *expect)
        sound(found)
        assert found.row("rsync")["state"] == "ok"
        if expect != ["--no-direct"] and (kind or expect):
            assert found.row("tls")["state"] == "ok"


@pytest.mark.parametrize("kind", TARGETS)
def test_nothing_is_found_at_whoever_ends_tls_for_rsync(
    kind: str, proxies: Callable[[str, int], int], tmp_path: Path, run_ferry: Callable[..., Ferry]
) -> None:
    (tmp_path / "module").mkdir()
    certificate, port = Pki(tmp_path).issue("target.pem", "localhost"), free_port()
    with ExitStack() as stack:
        daemon = programs.rsyncd(tmp_path, str(tmp_path / "module"))
        stack.callback(daemon.stop)
        if kind == "stunnel":
            peer = programs.stunnel(tmp_path, "end", f"connect = {daemon.address}\ncert = {certificate}")
            stack.callback(peer.stop)
            port = peer.port
        elif kind == "ferryman as stunnel":
            text = AS_STUNNEL.format(port=port, daemon=daemon.port, certificate=certificate)
            run_ferry(text, "stunnel.conf")
        elif kind == "hitch":
            path, here = programs.program("hitch"), tmp_path / "hitch"
            here.mkdir()
            where = [f"--frontend=[127.0.0.1]:{port}", f"--backend=[127.0.0.1]:{daemon.port}"]
            stack.callback(Peer(here, port, [path, *where, "--user=nobody", certificate]).stop)
        else:
            head = f"listen end\n  mode tcp\n  bind 127.0.0.1:{port} ssl crt {certificate}\n"
            stack.callback(haproxy(tmp_path, port, f"{head}  server rsync {daemon.address}\n").stop)
        found = diagnose(
            f"localhost:{port}", "--expect-cert", certificate, "--via", f"http://127.0.0.1:{proxies('squid', 0)}"
        )
    sound(found)
    assert found.row("rsync")["state"] == "ok"


@pytest.mark.parametrize("kind", ["", *PROXIES])
def test_nothing_is_found_with_the_far_ends_help(kind: str, proxies: Callable[[str, int], int]) -> None:
    with far_end() as end:
        via = through(kind, proxies(kind, end.port)) if kind else []
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), *via)
    sound(found)
    probes = ["far end", "server name", "bytes", "server first", "half-close", "rsync", "tls"]
    assert [probe for probe in probes if found.row(probe)["state"] != "ok"] == [], found.output
    assert "tls-unique is the same at both ends" in found.row("far end")["said"]


@pytest.mark.parametrize("kind", ["", "squid", "ferryman"])
@pytest.mark.parametrize("declared", [True, False])
def test_nothing_is_found_behind_a_router(
    kind: str, declared: bool, proxies: Callable[[str, int], int], tmp_path: Path
) -> None:
    port = free_port()
    with far_end(("localhost", port) if declared else None) as end:
        router = haproxy(
            tmp_path,
            port,
            f"""
listen router
  mode tcp
  bind 127.0.0.1:{port}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  tcp-request content reject
  use_backend far if {{ req.ssl_sni -i localhost }}
backend far
  mode tcp
  server far 127.0.0.1:{end.port}
""",
        )
        try:
            via = ["--via", f"http://127.0.0.1:{proxies(kind, port)}"] if kind else []
            found = diagnose(f"localhost:{port}", "--far-end", end.token.text(), *via)
        finally:
            router.stop()
    sound(found)
    assert found.row("far end")["state"] == "ok"
    assert found.row("bytes")["state"] != "ok"


def test_a_whole_table_takes_less_than_two_seconds(proxies: Callable[[str, int], int]) -> None:
    with far_end() as end:
        via = f"http://127.0.0.1:{proxies('squid', end.port)}"
        api = ["--control", f"https://127.0.0.1:{end.port}"]
        command = [f"localhost:{end.port}", "--far-end", end.token.text(), "--via", via, *api]
        found = diagnose(*command)
        sound(found)
        if found.data["seconds"] >= 2:  # a busy machine has a quiet moment at some time
            until(lambda: diagnose(*command).data["seconds"] < 2, "a table within two seconds")
    assert [row["probe"] for row in found.data["checks"] if row["state"] == "skipped"] == [
        "ports",
        "throughput",
        "idle",
    ]


def test_silence_is_survived() -> None:
    with far_end() as end:
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), "--idle", "0.5,1")
    sound(found)
    assert [row["state"] for row in found.data["checks"] if row["probe"] == "idle"] == ["ok", "ok"]


@pytest.mark.parametrize("kind", ["", "squid", "ferryman"])
def test_a_far_end_that_reads_slowly_is_survived(kind: str, proxies: Callable[[str, int], int]) -> None:
    with far_end() as end:
        via = through(kind, proxies(kind, end.port)) if kind else []
        found = diagnose(f"localhost:{end.port}", "--far-end", end.token.text(), *via, "--throughput", "4")
    sound(found)
    row = found.row("throughput")
    assert row["state"] == "ok", found.output
    assert float(row["evidence"]["rate"].removesuffix(" MB/s")) > 0
    assert float(row["evidence"]["sent meanwhile"].removesuffix(" MB")) >= 4


V6 = ["squid", "tinyproxy", "ferryman"]


@pytest.mark.parametrize("kind", V6)
def test_a_proxy_and_a_target_that_have_ipv6_addresses(
    kind: str, place: Path, tmp_path: Path, run_ferry: Callable[..., Ferry]
) -> None:
    port = free_port("::1")
    with ExitStack() as stack:
        if kind == "squid":
            text = f"http_port [::1]:{port}\nhttp_port 127.0.0.1:{port}\nhttp_access allow all"
            stack.callback(squid.Squid(place, text, port).close)
        elif kind == "tinyproxy":
            peer = programs.tinyproxy(tmp_path, "Listen ::1", "Allow ::1")
            stack.callback(peer.stop)
            port = peer.port
        else:
            text = f'listeners: {{out: {{bind: "[::1]:{port}", connect: {{egress_allow: ["::1"]}}}}}}\n'
            run_ferry(f"global: {{workers: 1}}\n{text}")
        end = stack.enter_context(far_end(host="::1"))
        found = diagnose(f"[::1]:{end.port}", "--far-end", end.token.text(), "--via", f"http://[::1]:{port}")
        nobody = diagnose(f"[::1]:{end.port}", "--via", f"http://[::1]:{free_port('::1')}")
    sound(found)
    assert found.data["path"] == f"[::1]:{end.port} through http://[::1]:{port}"
    assert f"[::1]:{port}" in found.row("reach")["said"]
    assert nobody.codes == {"NO_PROXY_LISTENER"}
