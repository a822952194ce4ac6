"""Clients whose TLS ends in a worker, and servers that speak TLS themselves: Python's ssl on both far ends."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID
from rig import PATIENCE, Rig, gauges, plan, reset, server
from tests.unit.config.leaves import ca, write
from tests.unit.controlplane.authorities import DAY, NOW, name_of

from ferryman.dataplane import contexts, counters
from ferryman.dataplane.counters import Cell
from ferryman.plan import Certificate, Connect, TlsAccept, TlsCase, TlsConnect
from ferryman.rules.access import Access
from ferryman.rules.condition import Not, Test
from ferryman.rules.decision import Action, Rule
from ferryman.rules.expression import parse
from ferryman.rules.match import Matcher
from ferryman.rules.networks import Networks, network

CA = trustme.CA()
CA_PEM = CA.cert_pem.bytes().decode()
STRANGER = trustme.CA().cert_pem.bytes().decode()
LEAF = CA.issue_cert("api.example", "front.example")


def issued(*names: str) -> Certificate:
    leaf = CA.issue_cert(*names)
    chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
    return Certificate(names[0], chain, leaf.private_key_pem.bytes().decode(), names, 0.0)


SHOWN = issued("front.example")
OTHER = issued("other.example")


class Site:
    """A worker that terminates TLS; its clients and servers speak in threads of their own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.far = rig.server()
        self.plan = plan()
        self.seen: dict[str, Any] = {}
        self.served = {}

    def serves(self, *cases: TlsAccept | TlsCase, to: TlsConnect | None = None, **listener: Any) -> None:
        made = [case if isinstance(case, TlsCase) else TlsCase(None, "test:1", case) for case in cases]
        fields = {"tls": tuple(made), "needs_hello": bool(made), **listener}
        self.plan = plan(server(self.far.port, tls=to), listener=fields)
        self.cells = self.rig.follow(self.plan)

    def beside(self, *parties: Callable[[], object]) -> None:
        """Let the far ends run beside the worker; their errors are raised here."""
        errors: list[BaseException] = []

        def guarded(party: Callable[[], object]) -> None:
            try:
                party()
            except (OSError, AssertionError) as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(party,)) for party in parties]
        for thread in threads:
            thread.start()
        self.rig.run(lambda: not any(thread.is_alive() for thread in threads))
        for error in errors:
            raise error

    def ask(self, name: str | None = "front.example", **options: Any) -> Callable[[], None]:
        """A client; what it saw is in `seen`."""
        self.seen = {}

        def client() -> None:
            context = trusting()
            context.check_hostname = False
            if "alpn" in options:
                context.set_alpn_protocols(options["alpn"])
            if "certificate" in options:
                options["certificate"].configure_cert(context)
            with (
                socket.create_connection(self.rig.doors["web"].getsockname(), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=name) as sock,
            ):
                self.seen["alpn"] = sock.selected_alpn_protocol()
                self.seen["certificate"] = sock.getpeercert()
                sock.sendall(b"ping")
                self.seen["answer"] = sock.recv(4)
                sock.unwrap()

        return client

    def answer(self, context: ssl.SSLContext | None = None) -> Callable[[], None]:
        """The server; TLS if there is a context. What it saw is in `served`."""
        self.served = {}

        def serve() -> None:
            connection = self.far.accept()
            if context is None:
                assert connection.recv(4) == b"ping"
                connection.sendall(b"pong")
                assert connection.recv(1) == b""
                connection.close()
                return
            with context.wrap_socket(connection, server_side=True) as sock:
                self.served["resumed"] = sock.session_reused
                self.served["alpn"] = sock.selected_alpn_protocol()
                self.served["certificate"] = sock.getpeercert()
                assert sock.recv(4) == b"ping"
                sock.sendall(b"pong")
                assert sock.recv(1) == b""

        return serve

    def line(self) -> dict[str, Any]:
        self.rig.run(self.rig.over)
        found: dict[str, Any] = json.loads(self.rig.lines()[-1])
        assert set(gauges(self.plan, self.cells).values()) == {0}
        return found


@pytest.fixture
def site(rig: Rig) -> Site:
    return Site(rig)


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(context)
    return context


