"""A server's first flight: OpenSSL's own, cut in every way, and flights that nobody should send."""

from __future__ import annotations

import ssl

import pytest
import trustme
from hello_builder import extension, numbers, records, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire.serverhello import (
    MAX_RECORDS,
    MAX_STREAM,
    Certificate,
    Malformed,
    Outcome,
    parse,
)

NEED_MORE, NO_CERTIFICATE = Outcome.NEED_MORE, Outcome.NO_CERTIFICATE


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Handshake:
    """A client and a server of OpenSSL in memory; `flight` is the server's answer to the hello."""

    def __init__(self, authority: trustme.CA, version: ssl.TLSVersion, alpn: str = "") -> None:
        self.client, self.server = (ssl.SSLContext(side) for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER))
        authority.configure_trust(self.client)
        self.leaf = authority.issue_cert("api.example.org")
        self.leaf.configure_cert(self.server)
        for context in (self.client, self.server):
            context.maximum_version = version
        self.client.set_alpn_protocols(["h2"])
        self.server.set_alpn_protocols([alpn] if alpn else [])
        self.session: ssl.SSLSession | None = None

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.leaf.cert_chain_pems[0].bytes().decode())

    def flight(self) -> bytes:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.client.wrap_bio(to_client, to_server, server_hostname="api.example.org", session=self.session)
        server = self.server.wrap_bio(to_server, to_client, server_side=True)
        flight = b""
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                finally:
                    flight = flight or to_client_peek(to_client)
        if client.session is not None:
            self.session = client.session
        return flight


def to_client_peek(bio: ssl.MemoryBIO) -> bytes:
    """What waits in it, which stays there."""
    data = bio.read()
    bio.write(data)
    return data


def check_prefixes(stream: bytes, ends: range | list[int] | None = None) -> None:
    final = parse(stream)
    decided = False
    for end in ends if ends is not None else range(len(stream) + 1):
        answer = parse(memoryview(stream)[:end])
        if answer is NEED_MORE:
            assert not decided, f"an answer was taken back after {end} bytes"
        else:
            decided = True
            assert answer == final, f"another answer after {end} bytes"


# --- OpenSSL ---


@pytest.mark.parametrize("alpn", ["", "h2"])
def test_the_certificate_of_a_tls_1_2_server(authority: trustme.CA, alpn: str) -> None:
    handshake = Handshake(authority, ssl.TLSVersion.TLSv1_2, alpn)
    flight = handshake.flight()
    answer = parse(flight)
    assert isinstance(answer, Certificate)
    assert (answer.version, answer.leaf, answer.chain) == (0x0303, handshake.der, 1)
    check_prefixes(flight)
    assert parse(flight[:-9]) == answer, "what follows the certificate does not matter"


def test_tls_1_3_hides_it(authority: trustme.CA) -> None:
    flight = Handshake(authority, ssl.TLSVersion.TLSv1_3).flight()
    assert parse(flight) is Outcome.ENCRYPTED
    check_prefixes(flight)


def test_a_resumed_session_shows_none(authority: trustme.CA) -> None:
    handshake = Handshake(authority, ssl.TLSVersion.TLSv1_2)
    assert isinstance(parse(handshake.flight()), Certificate)
    flight = handshake.flight()
    assert parse(flight) is NO_CERTIFICATE
    check_prefixes(flight)


# --- made by hand ---


def server_hello(
    *extensions: bytes, version: int = 0x0303, session: bytes = bytes(32), rest: bytes | None = None
) -> bytes:
    body = numbers([version]) + bytes(range(32)) + vector(1, session) + numbers([0xC02F]) + b"\0"
    return b"\x02" + vector(3, body + (vector(2, *extensions) if rest is None else rest))


def certificate(*ders: bytes) -> bytes:
    return b"\x0b" + vector(3, vector(3, *(vector(3, der) for der in ders)))


HELLO = server_hello(extension(0xFF01, b"\0"))
CHAIN = certificate(b"leaf", b"intermediate")
DONE = b"\x0e\0\0\0"
CCS = b"\x14\x03\x03\0\1\1"
ALERT = b"\x15\x03\x03\0\2\2\x28"
GOOD = HELLO + CHAIN + DONE


def test_every_cut_into_two_records() -> None:
    for cut in range(1, len(GOOD)):
        stream = records(GOOD, [cut])
        answer = parse(stream)
        assert isinstance(answer, Certificate)
        assert (answer.leaf, answer.chain) == (b"leaf", 2)
        check_prefixes(stream)


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303])
def test_old_versions(version: int) -> None:
    answer = parse(records(server_hello(rest=b"", version=version, session=b"") + CHAIN))
    assert isinstance(answer, Certificate)
    assert answer.version == version


