"""The ClientHello reader, over hellos that real clients made and over ones that nobody should make."""

from __future__ import annotations

import random
import ssl
import sys

import pytest
from hello_builder import (
    RECORDED,
    alpn,
    extension,
    groups,
    hello,
    keyshares,
    numbers,
    record,
    records,
    server_name,
    sigalgs,
    vector,
    versions,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from record_hellos import CLIENTS
from record_hellos import record as record_live

from ferryman.wire.clienthello import MAX_HELLO, MAX_STREAM, ClientHello, Malformed, Outcome, missing, parse

NEED_MORE, NOT_TLS = Outcome.NEED_MORE, Outcome.NOT_TLS
X25519, P256, MLKEM = 0x001D, 0x0017, 0x11EC  # the last is X25519MLKEM768
NAME = b"api.example.org"
OUTER_ECH = extension(0xFE0D, b"\0" + bytes(4) + b"\7" + vector(2, bytes(32)) + vector(2, bytes(144)))
POST_QUANTUM = hello(
    server_name(NAME), alpn(b"h2"), versions(0x0304), groups(MLKEM, X25519), keyshares((MLKEM, 1216), (X25519, 32))
)

recorded = pytest.mark.parametrize("name", RECORDED)


def read(stream: bytes) -> ClientHello:
    answer = parse(stream)
    assert isinstance(answer, ClientHello), answer
    return answer


def is_grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def check_prefixes(stream: bytes, ends: range | list[int]) -> None:
    """Every prefix answers NEED_MORE or what the whole stream answers, and says no more is missing than is."""
    final = parse(stream)
    decided = False
    for end in sorted(ends):
        answer = parse(memoryview(stream)[:end])
        if answer is NEED_MORE:
            assert not decided, f"an answer was taken back after {end} bytes"
            assert missing(stream[:end]) > 0
            if isinstance(final, ClientHello):
                assert end + missing(stream[:end]) <= final.length
        else:
            decided = True
            assert answer == final, f"another answer after {end} bytes"
            assert missing(stream[:end]) == 0


# --- what real clients send ---


@recorded
def test_the_hello_of_a_real_client_is_read(name: str) -> None:
    stream, client = RECORDED[name], CLIENTS[name]
    answer = read(stream)
    assert (answer.sni, answer.alpn, answer.length) == (client.sni, client.alpn, len(stream))
    assert answer.record_version == 0x0301
    assert answer.version == 0x0303
    assert answer.ciphers
    assert answer.sigalgs
    assert answer.has_ec_ext
    assert set(answer.keyshares) <= set(answer.groups)
    assert (0x0304 in answer.versions) == ("tls12" not in name)


def test_what_sets_the_recorded_clients_apart() -> None:
    assert [read(RECORDED[name]).keyshares for name in ("openssl", "openssl-p256", "node-pq")] == [
        (X25519,),
        (P256,),
        (MLKEM, X25519),
    ]
    assert len(read(RECORDED["openssl-many-ciphers"]).ciphers) > len(read(RECORDED["openssl"]).ciphers)
    assert not read(RECORDED["openssl-noticket"]).has_ticket
    assert read(RECORDED["openssl"]).has_ticket
    assert read(RECORDED["openssl-tls12"]).keyshares == ()
    assert read(RECORDED["openssl-tls13"]).ciphers == (0x1301, 0x00FF)
    assert read(RECORDED["openssl"]).ech == "none"


@pytest.mark.parametrize("name", ["chromium", "chromium-again", "chromium-address"])
def test_chromium_shows_grease_post_quantum_and_ech(name: str) -> None:
    answer = read(RECORDED[name])
    assert answer.ech == "outer"
    assert answer.keyshares[1:] == (MLKEM, X25519)
    for first in (answer.ciphers[0], answer.groups[0], answer.versions[0], answer.keyshares[0]):
        assert is_grease(first)


@pytest.mark.parametrize("name", ["curl", "openssl-alpn", "openssl-noname", "python-alpn", "wget"])
def test_the_clients_here_still_send_what_was_recorded(name: str) -> None:
    try:
        stream = record_live(CLIENTS[name])
    except FileNotFoundError as error:
        pytest.skip(f"not installed: {error}")
    answer = read(stream)
    assert (answer.sni, answer.alpn, answer.length) == (CLIENTS[name].sni, CLIENTS[name].alpn, len(stream))


# --- cuts ---


@recorded
def test_every_prefix_needs_more_and_the_rest_of_the_stream_changes_nothing(name: str) -> None:
    stream = RECORDED[name]
    check_prefixes(stream, range(len(stream) + 1))
    assert all(parse(stream[:end]) is NEED_MORE for end in range(len(stream)))
    assert parse(stream + b"\x14\x03\x03\x00\x01\x01") == parse(stream)
    assert parse(bytearray(stream)) == parse(stream)


@recorded
def test_every_cut_into_two_records_and_every_prefix_around_it(name: str) -> None:
    stream = RECORDED[name]
    whole = read(stream)
    for cut in range(1, len(stream) - 5):
        framed = records(stream[5:], [cut])
        assert read(framed) == whole._replace(length=len(stream) + 5)
        check_prefixes(framed, [*range(cut + 3, cut + 13), len(framed) - 1, len(framed)])


@recorded
def test_sampled_cuts_into_three_and_more_records_in_any_packets(name: str) -> None:
    stream = RECORDED[name]
    whole, message = read(stream), stream[5:]
    rng = random.Random(name)
    for count in [2] * 40 + [5, 20, 100]:
        cuts = rng.sample(range(1, len(message)), count)
        framed = records(message, cuts)
        assert read(framed) == whole._replace(length=len(message) + 5 * (count + 1))
        check_prefixes(framed, rng.sample(range(len(framed)), 20))


@pytest.mark.parametrize(
    "stream", [RECORDED["python-tls12"], record(hello(server_name(NAME), alpn(b"h2")))], ids=["python", "made"]
)
def test_every_prefix_of_every_cut(stream: bytes) -> None:
    for cut in range(1, len(stream) - 5):
        framed = records(stream[5:], [cut])
        check_prefixes(framed, range(len(framed) + 1))


def test_every_byte_in_a_record_of_its_own() -> None:
    framed = records(POST_QUANTUM, range(len(POST_QUANTUM)))
    assert read(framed) == read(record(POST_QUANTUM))._replace(length=6 * len(POST_QUANTUM))
    check_prefixes(framed, range(0, len(framed) + 1, 61))


def test_a_reader_that_waits_for_what_is_missing_wakes_up_rarely() -> None:
    message = hello(server_name(NAME), extension(21, bytes(4000)))
    framed = records(message, range(len(message)))
    end = wakes = 0
    while parse(memoryview(framed)[:end]) is NEED_MORE:
        end += missing(memoryview(framed)[:end])
        wakes += 1
    assert end == len(framed)
    assert wakes < 100


# --- fields ---


def test_every_field_of_a_post_quantum_hello() -> None:
    answer = read(record(POST_QUANTUM))
    assert len(POST_QUANTUM) > 1300
    assert (answer.sni, answer.alpn, answer.versions) == ("api.example.org", ("h2",), (0x0304,))
    assert (answer.groups, answer.keyshares) == ((MLKEM, X25519), (MLKEM, X25519))
    assert (answer.ciphers, answer.sigalgs, answer.ech) == ((0x1301, 0x1302), (), "none")
    assert (answer.has_ec_ext, answer.has_ticket) == (True, False)


def test_a_hello_from_before_extensions() -> None:
    answer = read(record(hello(rest=b"", version=0x0300, session=b""), version=0x0300))
    assert (answer.record_version, answer.version, answer.sni, answer.alpn) == (0x0300, 0x0300, None, ())
    assert (answer.versions, answer.groups, answer.has_ec_ext, answer.ech) == ((), (), False, "none")


def test_an_empty_list_of_extensions() -> None:
    assert read(record(hello())).sni is None


def test_the_two_kinds_of_ech() -> None:
    assert read(record(hello(server_name(b"public.example"), OUTER_ECH))).ech == "outer"
    assert read(record(hello(server_name(NAME), extension(0xFE0D, b"\1")))).ech == "inner"


def test_a_first_key_share_may_be_missing() -> None:
    assert read(record(hello(versions(0x0304), keyshares()))).keyshares == ()


def test_the_name_is_given_as_sent_and_up_to_255_bytes() -> None:
    assert read(record(hello(server_name(b"API.Example.ORG.")))).sni == "API.Example.ORG."
    assert read(record(hello(server_name(b"a" * 255)))).sni == "a" * 255


def test_names_of_other_types_are_skipped() -> None:
    other = b"\x07" + vector(2, b"\0\xff")
    host = b"\x00" + vector(2, NAME)
    assert read(record(hello(extension(0, vector(2, other, host, other))))).sni == "api.example.org"
    assert read(record(hello(extension(0, vector(2, other))))).sni is None


def test_a_grease_alpn_name_is_kept_byte_for_byte() -> None:
    assert read(record(hello(alpn(b"\xea\xea", b"h2")))).alpn == ("\xea\xea", "h2")


def test_the_longest_hello_that_is_taken() -> None:
    size = MAX_HELLO - len(hello(extension(21, b"")))
    message = hello(extension(21, bytes(size)))
    assert len(message) == MAX_HELLO
    assert read(record(message)).length == MAX_HELLO + 5
    framed = records(message, range(MAX_HELLO))
    assert read(framed).length == len(framed) == MAX_STREAM
    longer = hello(extension(21, bytes(size + 1)))
    assert parse(records(longer, [100])) == Malformed("a hello longer than 16 KiB")
    assert parse(records(longer, [100])[:9]) == Malformed("a hello longer than 16 KiB")


# --- what is no hello ---


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00",
        b"\x80\x2e\x01\x03\x01\x00\x15",  # SSLv2
        b"\x15\x03\x01\x00\x02\x01\x00",  # an alert
        b"\x16\x02",
        b"\x16\xfe\xff\x00\x00",  # DTLS
    ],
)
def test_what_is_not_tls_is_told_by_its_first_bytes(stream: bytes) -> None:
    assert parse(stream) is NOT_TLS
    check_prefixes(stream, range(len(stream) + 1))