def serving(*alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def when(name: str) -> Test:
    return Test(parse("sni"), Matcher.build("name", [name], type=parse("sni").type), "sni")


def test_tls_ends_here(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)))
    site.beside(site.ask(), site.answer())
    assert site.seen["answer"] == b"pong"
    assert ("DNS", "front.example") in site.seen["certificate"]["subjectAltName"]
    line = site.line()
    assert (line["code"], line["sni"], line["bytes"]) == ("--", "front.example", {"in": 4, "out": 4})


def test_and_begins_again(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(ca=CA_PEM))
    site.beside(site.ask(), site.answer(serving()))
    assert site.seen["answer"] == b"pong"
    assert site.line()["code"] == "--"


def test_both_sides_agree_on_what_the_server_chooses(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(ca=CA_PEM))
    for offers, speaks, agreed in (
        (["h2", "http/1.1"], ("http/1.1",), "http/1.1"),
        (["h2", "http/1.1"], ("h2", "http/1.1"), "h2"),
        (["h2"], (), None),
    ):
        site.beside(site.ask(alpn=offers), site.answer(serving(*speaks)))
        assert (site.seen["alpn"], site.served["alpn"]) == (agreed, agreed)


def test_protocols_of_our_own(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,), alpn=("http/1.1",)), to=TlsConnect(ca=CA_PEM, alpn=("acme",)))
    site.beside(site.ask(alpn=["h2", "http/1.1"]), site.answer(serving("acme")))
    assert (site.seen["alpn"], site.served["alpn"]) == ("http/1.1", "acme")


@pytest.mark.parametrize(("ours", "agreed"), [(("http/1.1",), "http/1.1"), (("acme",), None), ((), None)])
def test_a_server_is_offered_no_more_than_a_client_that_came_first_has_got(
    site: Site, ours: tuple[str, ...], agreed: str | None
) -> None:
    site.serves(TlsAccept((SHOWN,), alpn=ours), to=TlsConnect(ca=CA_PEM), needs_handshake=True)
    site.beside(site.ask(alpn=["h2", "http/1.1"]), site.answer(serving("h2", "http/1.1")))
    assert (site.seen["alpn"], site.served["alpn"]) == (agreed, agreed)


def test_tls_with_the_server_alone(site: Site) -> None:
    site.serves(to=TlsConnect(ca=CA_PEM, server_name="api.example"))

    def client() -> None:
        with socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE) as sock:
            sock.sendall(b"ping")
            assert sock.recv(4) == b"pong"

    site.beside(client, site.answer(serving()))
    assert site.line()["code"] == "--"


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        (
            TlsConnect(ca=trustme.CA().cert_pem.bytes().decode()),
            "its certificate: unable to get local issuer certificate",
        ),
        (TlsConnect(ca=CA_PEM, server_name="wrong.example"), "its certificate: Hostname mismatch"),
        (TlsConnect(ca=CA_PEM, verify_name="wrong.example"), "its certificate: Hostname mismatch"),
        (TlsConnect(fingerprints=("00" * 32,)), "its certificate is not the pinned one: SHA-256 "),
    ],
    ids=["authority", "name", "verify_name", "fingerprint"],
)
def test_a_server_that_is_not_to_be_trusted(site: Site, to: TlsConnect, reason: str) -> None:
    site.serves(TlsAccept((SHOWN,)), to=to)

    def told_nothing() -> None:
        data = b""
        with suppress(OSError), serving().wrap_socket(site.far.accept(), server_side=True) as sock:
            data = sock.recv(4)
        assert data == b""

    def client() -> None:
        ask = site.ask()
        with pytest.raises(OSError, match=r"(?i)reset|eof|broken pipe"):
            ask()

    site.beside(client, told_nothing)
    line = site.line()
    assert line["code"] == "SC"
    assert reason in line["reason"]


def test_a_pinned_server(site: Site) -> None:
    der = ssl.PEM_cert_to_DER_cert(LEAF.cert_chain_pems[0].bytes().decode())
    pin = hashlib.sha256(der).hexdigest()
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(fingerprints=(pin,)))
    site.beside(site.ask(), site.answer(serving()))
    assert site.seen["answer"] == b"pong"


