"""Record the ClientHellos of the TLS clients on this machine: python tests/unit/wire/record_hellos.py [NAME...]

Writes hellos/NAME.hex: a comment line with the client's version, then the bytes as they came. Run by hand when a client
has changed; the tests read the files, and repeat a few of the recordings where the client is there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("hellos")
HOST = "api.example.org"

CHROMIUM = (
    "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --user-data-dir={scratch}"
)
PYTHON = """
import socket, ssl
context = ssl.create_default_context()
{setup}
with socket.create_connection(("127.0.0.1", {port})) as raw:
    context.wrap_socket(raw, server_hostname="api.example.org")
"""
NODE = (
    'require("tls").connect({host: "127.0.0.1", port: {port}, servername: "api.example.org",'
    ' ALPNProtocols: ["h2", "http/1.1"]}).on("error", () => {})'
)


@dataclass(frozen=True, slots=True)
class Client:
    """One way to make a hello. `{port}` and `{scratch}` (a fresh folder) are filled in before it is run."""

    command: tuple[str, ...]
    sni: str | None = HOST
    alpn: tuple[str, ...] = ()
    version: tuple[str, ...] = ()  # the command that prints the version; the default asks the program

    @property
    def program(self) -> str:
        return self.command[0]


def _openssl(arguments: str, sni: str | None = HOST, alpn: tuple[str, ...] = ()) -> Client:
    return Client(
        ("openssl", "s_client", "-connect", "127.0.0.1:{port}", *arguments.split()), sni, alpn, ("openssl", "version")
    )


def _python(setup: str = "", alpn: tuple[str, ...] = ()) -> Client:
    script = PYTHON.replace("{setup}", setup)
    show = "import platform, ssl; print('Python', platform.python_version(), 'ssl,', ssl.OPENSSL_VERSION)"
    return Client((sys.executable, "-c", script), HOST, alpn, (sys.executable, "-c", show))


def _curl(arguments: str, alpn: tuple[str, ...] = ("h2", "http/1.1")) -> Client:
    command = f"curl -sk --noproxy * --resolve {HOST}:{{port}}:127.0.0.1 {arguments} https://{HOST}:{{port}}/"
    return Client(tuple(command.split()), HOST, alpn)


def _node(program: str) -> Client:
    show = "console.log('Node.js', process.version, 'OpenSSL', process.versions.openssl)"
    return Client((program, "-e", NODE), HOST, ("h2", "http/1.1"), (program, "-e", show))


def _chromium(host: str, sni: str | None) -> Client:
    command = (*CHROMIUM.split(), "--host-resolver-rules=MAP api.example.org 127.0.0.1", f"https://{host}:{{port}}/")
    return Client(command, sni, ("h2", "http/1.1"))


CLIENTS = {
    "curl": _curl(""),
    "curl-http1": _curl("--http1.1", ("http/1.1",)),
    "curl-tls12": _curl("--tls-max 1.2"),
    "openssl": _openssl(f"-servername {HOST}"),
    "openssl-noname": _openssl("-noservername", None),
    "openssl-alpn": _openssl(f"-servername {HOST} -alpn h2,http/1.1,imap", HOST, ("h2", "http/1.1", "imap")),
    "openssl-tls12": _openssl(f"-servername {HOST} -tls1_2"),
    "openssl-tls13": _openssl(f"-servername {HOST} -tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256"),
    "openssl-many-ciphers": _openssl(f"-servername {HOST} -cipher ALL:COMPLEMENTOFALL@SECLEVEL=0"),
    "openssl-p256": _openssl(f"-servername {HOST} -groups P-256:X25519"),
    "openssl-mixed-case": _openssl("-servername API.Example.ORG", "API.Example.ORG"),
    "openssl-noticket": _openssl(f"-servername {HOST} -no_ticket"),
    "python": _python(),
    "python-alpn": _python('context.set_alpn_protocols(["postgresql"])', ("postgresql",)),
    "python-tls12": _python("context.maximum_version = ssl.TLSVersion.TLSv1_2"),
    "wget": Client(("wget", "-q", "-t1", "--no-proxy", "-O", "/dev/null", "https://localhost:{port}/"), "localhost"),
    "node": _node("node"),
    "node-pq": _node(os.environ.get("NODE_PQ", "node-pq")),  # a Node.js with OpenSSL 3.5 or newer
    "chromium": _chromium(HOST, HOST),
    "chromium-again": _chromium(HOST, HOST),  # it shuffles its extensions and its GREASE
    "chromium-address": _chromium("127.0.0.1", None),
}


def record(client: Client, deadline: float = 60.0) -> bytes:
    """Run the client against a socket that never answers and return its first record; `deadline` in seconds.

    Raises FileNotFoundError without the program, TimeoutError if no hello comes, ConnectionError if it is cut short.
    """
    if shutil.which(client.program) is None:
        raise FileNotFoundError(client.program)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        server.settimeout(deadline)
        port = str(server.getsockname()[1])
        command = [part.replace("{port}", port).replace("{scratch}", scratch) for part in client.command]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a browser is many processes
        )
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(deadline)
                return _first_record(connection)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _first_record(connection: socket.socket) -> bytes:
    data = b""
    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
        received = connection.recv(65536)
        if not received:
            raise ConnectionError(f"the client left after {len(data)} bytes")
        data += received
    return data


def version_of(client: Client) -> str:
    """What the client calls itself."""
    asked = client.version or (client.program, "--version")
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    return re.sub(r"\s+", " ", lines[-1] if client.program == "chromium" else lines[0])


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or CLIENTS:
        client = CLIENTS[name]
        try:
            data = record(client)
        except (FileNotFoundError, TimeoutError, ConnectionError) as error:
            print(f"{name}: skipped ({error!r})")
            continue
        text = data.hex()
        lines = [text[at : at + 120] for at in range(0, len(text), 120)]
        (FOLDER / f"{name}.hex").write_text("\n".join([f"# {version_of(client)}", *lines, ""]))
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
