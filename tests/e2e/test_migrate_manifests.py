"""What `ferryman migrate manifests` renders, run for real: the files and scripts of the pods of both clusters.

Paths and ports are those of the test, all else is as rendered. stunnel and ferryman take turns at both ends; a proxy
that wants a password is between them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ferry import Ferry, free_port
from programs import Peer, program, tinyproxy

from ferryman.migrate import dvm
from ferryman.migrate.dvm import Volume

DATA = Volume("data", "data")


def manifests(folder: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferryman", "migrate", "manifests", "--from=here", "--to=there", "--pvc=data"]
    return subprocess.run(
        [*command, f"--output={folder}", *options], capture_output=True, text=True, timeout=120, check=check
    )


def objects(path: Path) -> dict[tuple[str, str], Any]:
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(path.read_text())}


class Pods:
    """The client's and the server's files in folders instead of pods."""

    def __init__(self, folder: Path, proxy: Peer) -> None:
        self.folder = folder
        self.port, self.rsync, self.client = free_port(), free_port(), free_port()
        self.source, self.destination = folder / "from", folder / "to"
        options = (
            "--endpoint=clusterip",
            "--host=127.0.0.1",
            "--attempts=1",
            f"--via=http://user:p%61ss@{proxy.address}",
        )
        manifests(folder / "manifests", *options)
        for side in ("source", "destination"):
            self._unpack(side, objects(folder / "manifests" / f"{side}.yaml"))
        for volume in (self.source, self.destination):
            volume.mkdir()

    def _unpack(self, side: str, found: dict[tuple[str, str], Any]) -> None:
        """Every file of a Secret or a ConfigMap, in a folder per side."""
        here = self.folder / side
        here.mkdir()
        for (kind, _), each in found.items():
            for name, text in (each.get("stringData") or each.get("data") or {}).items():
                (here / name).write_text(self._local(side, text))
            if kind == "Pod" and side == "source":
                (here / "script").write_text(self._local(side, each["spec"]["containers"][0]["command"][2]))

    def _local(self, side: str, text: str) -> str:
        for rendered, local in (
            (dvm.CERTIFICATES, str(self.folder / side)),
            ("accept = 127.0.0.1:6443", f"accept = 127.0.0.1:{self.client}"),
            ("accept = 6443", f"accept = 127.0.0.1:{self.port}"),
            ("protocolHost = 127.0.0.1:6443", f"protocolHost = 127.0.0.1:{self.port}"),
            ("127.0.0.1:6443", f"127.0.0.1:{self.client}"),
            ("2222", str(self.rsync)),
            ("/etc/rsyncd-secret", str(self.folder / side)),
            (dvm.folder("here", DATA), str(self.source)),
            (dvm.folder("there", DATA), str(self.destination)),
            ("/run/dvm/done", str(self.folder / "done")),
        ):
            text = text.replace(rendered, local)
        return text

    @contextlib.contextmanager
    def stunnel(self, side: str, who: str) -> Iterator[None]:
        """In the part of stunnel: it or ferryman."""
        file = self.folder / side / "stunnel.conf"
        if who == "ferryman":
            ferry = Ferry(self.folder / f"{side}-ferryman", file.read_text(), "stunnel.conf").wait_ready()
            try:
                yield
            finally:
                ferry.stop()
            return
        (self.folder / f"{side}-stunnel").mkdir()
        port = self.client if side == "source" else self.port
        peer = Peer(self.folder / f"{side}-stunnel", port, [program("stunnel4"), str(file)])
        try:
            yield
        finally:
            peer.stop()

    @contextlib.contextmanager
    def rsyncd(self) -> Iterator[None]:
        file = self.folder / "destination" / "rsyncd.conf"
        (self.folder / "rsyncd").mkdir()
        command = [program("rsync"), "--daemon", "--no-detach", f"--config={file}", "--log-file=/dev/stdout"]
        peer = Peer(self.folder / "rsyncd", self.rsync, command)
        try:
            yield
        finally:
            peer.stop()

    def move(self) -> subprocess.CompletedProcess[str]:
        """The client's script to its end."""
        password = (self.folder / "source" / "RSYNC_PASSWORD").read_text()
        return subprocess.run(
            ["sh", str(self.folder / "source" / "script")],
            env={**os.environ, "RSYNC_PASSWORD": password},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.mark.parametrize(
    ("client", "server"),
    [("stunnel", "stunnel"), ("ferryman", "ferryman"), ("stunnel", "ferryman"), ("ferryman", "stunnel")],
)
def test_a_volume_gets_through(tmp_path: Path, client: str, server: str) -> None:
    proxy = tinyproxy(tmp_path, "BasicAuth user pass")
    try:
        pods = Pods(tmp_path, proxy)
        (pods.source / "file").write_bytes(os.urandom(300_000))
        os.link(pods.source / "file", pods.source / "same")
        (pods.destination / "stale").write_text("gone afterwards")
        with pods.rsyncd(), pods.stunnel("destination", server), pods.stunnel("source", client):
            ended = pods.move()
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert sorted(os.listdir(pods.destination)) == ["file", "same"]
        assert (pods.destination / "file").read_bytes() == (pods.source / "file").read_bytes()
        assert (pods.destination / "file").stat().st_nlink == 2
        assert (tmp_path / "done").exists()
    finally:
        proxy.stop()


def test_keys_that_may_be_in_use_are_not_replaced(tmp_path: Path) -> None:
    options = ("--subdomain=apps.two.example",)
    manifests(tmp_path, *options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}
    again = manifests(tmp_path, *options, check=False)
    assert again.returncode == 1
    assert "destination.yaml" in again.stderr or "source.yaml" in again.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say --subdomain or --host"),
        (("--endpoint=nodeport",), "a nodeport needs --host"),
        (("--host=a.example", "--pvc=No"), "'No' is no name of a claim"),
        (("--host=a.example", "--pvc=twice", "--pvc=twice=other"), "twice is named twice here"),
        (("--host=a.example", "--pvc=a=same", "--pvc=b=same"), "same is named twice there"),
        (("--host=a.example", "--via=https://p.example:443"), "by http:// only, not by https://"),
        (("--host=a.example", "--via=http://[::1]:3128"), "stunnel takes no IPv6 address of a proxy"),
        (("--host=a.example", "--via=http://user@p.example:3128"), "--via: "),
        (("--host=a.example", "--via=p.example:3128"), "write http://p.example:3128"),
        (("--host", "x.example\nexec = /bin/sh"), "--host: a host name with a byte that no name has"),
    ],
)
def test_what_cannot_work_is_not_rendered(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    ended = manifests(tmp_path / "out", *options, check=False)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "out").exists()


def test_the_policies_open_the_way_and_no_more(tmp_path: Path) -> None:
    """Namespaces that allow nothing, with the policies beside: every flow that is needed passes."""
    manifests(tmp_path, "--subdomain=apps.two.example", "--via=http://192.0.2.9:3128")
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for namespace in ("here", "there"):
        metadata = {"name": "nothing", "namespace": namespace}
        policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": closed}
        (tmp_path / f"{namespace}.yaml").write_text(yaml.safe_dump(policy))

    def check(*files: str) -> subprocess.CompletedProcess[str]:
        options = ["--namespace=here", "--to-namespace=there", "--proxy=192.0.2.9:3128", "--plane=fs"]
        paths = [str(tmp_path / file) for file in files]
        command = [sys.executable, "-m", "ferryman", "policy", "check", *options, *paths]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    before = check("here.yaml", "there.yaml")
    assert before.returncode == 3
    assert "DENIED" in before.stdout
    after = check("here.yaml", "there.yaml", "source.yaml", "destination.yaml")
    assert "DENIED" not in after.stdout, after.stdout
    assert after.returncode == 0, after.stdout + after.stderr