def test_sessions_with_the_server_are_resumed(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(ca=CA_PEM))
    context = serving()
    resumed = []
    for _ in range(2):
        site.beside(site.ask(), site.answer(context))
        site.rig.run(site.rig.over)
        resumed.append(site.served["resumed"])
    assert resumed == [False, True]
    site.beside(site.ask("api.example"), site.answer(context))
    assert not site.served["resumed"], "the session belongs to a name"


def test_a_session_that_was_made_with_other_terms_is_no_reason_to_fail(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(ca=CA_PEM))
    context = serving("h2")
    for options in ({}, {"alpn": ["h2"]}, {}):
        site.beside(site.ask(**options), site.answer(context))
        line = site.line()
        assert (line["code"], line["retries"]) == ("--", 0)


def test_cases_by_name(site: Site) -> None:
    through = TlsCase(when("api.example"), "test:1", None)
    site.serves(through, TlsAccept((SHOWN,)))
    site.beside(site.ask("api.example"), site.answer(serving()))
    assert ("DNS", "api.example") in site.seen["certificate"]["subjectAltName"], "untouched: the server's own"
    site.beside(site.ask("front.example"), site.answer())
    assert ("DNS", "api.example") not in site.seen["certificate"]["subjectAltName"]


def test_certificates_of_clients_are_facts_for_the_log(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,), verify="required", ca=CA_PEM))
    site.beside(site.ask(certificate=CA.issue_cert("me.example", common_name="me")), site.answer())
    assert site.seen["answer"] == b"pong"
    with pytest.raises(OSError, match=r"(?i)certificate.required|reset|eof"):
        site.beside(site.ask())
    line = site.line()
    assert (line["code"], line["reason"]) == ("CR", "client: TLS handshake: peer did not return a certificate")


def test_a_name_without_a_certificate(site: Site) -> None:
    site.serves(TlsAccept((SHOWN, OTHER), strict=True))
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        site.beside(site.ask("unknown.example"))
    line = site.line()
    assert (line["code"], line["reason"]) == ("PR", "no certificate for unknown.example")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "client: TLS handshake: it speaks HTTP, not TLS"),
        (b"\x16\x03\x01\x00\x05hello", "client: TLS handshake: "),
        (b"SSH-2.0-x\r\n", "client: TLS handshake: it does not speak TLS"),
    ],
)
def test_what_is_no_tls(site: Site, said: bytes, reason: str) -> None:
    site.serves(TlsAccept((SHOWN,)))
    client = site.rig.client()
    client.sendall(said)
    line = site.line()
    assert line["code"] == "CR"
    assert line["reason"].startswith(reason)


def test_a_client_that_says_nothing(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,), timeout=0.2), inspect_timeout=0.2)
    site.rig.client()
    line = site.line()
    assert (line["code"], line["how"]) == ("cR", "timeout")


@pytest.mark.parametrize(("protocols", "size"), [(80, 16384), (45, 1)], ids=["too long", "in too many records"])
def test_a_hello_that_only_openssl_can_read_leads_nowhere(site: Site, protocols: int, size: int) -> None:
    site.serves(TlsAccept((SHOWN,)), inspect=(Rule(Action.REJECT, when("front.example"), "test:1"),))
    context, incoming, outgoing = trusting(), ssl.MemoryBIO(), ssl.MemoryBIO()
    context.set_alpn_protocols([f"{number:0250}" for number in range(protocols)])
    talk = context.wrap_bio(incoming, outgoing, server_hostname="front.example")

    def client() -> None:
        with pytest.raises(ssl.SSLWantReadError):
            talk.do_handshake()
        flight = outgoing.read()
        hello = b"".join(flight[at + 5 : at + 16389] for at in range(0, len(flight), 16389))
        pieces = (hello[at : at + size] for at in range(0, len(hello), size))
        with socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE) as sock, suppress(OSError):
            sock.sendall(b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces))
            while data := sock.recv(65536):
                incoming.write(data)
                with suppress(ssl.SSLWantReadError):
                    talk.do_handshake()
                sock.sendall(outgoing.read())

    site.beside(client)
    assert talk.version() == "TLSv1.3", "OpenSSL takes it"
    line = site.line()
    assert (line["code"], line["server"]) == ("CR", None)
    assert line["reason"] == "client: TLS handshake: a hello that only OpenSSL can read"