def test_nothing_yet() -> None:
    assert parse(b"") is NEED_MORE
    assert missing(b"") == 9


GOOD = hello(server_name(NAME))
BAD_NAME = "a server name with a byte that no name has"
BAD_NAMES = "a server name list whose lengths disagree"
BAD_ALPN = "an ALPN list that is empty or whose lengths disagree"
BAD_LIST = "a list of numbers that is empty or whose lengths disagree"
BAD_SHARES = "a key share list whose lengths disagree"
BAD_SIZE = "a server name that is empty or longer than 255 bytes"
BAD_ECH = "an encrypted_client_hello extension of no known kind"
PAST = "a field that runs past the hello"
MIXED = "a record of another kind or version inside the hello"

FRAMING: list[tuple[bytes, int, str]] = [  # stream, bytes of it after which it must be refused, reason
    (b"\x16\x03\x01\x00\x00", 5, "an empty handshake record"),
    (record(GOOD[:20]) + record(b"") + record(GOOD[20:]), 30, "an empty handshake record"),
    (b"\x16\x03\x01\x40\x01", 5, "a record longer than a record may be"),
    (b"\x16\x03\x01\xff\xff", 5, "a record longer than a record may be"),
    (record(b"\x02" + GOOD[1:]), 6, "a handshake message other than a ClientHello"),
    (records(b"\x00" + GOOD[1:], [1]), 6, "a handshake message other than a ClientHello"),
    (record(b"\x01\x00\x3f\xfd"), 9, "a hello longer than 16 KiB"),
    (record(b"\x01\x01\x00\x00"), 9, "a hello longer than 16 KiB"),
    (record(GOOD[:20]) + record(b"\x01\x00", kind=21), 26, MIXED),
    (record(GOOD[:20]) + record(b"\x01", kind=20) + record(GOOD[20:]), 26, MIXED),
    (record(GOOD[:20]) + record(GOOD[20:], version=0x0201), 27, MIXED),
    (record(GOOD + GOOD), 9, "something follows the hello in its record"),
    (record(GOOD[:20]) + record(GOOD[20:] + b"\0"), 30, "something follows the hello in its record"),
    (record(GOOD[:2]) + record(GOOD[2:] + GOOD), 14, "something follows the hello in its record"),
]

