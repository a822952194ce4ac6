"""The same sni.yaml and its companions, the same clients, the same outcome: each case is played to Traffic Server 9.2
and to ferryman.

The table, with what an outcome is and where and why those of ferryman are others, is trafficserver_cases.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trafficserver
import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID
from ferry import PATIENCE, Ferry, free_port, until
from programs import program
from trafficserver_cases import SETTINGS, Case, Setting

pytestmark = pytest.mark.xdist_group("same_outcome_as_trafficserver")

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Origin:
    """Speaks TLS with those who do, and says who it is and what it was asked for."""

    def __init__(self, name: str, certificate: Path, ca: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self._name = name
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.load_verify_locations(ca)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        self._asked: dict[int, str] = {}
        self._context.sni_callback = lambda sock, name, context: self._asked.update({id(sock): name or "-"})
        self._socket = socket.create_server((host, port))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError), connection:
            first = connection.recv(1, socket.MSG_PEEK)
            if first == b"\x16":
                self._secure(connection)
            elif first:
                connection.recv(4096)
                connection.sendall(f"{self._name} plain\n".encode())

    def _secure(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            tls.do_handshake()
            shown = tls.getpeercert(binary_form=True)
            asked = self._asked.pop(id(tls), "-")
            tls.recv(4096)
            words = (self._name, "tls", asked, tls.selected_alpn_protocol() or "-", owner(shown) if shown else "-")
            tls.sendall(f"{' '.join(words)}\n".encode())
            tls.unwrap()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def owner(certificate: bytes) -> str:
    """The common name in a certificate."""
    subject = x509.load_der_x509_certificate(certificate).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all certificates, each with its key; `stranger` and `second` are of another CA."""
    trafficserver.need()
    folder = tmp_path_factory.mktemp("site")
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, authority, hosts in (
        ("first", ca, ["first.test"]),
        ("second", other, ["second.test"]),
        ("fifth", ca, ["fifth.test"]),
        ("default", ca, ["default.test"]),
        ("alpha", ca, ["alpha.test", "*.alpha.test"]),
        ("client", ca, ["client.test"]),
        ("stranger", other, ["stranger.test"]),
    ):
        certificate = authority.issue_cert(*hosts, common_name=name)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    return folder


@pytest.fixture(scope="module")
def world(site: Path) -> Iterator[dict[str, str]]:
    """What the braces stand for, but for ports of the proxy."""
    origins = {name: Origin(name, site / f"{name}.pem", site / "ca.pem") for name in ("first", "second")}
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        ports = {name: str(origin.port) for name, origin in origins.items()}
        yield {**ports, "dead": str(dead.getsockname()[1]), "folder": str(site)}
    for origin in origins.values():
        origin.close()


def files(setting: Setting, words: dict[str, str]) -> dict[str, str]:
    """A setting's files by name."""
    found = {
        "sni.yaml": setting.sni,
        "records.config": f"CONFIG proxy.config.http.server_ports STRING {setting.ports}\n"
        "CONFIG proxy.config.admin.user_id STRING #-1\n"
        "CONFIG proxy.config.ssl.server.cert.path STRING {folder}\n"
        f"CONFIG proxy.config.ssl.server.private_key.path STRING {{folder}}\n{setting.records}",
        "ssl_multicert.config": setting.multicert,
        "ip_allow.yaml": setting.ip_allow,
    }
    for name, text in found.items():
        for word, value in words.items():
            text = text.replace(f"{{{word}}}", value)
        found[name] = text
    return found


def alert(error: ssl.SSLError) -> str:
    """The alert that was sent, or that the connection just ended."""
    text = (error.reason or str(error)).lower().replace(" ", "_")
    if "wrong_version_number" in text:
        return "nonsense"
    found = re.search(r"(?:tls|ssl)v\d+_(?:alert_)?([a-z_]*[a-z])", text)
    return f"alert {found[1]}" if found else "closed"