SHORT = Malformed("a ServerHello that is too short, or a session id that is too long")
LISTED = Malformed("a certificate list that does not end with its message")
CUT = Malformed("a certificate that is empty or runs past its list")
MIXED = "a record of another kind or version"
OUTCOMES: list[tuple[bytes, Outcome | Malformed]] = [
    (b"HTTP/1.1 400 Bad Request\r\n", Outcome.NOT_TLS),
    (b"\x16\x02", Outcome.NOT_TLS),
    (b"@RSYNCD: 31.0\n", Outcome.NOT_TLS),
    (b"\x17\x03\x03\0\1a", Outcome.NOT_TLS),
    (ALERT, Outcome.ALERT),
    (records(HELLO) + ALERT, Outcome.ALERT),
    (records(HELLO) + CCS, NO_CERTIFICATE),
    (CCS, Malformed("a change of ciphers inside a handshake message")),
    (records(HELLO[:20]) + CCS, Malformed("a change of ciphers inside a handshake message")),
    (records(HELLO + CHAIN[:9]) + CCS, Malformed("a change of ciphers inside a handshake message")),
    *((records(HELLO + bytes((kind,)) + b"\0\0\0"), NO_CERTIFICATE) for kind in (4, 12, 13, 14)),
    (records(HELLO + certificate()), NO_CERTIFICATE),
    (records(HELLO + HELLO), Malformed("a handshake message that cannot follow a ServerHello")),
    (records(b"\x01" + HELLO[1:]), Malformed("a handshake message other than a ServerHello")),
    (records(CHAIN), Malformed("a handshake message other than a ServerHello")),
    (records(server_hello(extension(43, b"\3\4"))), Outcome.ENCRYPTED),
    (records(HELLO[:20]) + b"\x17\x03\x03\0\1a", Malformed(MIXED)),
    (records(HELLO) + b"\x16\x02\x03\0\1a", Malformed(MIXED)),
    (b"\x16\x03\x03\0\0", Malformed("a record that is empty or longer than one may be")),
    (b"\x16\x03\x03\x40\1", Malformed("a record that is empty or longer than one may be")),
    (records(HELLO) + b"\x16\x03\x03\0\0", Malformed("a record that is empty or longer than one may be")),
    (records(GOOD, range(MAX_RECORDS + 1)), Malformed("a flight in too many records")),
    (records(b"\x02\x01\0\0"), Malformed("a handshake message longer than 64 KiB")),
    (records(HELLO + b"\x0b\xff\xff\xff"), Malformed("a handshake message longer than 64 KiB")),
    (records(b"\x02" + vector(3, bytes(37))), SHORT),
    (records(server_hello(session=bytes(33))), SHORT),
    (records(server_hello(rest=b"\0")), Malformed("an extension list that does not end with the hello")),
    (records(server_hello(rest=b"\0\5\0\0\0\0")), Malformed("an extension list that does not end with the hello")),
    (records(server_hello(rest=b"\0\4\0\0\0\1")), Malformed("an extension that runs past the hello")),
    (records(server_hello(rest=b"\0\1\0")), Malformed("an extension that runs past the hello")),
    (records(server_hello(version=0x0304)), Malformed("a version that is none of TLS")),
    (records(server_hello(version=0xFEFD)), Malformed("a version that is none of TLS")),
    (records(HELLO + b"\x0b\0\0\1\0"), LISTED),
    (records(HELLO + b"\x0b" + vector(3, b"\0\0\1")), LISTED),
    (records(HELLO + b"\x0b" + vector(3, vector(3, b"\0\0\2a"))), CUT),
    (records(HELLO + certificate(b"leaf", b"")), CUT),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "answer"), OUTCOMES, ids=range(len(OUTCOMES)))
def test_what_else_a_server_may_send(stream: bytes, answer: Outcome | Malformed) -> None:
    assert parse(stream) == answer
    check_prefixes(stream + bytes(50))
    assert parse(stream + bytes(50)) == answer


def test_the_longest_flight() -> None:
    def flight(size: int) -> bytes:
        message = HELLO + certificate(bytes(size))
        return records(message, range(16384, len(message), 16384))

    longest = flight(MAX_STREAM - len(HELLO) - 10 - 4 * 5)
    assert len(longest) == MAX_STREAM
    assert isinstance(parse(longest), Certificate)
    assert parse(longest[:-1]) is NEED_MORE
    longer = flight(MAX_STREAM - len(HELLO) - 10 - 4 * 5 + 1)
    assert parse(longer) == parse(longer[:-1]) == Malformed("a first flight longer than 64 KiB")
    assert parse(longer[:-2]) is NEED_MORE


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_never_raises_and_never_depends_on_cuts(data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, len(GOOD) - 1), max_size=5))
    stream = bytearray(records(GOOD, cuts))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(stream)))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check_prefixes(bytes(stream))
