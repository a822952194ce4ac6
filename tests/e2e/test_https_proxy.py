"""Clients that speak TLS with the proxy itself (an "HTTPS proxy"): curl, through a native file and an https_port."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from ferry import PATIENCE, Ferry, free_port
from origin import Origin
from servers import Authority, TlsServer


class Site:
    """A proxy behind TLS that wants credentials, and what is reached through it."""

    def __init__(self, run: Callable[..., Ferry], authority: Authority, folder: Path, dialect: str) -> None:
        self.proxy_ca = trustme.CA()
        self.ca, self.server_ca = str(folder / "proxy-ca.pem"), authority.file
        self.proxy_ca.cert_pem.write_to_path(self.ca)
        certificate = folder / "proxy.pem"
        self.proxy_ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        certificate.chmod(0o600)
        users = folder / "users"
        users.write_text("alice:$apr1$saltsalt$hruEt7ceTY4kjwmzX04DP1\n")
        self.origin = Origin()
        self.server = TlsServer("origin", authority, ["localhost"], host="127.0.0.1")
        self.port = free_port()
        native = f"""
global: {{workers: 1}}
listeners:
  out:
    bind: 127.0.0.1:{self.port}
    tls: {{certificates: {certificate}}}
    connect: {{egress_allow: [127.0.0.1, "::1"], users: {users}}}
"""
        squid = f"""
https_port 127.0.0.1:{self.port} tls-cert={certificate}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}
acl known proxy_auth REQUIRED
http_access allow known
"""
        if dialect == "squid":
            self.ferry = run(squid, "squid.conf")
        else:
            self.ferry = run(native)

    def curl(self, url: str, *options: str, ca: str = "") -> subprocess.CompletedProcess[str]:
        command = ["curl", "-sS", "--max-time", "60", "--proxy", f"https://localhost:{self.port}"]
        command += ["--proxy-cacert", ca or self.ca, "--cacert", self.server_ca, *options, url]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def close(self) -> None:
        self.origin.close()
        self.server.close()


@pytest.fixture(scope="module", params=["native", "squid"])
def site(
    request: pytest.FixtureRequest,
    run_shared_ferry: Callable[..., Ferry],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    site = Site(run_shared_ferry, authority, tmp_path_factory.mktemp("proxy"), request.param)
    yield site
    site.close()


USER = ("--proxy-user", "alice:se:cr:et-väl")


def test_tls_within_tls(site: Site) -> None:
    run = site.curl(f"https://localhost:{site.server.port}/", *USER)
    assert (run.returncode, run.stderr) == (0, "")
    assert "origin" in run.stdout
    line = site.ferry.line(lambda line: line["protocol"] == "connect" and line["user"] == "alice")
    assert line["code"] == "--"


def test_plain_requests(site: Site) -> None:
    run = site.curl(f"http://localhost:{site.origin.port}/say/hello", *USER)
    assert run.returncode == 0, run.stderr
    assert site.ferry.line(lambda line: line["protocol"] == "http")["status"] == 200


def test_credentials_are_asked_for_within_tls(site: Site) -> None:
    run = site.curl(f"https://localhost:{site.server.port}/", "-w", "%{http_connect}")
    assert run.stdout == "407"
    assert site.ferry.line(lambda line: line["status"] == 407)["user"] is None


def test_a_proxy_that_is_not_trusted(site: Site) -> None:
    run = site.curl(f"https://localhost:{site.server.port}/", *USER, ca=site.server_ca)
    assert run.returncode == 60, run.stderr
    assert "certificate" in run.stderr