CONTENT: list[tuple[bytes, str]] = [  # message, reason
    (b"\x01\x00\x00\x00", PAST),
    (b"\x01" + vector(3, bytes(34)), PAST),
    (hello(session=bytes(33)), "a session id longer than 32 bytes"),
    (hello(ciphers=()), "a cipher list of no or half a cipher"),
    (hello(compression=b""), "no compression method"),
    (hello(rest=b"\0"), PAST),
    (hello(rest=b"\0\0\0"), "an extension list that does not end with the hello"),
    (hello(rest=b"\0\5" + extension(21, b"")), "an extension list that does not end with the hello"),
    (hello(rest=b"\0\4\0\x15\0\1"), "an extension that runs past the hello"),
    (hello(rest=b"\0\2\0\x15"), PAST),
    (hello(server_name(NAME), server_name(b"other.example.org")), "an extension twice"),
    (hello(extension(0x0A0A, b""), extension(21, b""), extension(0x0A0A, b"\0")), "an extension twice"),
    (hello(server_name(NAME, b"other.example.org")), "two server names"),
    (hello(server_name(NAME, NAME)), "two server names"),
    (hello(server_name(b"")), BAD_SIZE),
    (hello(server_name(b"a" * 256)), BAD_SIZE),
    (hello(extension(0, b"")), PAST),
    (hello(extension(0, b"\0\0")), BAD_NAMES),
    (hello(extension(0, b"\0\2\0\0")), PAST),
    (hello(extension(0, b"\0\4\0\0\2a")), BAD_NAMES),
    (hello(extension(0, b"\0\5\0\0\1a")), PAST),
    (hello(extension(0, b"\0\4\0\0\1a\0")), BAD_NAMES),
    *((hello(server_name(b"api.example.org" + byte)), BAD_NAME) for byte in (b"\0", b" ", b"\n", b"\x7f", b"\xc3\xa9")),
    (hello(server_name(b"\0api.example.org")), BAD_NAME),
    (hello(server_name(b"evil.example\0.api.example.org")), BAD_NAME),
    (hello(alpn()), BAD_ALPN),
    (hello(alpn(b"h2", b"")), BAD_ALPN),
    (hello(extension(16, b"")), BAD_ALPN),
    (hello(extension(16, b"\0\3\3h2")), BAD_ALPN),
    (hello(extension(16, b"\0\4\2h2")), BAD_ALPN),
    (hello(versions()), BAD_LIST),
    (hello(extension(43, b"")), PAST),
    (hello(extension(43, b"\3\3\4\3")), BAD_LIST),
    (hello(extension(43, b"\4\3\4")), BAD_LIST),
    (hello(groups()), BAD_LIST),
    (hello(extension(10, b"\0\2\0\x1d\0")), BAD_LIST),
    (hello(sigalgs()), BAD_LIST),
    (hello(extension(13, b"\0")), PAST),
    (hello(extension(51, b"")), BAD_SHARES),
    (hello(extension(51, vector(2, numbers([X25519]) + b"\0\5abcd"))), BAD_SHARES),
    (hello(extension(51, vector(2, b"\0\x1d\0"))), PAST),
    (hello(extension(0xFE0D, b"")), BAD_ECH),
    (hello(extension(0xFE0D, b"\2")), BAD_ECH),
    (hello(extension(0xFE0D, b"\1\0")), BAD_ECH),
]