def test_a_hello_that_comes_when_rules_do_not_wait_any_more(site: Site) -> None:
    site.serves(
        TlsAccept((SHOWN,)), inspect=(Rule(Action.REJECT, when("front.example"), "test:1"),), inspect_timeout=0.2
    )
    with socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE):
        line = site.line()
    assert (line["code"], line["reason"]) == ("cR", "client: no TLS hello in time")


def test_the_time_for_a_handshake_begins_before_the_hello(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,), timeout=1.0), inspect_timeout=60.0)
    with socket.create_connection(site.rig.doors["web"].getsockname()) as sock:
        sock.sendall(b"\x16\x03")  # and nothing more
        line = site.line()
    assert (line["code"], line["how"]) == ("cR", "timeout")
    assert 1000 <= line["times"]["total"] < 1900, "not twice"


def test_a_client_that_leaves_in_the_middle_of_a_handshake(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(ca=CA_PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    outgoing = ssl.MemoryBIO()
    talk = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="front.example")
    with pytest.raises(ssl.SSLWantReadError):
        talk.do_handshake()
    client = site.rig.client()
    client.sendall(outgoing.read())

    def server_side() -> None:
        with serving("h2").wrap_socket(site.far.accept(), server_side=True) as sock:
            site.served["recv"] = sock.recv(1)

    left = threading.Timer(0, client.close)
    left.start()
    site.beside(server_side)
    left.join()
    assert site.served["recv"] == b""
    assert site.line()["code"] in ("CR", "CC")


def test_contexts_are_freed_with_the_generation(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)))
    site.beside(site.ask(), site.answer())
    site.line()
    generation = site.rig.worker.generation
    accept = generation.plan.listeners[0].tls[0].accept
    assert accept is not None
    assert isinstance(generation.acceptor(accept, b""), contexts.Acceptor)
    assert generation.acceptor(accept, b"") is generation.acceptor(accept, b"")


def test_an_explicit_proxy_that_speaks_tls_itself(site: Site) -> None:
    networks = Networks.of([network("127.0.0.1")])
    site.serves(TlsAccept((SHOWN,)), mode="connect", connect=Connect(egress_networks=networks))
    answers = []

    def client() -> None:
        with (
            socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE) as plain,
            trusting().wrap_socket(plain, server_hostname="front.example") as sock,
        ):
            sock.sendall(f"CONNECT 127.0.0.1:{site.far.port} HTTP/1.1\r\n\r\n".encode())
            answers.append(sock.recv(100))
            sock.sendall(b"ping")
            answers.append(sock.recv(4))
            sock.unwrap()

    site.beside(client, site.answer())
    assert answers == [b"HTTP/1.1 200 Connection established\r\n\r\n", b"pong"]
    line = site.line()
    assert (line["code"], line["target"]) == ("--", f"127.0.0.1:{site.far.port}")


def test_what_such_a_proxy_refuses_is_read_within_tls(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), mode="connect", connect=Connect(access=()))

    def client() -> None:
        with (
            socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE) as plain,
            trusting().wrap_socket(plain, server_hostname="front.example") as sock,
        ):
            sock.sendall(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\nearly bytes that nobody reads")
            site.seen["answer"] = sock.recv(12)

    site.beside(client)
    assert site.seen["answer"] == b"HTTP/1.1 403"
    assert site.line()["code"] == "PR"


def test_who_comes_to_such_a_proxy_without_tls_has_shown_no_certificate(site: Site) -> None:
    case = TlsCase(when("front.example"), "test:1", TlsAccept((SHOWN,), verify="optional", ca=CA_PEM))
    shown = Test(parse("client_cert"), Matcher.build("integer", ["1"], type="boolean"), "client_cert")
    rules = (Access(Not(shown), "test:2", False), Access(None, "test:3", True))
    networks = Networks.of([network("127.0.0.1")])
    site.serves(case, mode="connect", connect=Connect(access=rules, egress_networks=networks))

    def client() -> None:
        with socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE) as plain:
            plain.sendall(f"CONNECT 127.0.0.1:{site.far.port} HTTP/1.1\r\n\r\n".encode())
            site.seen["answer"] = plain.recv(12)

    site.beside(client)
    assert site.seen["answer"] == b"HTTP/1.1 403"
    assert "test:2" in site.line()["reason"]


