"""HAProxy itself, with the configuration that plans.shop() is the plan of, to compare answers with."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_client import ask

CONFIGURATION = """
global
  maxconn 2000
  node edge-1
  stats socket {folder}/admin.sock level admin
  stats socket {folder}/user.sock level user
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend web
  bind unix@{folder}/web
  maxconn 500
  default_backend app
listen both
  bind unix@{folder}/both
  server s1 127.0.0.1:8005 weight 7 maxconn 100 maxqueue 20
frontend stats
  bind unix@{folder}/stats
  mode http
  http-request use-service prometheus-exporter if {{ path /metrics }}
backend app
  server a1 127.0.0.1:1 check inter 30s fastinter 100ms downinter 100ms
  server a2 127.0.0.1:8002 weight 3 backup
  server a3 127.0.0.1:8003 disabled
"""


@pytest.fixture(scope="session")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running HAProxy: the folder of its sockets. Its server app/a1 is down, as nothing listens there."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    folder = tmp_path_factory.mktemp("haproxy")
    (folder / "haproxy.cfg").write_text(CONFIGURATION.format(folder=folder))
    with subprocess.Popen([program, "-db", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not _down(folder):
                assert process.poll() is None, "HAProxy does not start"
                assert time.monotonic() < deadline, "HAProxy does not come up"
                time.sleep(0.02)
            yield folder
        finally:
            process.kill()


def _down(folder: Path) -> bool:
    try:
        rows = ask(folder / "admin.sock", "show stat\n").splitlines()
        return any(row.startswith("app,a1,") and ",DOWN," in row and ",L4CON," in row for row in rows)
    except (FileNotFoundError, ConnectionError):
        return False