@pytest.mark.parametrize(("stream", "known_after", "reason"), FRAMING, ids=range(len(FRAMING)))
def test_bad_framing_is_refused_at_the_byte_that_proves_it(stream: bytes, known_after: int, reason: str) -> None:
    assert parse(stream) == Malformed(reason)
    check_prefixes(stream + bytes(40), range(len(stream) + 41))
    assert parse(stream[:known_after]) == Malformed(reason)
    assert parse(stream[: known_after - 1]) is NEED_MORE


@pytest.mark.parametrize(("message", "reason"), CONTENT, ids=range(len(CONTENT)))
def test_a_bad_hello_is_refused_when_it_is_complete(message: bytes, reason: str) -> None:
    stream = record(message)
    assert parse(stream) == Malformed(reason)
    check_prefixes(stream + bytes(9), range(len(stream) + 10))
    for cut in range(1, len(message)):
        assert parse(records(message, [cut])) == Malformed(reason)


def test_half_a_cipher_is_refused() -> None:
    message = hello(rest=b"", session=b"")
    odd = message[:39] + b"\0\3" + message[41:]
    assert parse(record(odd)) == Malformed("a cipher list of no or half a cipher")


# --- properties ---

number = st.integers(0, 0xFFFF)
some_numbers = st.lists(number, min_size=1, max_size=30)
host_name = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@st.composite
def hellos(draw: st.DrawFn) -> tuple[bytes, dict[str, object]]:
    """A well-formed hello and what must be read in it."""
    want: dict[str, object] = {"sni": None, "alpn": (), "versions": (), "groups": (), "sigalgs": (), "keyshares": ()}
    extensions = []
    if draw(st.booleans()):
        want["sni"] = name = draw(host_name)
        extensions.append(server_name(name.encode()))
    if draw(st.booleans()):
        names = draw(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4))
        want["alpn"] = tuple(name.decode("latin-1") for name in names)
        extensions.append(alpn(*names))
    for field, build in (("versions", versions), ("groups", groups), ("sigalgs", sigalgs)):
        if draw(st.booleans()):
            values = draw(some_numbers)
            want[field] = tuple(values)
            extensions.append(build(*values))
    if draw(st.booleans()):
        shares = draw(st.lists(st.tuples(number, st.integers(0, 1300)), max_size=4))
        want["keyshares"] = tuple(group for group, _ in shares)
        extensions.append(keyshares(*shares))
    others = draw(st.dictionaries(st.integers(100, 0xF000), st.binary(max_size=50), max_size=5))
    extensions += [extension(kind, body) for kind, body in others.items()]
    ciphers = draw(some_numbers)
    want |= {"ciphers": tuple(ciphers), "version": draw(number)}
    return (
        hello(
            *draw(st.permutations(extensions)),
            version=int(str(want["version"])),
            session=draw(st.binary(max_size=32)),
            ciphers=ciphers,
        ),
        want,
    )