def test_a_client_that_resets_such_a_connection(site: Site) -> None:
    networks = Networks.of([network("127.0.0.1")])
    site.serves(TlsAccept((SHOWN,)), mode="connect", connect=Connect(egress_networks=networks))

    def client() -> None:
        plain = socket.create_connection(site.rig.doors["web"].getsockname(), PATIENCE)
        sock = trusting().wrap_socket(plain, server_hostname="front.example")
        sock.sendall(f"CONNECT 127.0.0.1:{site.far.port} HTTP/1.1\r\n\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 200"
        reset(sock)

    def far() -> None:
        with pytest.raises(ConnectionResetError):
            site.far.accept().recv(1)

    site.beside(client, far)
    assert site.line()["how"] == "rst"


def test_rules_that_ask_what_came_of_the_handshake(site: Site) -> None:
    mine = Test(parse("client_cert_subject(CN)"), Matcher.build("is", ["me"]), "subject")
    rules = (Rule(Action.REJECT, Not(mine), "test:9"),)
    site.serves(TlsAccept((SHOWN,), verify="optional", ca=CA_PEM), inspect=rules, needs_handshake=True)
    site.beside(site.ask(certificate=CA.issue_cert("me.example", common_name="me")), site.answer())
    assert site.seen["answer"] == b"pong"
    line = site.line()
    assert line["client_tls"]["certificate"].startswith("CN=me")
    assert line["client_tls"]["version"] == "TLSv1.3"
    ask = site.ask(certificate=CA.issue_cert("you.example", common_name="you"))
    with pytest.raises((OSError, AssertionError)):
        site.beside(ask)
    line = site.line()
    assert (line["code"], line["rule"]) == ("PR", "test:9")


def test_a_client_in_whose_certificate_the_names_cannot_be_read(site: Site, tmp_path: Path) -> None:
    root, key = ca(tmp_path), ec.generate_private_key(ec.SECP256R1())
    names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x06\x82\x04caf\xe9")
    builder = x509.CertificateBuilder().subject_name(name_of("me")).issuer_name(root.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY).add_extension(names, critical=False)
    file = write(tmp_path / "me.pem", builder.sign(root.key, hashes.SHA256()), key)
    site.serves(TlsAccept((SHOWN,), verify="required", ca=Path(root.cert_path).read_text()))
    ask = site.ask(certificate=SimpleNamespace(configure_cert=lambda context: context.load_cert_chain(file)))
    with pytest.raises((OSError, AssertionError)):
        site.beside(ask)
    line = site.line()
    assert (line["code"], line["reason"]) == ("CR", "client: its certificate: the names in it cannot be read")


def test_a_plain_port_beside_a_tls_one_waits_for_no_hello(site: Site) -> None:
    elsewhere = Test(parse("local_port"), Matcher.build("integer", ["1"], type="integer"), "local_port")
    site.serves(TlsCase(elsewhere, "test:1", TlsAccept((SHOWN,))), inspect_timeout=60.0)
    client, far = site.rig.through(site.far)
    far.sendall(b"!")
    assert site.rig.read(client) == b"!"


def test_what_is_counted(site: Site) -> None:
    site.serves(TlsAccept((SHOWN,)), to=TlsConnect(ca=CA_PEM))
    context = serving()
    for _ in range(2):
        site.beside(site.ask(), site.answer(context))
        site.rig.run(site.rig.over)
    site.rig.client().sendall(b"GET / HTTP/1.1\r\n\r\n")
    site.line()
    ours, theirs = counters.listener_base(site.plan, 0), counters.server_base(site.plan, 0)
    cells = site.cells
    assert (cells[ours + Cell.HANDSHAKES], cells[ours + Cell.HANDSHAKE_ERRORS]) == (2, 1)
    assert (cells[theirs + Cell.HANDSHAKES], cells[theirs + Cell.RESUMED]) == (2, 1)
