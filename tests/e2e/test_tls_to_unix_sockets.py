"""TLS with a server at a Unix socket: it is asked for no name, however long its path is."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from ferry import PATIENCE, Ferry, free_port

from ferryman.migrate import certificates


def test_a_long_path_is_no_server_name(tmp_path: Path, run_ferry: Callable[..., Ferry]) -> None:
    made = certificates.make("server")
    (tmp_path / "server.pem").write_text(made.certificate + made.key)
    path = str(tmp_path / ("s" * max(1, 100 - len(str(tmp_path)))))
    asked = list[str | None]()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.sni_callback = lambda sock, name, _: asked.append(name)
    port = free_port()
    config = (
        f'{{listeners: {{l: {{bind: "127.0.0.1:{port}", to: b}}}}, backends: {{b: {{servers: ["unix@{path}"], '
        f"tls: {{fingerprints: [{made.fingerprint}]}}}}}}}}"
    )
    run_ferry(config)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        listening.settimeout(PATIENCE)

        def serve() -> None:
            with context.wrap_socket(listening.accept()[0], server_side=True) as server:
                server.sendall(server.recv(5))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        thread.join(PATIENCE)
    assert asked == [None]