def seen(case: Case, site: Path, port: int) -> str:
    """The outcome."""
    if case.odd:
        return seen_by_openssl(case, port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if case.alpn:
        context.set_alpn_protocols(list(case.alpn))
    if case.version:
        context.minimum_version = context.maximum_version = VERSIONS[case.version]
    if case.shows:
        context.load_cert_chain(site / f"{case.shows}.pem")
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE, (f"127.0.0.{case.source}", 0)) as raw:
            raw.sendall(case.header.encode())
            if case.plain:
                raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return "closed" if not raw.recv(4096) else "an answer"
            with context.wrap_socket(raw, server_hostname=case.sni or None, do_handshake_on_connect=False) as sock:
                sock.do_handshake()
                return f"{terms(case, sock)}: {answer(sock)}"
    except ssl.SSLError as error:
        return alert(error)
    except OSError as error:
        return "silence" if isinstance(error, TimeoutError) else "closed"


def terms(case: Case, sock: ssl.SSLSocket) -> str:
    """Whose certificate it is, and if a case asks for it, what was agreed on."""
    name = owner(sock.getpeercert(binary_form=True) or b"")
    version = (sock.version() or "").removeprefix("TLSv")
    return f"{name} {version} {sock.selected_alpn_protocol() or '-'}" if case.agreed else name


def answer(sock: ssl.SSLSocket) -> str:
    try:
        sock.sendall(b"hello\n")
        line = sock.recv(4096).decode().partition("\n")[0].strip()
    except OSError as error:  # an alert may come, or be lost when what was said meets a closed connection
        return "silence" if isinstance(error, TimeoutError) else "closed"
    return "http" if line.startswith(("HTTP/", "<")) else line or "closed"


def seen_by_openssl(case: Case, port: int) -> str:
    """The outcome for a name that Python does not ask for."""
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", case.sni, "-quiet"]
    done = subprocess.run(command, input=b"hello\n", capture_output=True, timeout=PATIENCE, check=False)
    subject = next((line for line in done.stderr.decode().splitlines()[::-1] if "CN = " in line), "CN = nobody")
    return f"{subject.rpartition('CN = ')[2]}: {done.stdout.decode().strip() or 'closed'}"


def played(setting: Setting, site: Path, port: int) -> list[str]:
    beside = Origin("fifth", site / "fifth.pem", site / "ca.pem", "127.0.0.5", port)
    with contextlib.closing(beside), ThreadPoolExecutor(6) as clients:
        outcomes = clients.map(lambda case: seen(case, site, port), setting.cases)
        return [f"{case}: {outcome}" for case, outcome in zip(setting.cases, outcomes, strict=True)]


@pytest.fixture(scope="module")
def ferry(site: Path, run_shared_ferry: Callable[..., Ferry]) -> Ferry:
    """One for all settings, which reach it by a reload: that is quicker than a start."""
    return run_shared_ferry(f"listeners: {{first: {{bind: '127.0.0.1:{free_port()}', servers: '127.0.0.1:1'}}}}\n")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_outcome(name: str, site: Path, world: dict[str, str], tmp_path: Path, ferry: Ferry) -> None:
    setting, port = SETTINGS[name], free_port()
    server = trafficserver.TrafficServer(tmp_path / "its", files(setting, {**world, "port": str(port)}))
    with contextlib.closing(server):
        if setting.named:  # it reads its hosts some time after it has begun to listen
            until(lambda: "first tls" in seen(Case(setting.named, ""), site, port), "it to know the hosts")
        assert played(setting, site, port) == [f"{case}: {case.outcome}" for case in setting.cases], "Traffic Server"
    port = free_port()
    for file, text in files(setting, {**world, "port": str(port)}).items():
        (ferry.file if file == "sni.yaml" else ferry.folder / file).write_text(text)
    assert (told := ferry.client.reload())["ok"], told
    assert played(setting, site, port) == [f"{case}: {case.ours or case.outcome}" for case in setting.cases], "ferryman"


def test_what_differs_has_a_reason() -> None:
    cases = [case for setting in SETTINGS.values() for case in setting.cases]
    assert len(cases) >= 60
    assert [str(case) for case in cases if bool(case.ours) != bool(case.why)] == []