@settings(deadline=None)
@given(hellos(), st.data())
def test_any_hello_is_read_the_same_however_it_is_cut(
    made: tuple[bytes, dict[str, object]], data: st.DataObject
) -> None:
    message, want = made
    cuts = data.draw(st.lists(st.integers(1, len(message) - 1), max_size=20), "record cuts")
    stream = records(message, cuts)
    answer = read(stream)
    assert {field: getattr(answer, field) for field in want} == want
    assert answer.length == len(stream)
    ends = data.draw(st.lists(st.integers(0, len(stream)), max_size=20), "packets")
    check_prefixes(stream, ends)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(RECORDED)), st.data())
def test_a_damaged_hello_never_raises(name: str, data: st.DataObject) -> None:
    stream = bytearray(RECORDED[name])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check_prefixes(bytes(stream), data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_after_a_handshake_header_never_raise(tail: bytes) -> None:
    for stream in (tail, b"\x16\x03" + tail, record(b"\x01" + vector(3, tail)), record(hello(rest=vector(2, tail)))):
        check_prefixes(stream, range(len(stream) + 1))


# --- the judge that counts: a TLS server ---


class OpenSSL:
    """A TLS server in memory that is given a stream and tells which name it was asked for."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._seen
        self.asked = False
        self.name: str | None = None

    def _seen(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int:
        self.asked, self.name = True, name
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    def reads(self, stream: bytes) -> bool:
        """Whether the stream is a hello to it, and then `name` is the name."""
        self.asked, self.name = False, None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(stream)
        with pytest.raises(ssl.SSLError):  # there is no certificate, so no handshake ends well
            self.context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
        return self.asked


@recorded
def test_openssl_is_asked_for_the_name_that_we_read(name: str) -> None:
    server, stream = OpenSSL(), RECORDED[name]
    rng = random.Random(name)
    for cuts in [[], *(rng.sample(range(1, len(stream) - 5), 2) for _ in range(10))]:
        framed = records(stream[5:], cuts)
        assert server.reads(framed)
        assert server.name == read(framed).sni


def test_no_damaged_hello_shows_openssl_another_name_than_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # a name that is not ASCII does not reach the callback
    server, rng = OpenSSL(), random.Random(7)
    agreed = 0
    for _ in range(3000):
        stream = bytearray(RECORDED[rng.choice(["openssl-alpn", "python", "node-pq", "chromium", "curl-tls12"])])
        start = stream.find(b"api.example.org") - 12
        for _ in range(rng.randint(1, 2)):
            at = rng.choice([rng.randrange(len(stream)), rng.randrange(start, start + 28)])
            stream[at] = rng.choice([stream[at] ^ 1 << rng.randrange(8), 0, 1, rng.randrange(256)])
        answer = parse(stream)
        if server.reads(bytes(stream)):
            assert answer is not NEED_MORE, stream.hex()
            if isinstance(answer, ClientHello):
                assert answer.sni == server.name, stream.hex()
                agreed += 1
    assert agreed > 1000
