"""What `ferryman check` says that a listener accepts is what it accepts and nothing else, as openssl finds it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ferry import Ferry, free_port
from pki import Pki
from programs import program, run
from servers import EchoServer

ANY = "ALL:eNULL:@SECLEVEL=0"  # as much as OpenSSL can be made to offer
SUITES = [
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"),
]
GROUPS = ["X25519", "P-256", "P-384", "P-521", "X448", "ffdhe2048", "ffdhe3072"]
VERSIONS = {"TLSv1": "-tls1", "TLSv1.1": "-tls1_1", "TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}

NATIVE = """
global: {{workers: 1}}
listeners:
  ours: {{bind: 127.0.0.1:{ours}, tls: {{certificates: [{rsa}, {ecdsa}]}}, to: echo}}
  ecdsa: {{bind: 127.0.0.1:{only}, tls: {{certificates: {ecdsa}, max_version: "1.2"}}, to: echo}}
  narrow:
    bind: 127.0.0.1:{narrow}
    to: echo
    tls:
      certificates: {rsa}
      ciphers: "ECDHE+AESGCM:AES128-SHA256"
      ciphersuites: TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_SHA256
      groups: P-256:X448
backends:
  echo: {{servers: ["{echo}"]}}
"""
HAPROXY = """
global
    ssl-default-bind-ciphersuites TLS_CHACHA20_POLY1305_SHA256
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen only13
    bind 127.0.0.1:{ours} ssl crt {rsa} ssl-min-ver TLSv1.3 curves X25519:P-384
    server echo {echo}
listen only12
    bind 127.0.0.1:{only} ssl crt {rsa} crt {ecdsa} ssl-max-ver TLSv1.2 ciphers ECDHE-ECDSA-AES256-GCM-SHA384:AES256-SHA
    server echo {echo}
"""


class Site:
    """A running ferryman, and what `ferryman check` says of it, by listener."""

    def __init__(self, run_it: Callable[..., Ferry], folder: Path, name: str, text: str) -> None:
        program("openssl")
        pki, self.echo = Pki(folder), EchoServer()
        ports = {key: free_port() for key in ("ours", "only", "narrow")}
        files = {"rsa": pki.issue("rsa.pem", "front.example", rsa=True), "ecdsa": pki.issue("ec.pem", "front.example")}
        self.ferry = run_it(text.format(**ports, **files, echo=self.echo.address), name)
        command = [sys.executable, "-m", "ferryman", "check", "--json", str(self.ferry.file)]
        report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        self.said: dict[str, dict[str, Any]] = {each["listener"]: each for each in report["tls"]}
        self.ports = dict(zip(self.said, ports.values(), strict=False))

    def agreed(self, listener: str, *options: str) -> str:
        """The cipher that is agreed on; "": there is no connection."""
        address = f"127.0.0.1:{self.ports[listener]}"
        done = run("openssl", "s_client", "-connect", address, "-servername", "front.example", *options)
        found = re.search(r"^New, .*, Cipher is (\S+)", done.stdout, re.MULTILINE)
        return "" if found is None or found[1] == "(NONE)" else found[1]

    def accepted(self, listener: str, options: dict[str, Iterable[str]]) -> set[str]:
        return {name for name, given in options.items() if self.agreed(listener, *given)}


@pytest.fixture(scope="module", params=["native", "haproxy"])
def site(
    request: pytest.FixtureRequest, run_shared_ferry: Callable[..., Ferry], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    name, text = ("haproxy.cfg", HAPROXY) if request.param == "haproxy" else ("ferryman.yaml", NATIVE)
    site = Site(run_shared_ferry, tmp_path_factory.mktemp("pki"), name, text)
    yield site
    site.echo.close()


def test_versions(site: Site) -> None:
    for listener, said in site.said.items():
        options = {name: (option, "-cipher", ANY) for name, option in VERSIONS.items()}
        assert site.accepted(listener, options) == set(said["versions"]), listener


def test_ciphers_of_tls_1_2(site: Site) -> None:
    listed = run("openssl", "ciphers", "-s", "-tls1_2", ANY).stdout.strip().split(":")
    known = [name for name in listed if not re.match("TLS_|.*PSK|.*SRP", name)]
    assert len(known) > 50
    for listener, said in site.said.items():
        for name in said["ciphers"]:
            assert site.agreed(listener, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0") == name, listener
        others = ":".join(name for name in known if name not in said["ciphers"])
        assert site.agreed(listener, "-tls1_2", "-cipher", f"{others}:@SECLEVEL=0") == "", listener


def test_cipher_suites_of_tls_1_3(site: Site) -> None:
    for listener, said in site.said.items():
        options = {name: ("-tls1_3", "-ciphersuites", name) for name in SUITES}
        assert site.accepted(listener, options) == set(said["ciphersuites"]), listener


def test_groups(site: Site) -> None:
    for listener, said in site.said.items():
        version = said["versions"][-1]
        if listener == "ecdsa":
            continue  # of TLS 1.2, whose clients have to name the group of the certificate as well
        # those of the finite fields are for TLS 1.3 alone
        known = GROUPS if version == "TLSv1.3" else GROUPS[:5]
        options = {name: (VERSIONS[version], "-groups", name) for name in known}
        assert site.accepted(listener, options) == set(said["groups"]) & set(known), listener
