"""`ferryman doctor` as a user calls it: another process, passwords kept, mistakes named, a network that is closed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from doctoring import diagnose, far_end, odd, tunnels
from ferry import PATIENCE
from namespaces import SITE, Network, demand

from ferryman.cli.main import main

FERRYMAN = [sys.executable, "-m", "ferryman"]
WANTED = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"


def test_both_ends_in_processes_of_their_own() -> None:
    serve = subprocess.Popen(
        [*FERRYMAN, "doctor", "serve", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert serve.stdout is not None
        token = serve.stdout.readline().strip()
        assert token.startswith("ferryman-doctor-1.")
        done = subprocess.run(
            [*FERRYMAN, "doctor", "--far-end", token], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the ClientHello arrived untouched (TLS 1.2 and 1.3)" in done.stdout
        assert "nothing found that would keep it from carrying a migration" in done.stdout
        serve.send_signal(signal.SIGINT)
        _, said = serve.communicate(timeout=PATIENCE)
    finally:
        serve.kill()
        serve.wait(PATIENCE)
    assert serve.returncode == 0
    assert "was told of its ClientHello, in TLSv1.3" in said
    assert token.split(".")[1] not in said


@pytest.mark.parametrize("how", ["url", "environment", "file"])
def test_the_password_comes_by_three_ways_and_is_never_shown(how: str, tmp_path: Path) -> None:
    def refuse(head: str) -> str:
        return "" if "basic d2FsdGVyOnBAeCA3" in head else WANTED  # walter:p@x 7

    (tmp_path / "password").write_text("p@x 7\n")
    with far_end() as end, odd(tunnels(end.port, refuse)) as port:
        user = "walter:p%40x%207" if how == "url" else "walter"
        more = ["--via-password-file", str(tmp_path / "password")] if how == "file" else []
        environment = {"FERRYMAN_PROXY_PASSWORD": "p@x 7"} if how == "environment" else {}
        via = f"http://{user}@127.0.0.1:{port}"
        found = diagnose(
            f"127.0.0.1:{end.port}", "--far-end", end.token.text(), "--via", via, *more, environment=environment
        )
    assert found.codes == set()
    assert found.row("connect")["said"].startswith("200 with 'basic' credentials")
    for secret in ("p@x", "p%40x", "d2FsdGVyOnBAeCA3", end.token.text()):
        assert secret not in found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json"], "say which TARGET"),
        (["dvm.test:0"], "a port that is no number"),
        (["https://dvm.test"], "a URI where host:port belongs"),
        (["dvm.test", "--via", "proxy:3128"], "begins with its scheme"),
        (["dvm.test", "--via", "http://proxy"], "the URL says no port"),
        (["dvm.test", "--via", "http://user:p%zz@proxy:3128"], "write a plain % as %25"),
        (["dvm.test", "--via", "http://user@proxy:3128"], "a user without a password"),
        (["dvm.test", "--via", "socks5://proxy:1080"], "know CONNECT"),
        (["dvm.test", "--expect-cert", "no-such-file"], "cannot read no-such-file"),
        (["dvm.test", "--expect-cert", os.devnull], "there is no certificate in it"),
        (["dvm.test", "--far-end", "x"], "a token begins with"),
        (["dvm.test", "--idle", "20,x"], "write seconds"),
        (["dvm.test", "--idle", "1e9"], "at most a day"),
        (["dvm.test", "--key", "k"], "--key without --cert"),
        (["dvm.test", "--control-exec", "a/b"], "without --control"),
        (["dvm.test", "--control", "http://api:6443"], "write https://"),
        (["dvm.test", "--control", "api", "--control-exec", "velero"], "namespace/pod"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(arguments: list[str], said: str) -> None:
    called = CliRunner().invoke(main, ["doctor", *arguments])
    assert called.exit_code == 2
    assert said in called.output


def test_a_finding_as_people_read_it() -> None:
    with odd(tunnels(1, lambda head: WANTED)) as port:
        called = CliRunner().invoke(main, ["doctor", "dvm.test", "--via", f"http://127.0.0.1:{port}"])
    assert called.exit_code == 1
    lines = called.output.splitlines()
    assert lines[0] == f"dvm.test:443 through http://127.0.0.1:{port}:"
    assert "  error     connect       CREDENTIALS_NEEDED: it wants credentials (Basic) and none were given" in lines
    assert any("At fault: credentials." in line for line in lines)
    assert lines[-1].startswith("1 error: it will not carry a migration")


def test_a_network_that_drops_and_one_that_refuses() -> None:
    demand()
    with Network() as network:
        network.ip(network.router, "route add blackhole 192.0.2.0/25")
        network.ip(network.router, "route add unreachable 192.0.2.128/25")
        found = {}
        for address in ("192.0.2.1", "192.0.2.129", SITE[4]):
            command = [*FERRYMAN, "doctor", "dvm.test", "--via", f"http://{address}:3128", "--timeout", "2", "--json"]
            done = network.run(network.client, *command)
            rows = json.loads(done.stdout)["checks"]
            found[address] = [row["code"] for row in rows if "code" in row]
    assert found == {
        "192.0.2.1": ["EGRESS_DROPPED"],
        "192.0.2.129": ["NO_ROUTE"],
        SITE[4]: ["NO_PROXY_LISTENER"],
    }
