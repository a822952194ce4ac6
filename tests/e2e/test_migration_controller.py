"""What a MigrationController says of the way of volumes is run: through its proxy, with its credentials, to stunnel.

Port and server are others than a cluster's: 6443 may be taken here, and no route is on port 443.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
from ferry import PATIENCE, Ferry, free_port
from pki import Pki
from servers import EchoServer


@pytest.mark.parametrize(("password", "works"), [("p4ss%77ord", True), ("sesame", False)], ids=["right", "wrong"])
def test_the_client_end(
    password: str, works: bool, run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], tmp_path: Path
) -> None:
    pki = Pki(tmp_path)
    certificate = pki.issue("server.pem", "localhost")
    far = programs.stunnel(tmp_path, "far", f"cert = {certificate}\nconnect = {echo().port}")
    proxy = programs.tinyproxy(tmp_path, "BasicAuth migration p4ssword")
    try:
        port = free_port()
        ferry = run_ferry(
            "kind: MigrationController\nspec:\n  [...]\n"
            f"  stunnel_tcp_proxy: http://migration:{password}@{proxy.address}\n",
            "migration-controller.yaml",
            *("--set", f"listeners.rsync.bind=127.0.0.1:{port}", "--set", f"backends.route.servers={far.address}"),
            environment={"FERRYMAN_ROUTE_HOST": "localhost"},
        )
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(b"hello")
            if works:
                assert sock.recv(100) == b"hello", ferry.log
            else:
                with pytest.raises(ConnectionResetError):
                    sock.recv(100)
                assert "407" in ferry.line()["reason"] or "401" in ferry.line()["reason"], ferry.log
        assert password not in ferry.log
    finally:
        far.stop()
        proxy.stop()
