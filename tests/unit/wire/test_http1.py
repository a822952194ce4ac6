"""Request and response heads, as clients and servers write them and as nobody should."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire.http1 import MAX_HEAD, MAX_LINE, BadHead, Framing, Request, Response, parse_request, parse_response

STUNNEL = (
    b"CONNECT dvm-ns.apps.example:443 HTTP/1.1\r\nHost: dvm-ns.apps.example:443\r\n"
    b"Proxy-Authorization: basic dXNlcjpwYXNz\r\n\r\n"
)
CURL = (
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n"
    b"User-Agent: curl/8.5.0\r\nProxy-Connection: Keep-Alive\r\n\r\n"
)
OPENSSL = b"CONNECT example.com:443 HTTP/1.0\r\n\r\n"
CURL_PLAIN = (
    b"GET http://Example.com/a?b HTTP/1.1\r\nHost: Example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    b"Proxy-Connection: Keep-Alive\r\n\r\n"
)
POST = b"POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
GOOD = [STUNNEL, CURL, OPENSSL, CURL_PLAIN, POST, CHUNKED]

Answer = tuple[Request | Response, int] | tuple[int, str] | None


def ask(data: bytes, limit: int = MAX_HEAD) -> Answer:
    try:
        return parse_request(data, limit)
    except BadHead as error:
        return error.status, error.reason


def told(data: bytes, method: str = "GET", limit: int = MAX_HEAD) -> Answer:
    try:
        return parse_response(data, method, limit)
    except BadHead as error:
        return error.status, error.reason


def request(data: bytes) -> Request:
    answer = parse_request(data)
    assert answer is not None
    assert answer[1] == len(data)
    return answer[0]


def response(data: bytes, method: str = "GET") -> Response:
    answer = parse_response(data, method)
    assert answer is not None
    assert answer[1] == len(data)
    return answer[0]


def check_prefixes(data: bytes, limit: int = MAX_HEAD, parse: object = None) -> None:
    """Every prefix answers None or what the whole answers, and what is said once is said for good."""
    read = told if parse is told else ask
    final = read(data, limit=limit)
    decided = False
    for end in range(len(data) + 1):
        answer = read(data[:end], limit=limit)
        assert answer == read(memoryview(data)[:end], limit=limit)  # type: ignore[arg-type]
        if answer is None:
            assert not decided, f"an answer was taken back after {end} bytes"
        else:
            decided = True
            assert answer == final, f"another answer after {end} bytes"


# --- what clients send ---


def test_what_stunnel_sends() -> None:
    head = request(STUNNEL)
    assert (head.method, head.target, head.version) == ("CONNECT", "dvm-ns.apps.example:443", (1, 1))
    assert (head.form, head.host, head.port, head.path, head.body) == ("authority", "dvm-ns.apps.example", 443, "", 0)
    assert head.get("proxy-authorization") == "basic dXNlcjpwYXNz"
    assert head.headers[0] == ("Host", "dvm-ns.apps.example:443")


def test_what_curl_sends_for_plain_http() -> None:
    head = request(CURL_PLAIN)
    assert (head.form, head.host, head.port, head.path) == ("absolute", "example.com", 80, "/a?b")
    assert (head.get("accept"), head.get("cookie"), head.get_all("accept")) == ("*/*", None, ["*/*"])


@pytest.mark.parametrize("data", GOOD)
def test_a_head_is_read_to_its_last_byte_whatever_follows(data: bytes) -> None:
    head = request(data)
    for early in (b"\x16\x03\x01", b"\n", b"\r\n\r\n", data, b"\0" * MAX_HEAD):
        assert ask(data + early) == (head, len(data))
    check_prefixes(data + b"\x16\x03\x01\n\r")


def test_one_empty_line_before_a_request_is_skipped() -> None:
    assert ask(b"\r\n" + STUNNEL) == (request(STUNNEL), len(STUNNEL) + 2)
    check_prefixes(b"\r\n" + STUNNEL)
    check_prefixes(b"\r\n\r\n" + STUNNEL)
    assert ask(b"\r\n\r\n" + STUNNEL) == (400, "no method")


@pytest.mark.parametrize(
    ("line", "form", "host", "port", "path"),
    [
        (b"GET / HTTP/1.1", "origin", "", 0, "/"),
        (b"GET //x HTTP/1.1", "origin", "", 0, "//x"),
        (b"OPTIONS * HTTP/1.1", "asterisk", "", 0, "*"),
        (b"OPTIONS http://h HTTP/1.1", "absolute", "h", 80, "*"),
        (b"OPTIONS http://h/ HTTP/1.1", "absolute", "h", 80, "/"),
        (b"GET http://h HTTP/1.1", "absolute", "h", 80, "/"),
        (b"GET http://h?q HTTP/1.1", "absolute", "h", 80, "/?q"),
        (b"GET http://h:8080/a//b;c?d=/e HTTP/1.1", "absolute", "h", 8080, "/a//b;c?d=/e"),
        (b"GET HTTP://[::1]:81/@ HTTP/1.1", "absolute", "::1", 81, "/@"),
        (b"GET http://h/http://i/ HTTP/1.1", "absolute", "h", 80, "/http://i/"),
        (b"!#$%&'*+-.^_`|~ http://h/ HTTP/1.1", "absolute", "h", 80, "/"),
        (b"CONNECT [2001:DB8::1]:22 HTTP/1.1", "authority", "2001:db8::1", 22, ""),
    ],
)
def test_targets(line: bytes, form: str, host: str, port: int, path: str) -> None:
    head = request(line + b"\r\nHost: h\r\n\r\n")
    assert (head.form, head.host, head.port, head.path) == (form, host, port, path)


def test_fields_keep_their_case_and_order_and_lose_the_white_space_around() -> None:
    head = request(b"GET / HTTP/1.1\r\nHOST:h\r\nA: \t 1\t 2 \t\r\na:\r\nX:\xe9\r\n\r\n")
    assert head.headers == (("HOST", "h"), ("A", "1\t 2"), ("a", ""), ("X", "é"))
    assert head.names == ("host", "a", "a", "x")
    assert head.get_all("a") == ["1\t 2", ""]


def test_host_may_be_missing_where_nothing_depends_on_it() -> None:
    assert request(b"CONNECT a:1 HTTP/1.1\r\n\r\n").host == "a"
    assert request(b"GET http://a/ HTTP/1.0\r\n\r\n").version == (1, 0)


def test_a_repr_shows_no_credentials() -> None:
    assert repr(request(STUNNEL)) == "Request(CONNECT dvm-ns.apps.example:443)"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"", 0),
        (b"Content-Length: 0\r\n", 0),
        (b"Content-Length: 007\r\n", 7),
        (b"content-length:\t12 \r\n", 12),
        (b"Transfer-Encoding: Chunked\r\n", Framing.CHUNKED),
    ],
)
def test_how_the_body_of_a_request_ends(fields: bytes, body: int | Framing) -> None:
    assert request(b"POST / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n").body == body


# --- what is refused ---


def with_field(field: bytes, line: bytes = b"POST http://h/ HTTP/1.1") -> bytes:
    return line + b"\r\nHost: h\r\n" + field + b"\r\n\r\n"


def to(target: bytes, method: bytes = b"CONNECT") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"


TLS = "TLS where plain HTTP was expected"
BAD_METHOD = "a method with a byte that none has, or no target"
BAD_TARGET = "a target with a byte that no URI has, or no HTTP version"
ONE_LENGTH = "a Content-Length that is not one number"
BOTH = "both Transfer-Encoding and Content-Length"
NOT_LAST = "a Transfer-Encoding that does not end with one chunked"
LINE_END = "a line that does not end in CR LF"
NAME = "a header name with a byte that no name has, or none at all"
BYTE = "a host name with a byte that no name has"
PORT = "a port that is no number from 1 to 65535"

REFUSED: list[tuple[bytes, int, str]] = [
    # bytes of other protocols
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, TLS),
    (b"\x80\x2e\x01\x03\x01", 400, TLS),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2 where HTTP/1.1 was expected"),
    (b"\x04\x01\x00\x50", 400, "SOCKS4, which is not spoken: HTTP was expected, or SOCKS5 where that is taken"),
    (b"\x05\x01\x00", 400, "SOCKS5 where only HTTP is taken"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", 400, BAD_METHOD),
    (b"\0" * 20, 400, "no method"),
    # the request line
    (b"GET /\r\n\r\n", 400, BAD_TARGET),
    (b" GET / HTTP/1.1\r\n\r\n", 400, "no method"),
    (b"GET\r\n\r\n", 400, BAD_METHOD),
    (b"GET  / HTTP/1.1\r\n\r\n", 400, BAD_METHOD),
    (b"GET / HTTP/1.1 \r\n\r\n", 400, "no HTTP version after the target"),
    (b"GET / HTTP/1.10\r\n\r\n", 400, "no HTTP version after the target"),
    (b"GET / http/1.1\r\n\r\n", 400, "no HTTP version after the target"),
    (b"GET /\t HTTP/1.1\r\n\r\n", 400, BAD_TARGET),
    (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400, BAD_TARGET),
    (b"CONNECT b\xc3\xbccher.example:443 HTTP/1.1\r\n\r\n", 400, BAD_TARGET),
    (b"G\0T / HTTP/1.1\r\n\r\n", 400, BAD_METHOD),
    (b"GET / HTTP/1.2\r\n\r\n", 505, "an HTTP version other than 1.0 and 1.1"),
    (b"GET / HTTP/2.0\r\n\r\n", 505, "an HTTP version other than 1.0 and 1.1"),
    (b"GET / HTTP/0.9\r\n\r\n", 505, "an HTTP version other than 1.0 and 1.1"),
    # line ends
    (b"CONNECT a:1 HTTP/1.1\n\n", 400, LINE_END),
    (b"CONNECT\n", 400, LINE_END),
    (b"\n", 400, LINE_END),
    (b"\rG", 400, LINE_END),
    (b"GET / HTTP/1.1\r\r\n\r\n", 400, LINE_END),
    (b"GET / HTTP/1.1\r\nHost: h\n\r\n\r\n", 400, LINE_END),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n", 400, LINE_END),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n", 400, LINE_END),
    (b"GET / HTTP/1.1\r\nbad line\r\nHost: h\n\r\n\r\n", 400, LINE_END),
    # fields
    (with_field(b"A: b\r\n c"), 400, "a header line that begins with white space"),
    (with_field(b"A: b\r\n\tc: d"), 400, "a header line that begins with white space"),
    (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, "a header line that begins with white space"),
    (with_field(b"A : b"), 400, "white space before the colon of a header"),
    (with_field(b"Content-Length\t: 5"), 400, "white space before the colon of a header"),
    (with_field(b"A"), 400, "a header line without a colon"),
    (with_field(b": b"), 400, NAME),
    (with_field(b"A B: c"), 400, NAME),
    (with_field(b"A\xe9: c"), 400, NAME),
    (with_field(b"A\0: c"), 400, NAME),
    (with_field(b"(A): c"), 400, NAME),
    (with_field(b"A: b\0c"), 400, "a control byte in a header"),
    (with_field(b"A: b\x0bc"), 400, "a control byte in a header"),
    (with_field(b"A: b\x7f"), 400, "a control byte in a header"),
    # framing
    (with_field(b"Content-Length: 5\r\nContent-Length: 6"), 400, ONE_LENGTH),
    (with_field(b"Content-Length: 5\r\ncontent-length: 5"), 400, ONE_LENGTH),
    *((with_field(b"Content-Length: " + value), 400, ONE_LENGTH) for value in (
        b"5, 5", b"+5", b"-5", b"5 5", b"0x5", b"", b"5_0", b"\xb2", b"1" * 19)),
    (with_field(b"Content-Length: 5\r\nTransfer-Encoding: chunked"), 400, BOTH),
    (with_field(b"Transfer-Encoding: identity\r\nContent-Length: 5"), 400, BOTH),
    (with_field(b"Transfer-Encoding: gzip, chunked"), 501, "a transfer coding other than chunked"),
    (with_field(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"), 501, "a transfer coding other than chunked"),
    *((with_field(b"Transfer-Encoding: " + value), 400, NOT_LAST) for value in (
        b"", b"gzip", b"identity", b"chunked, gzip", b"chunked, chunked", b"xchunked", b"chunked;a=b", b"chunked,",
        b"\x85chunked", b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding: x")),
    (with_field(b"Transfer-Encoding: chunked", b"POST http://h/ HTTP/1.0"), 400, "Transfer-Encoding in HTTP/1.0"),
    (with_field(b"Content-Length: 5", b"CONNECT h:1 HTTP/1.1"), 400, "CONNECT with a body"),
    (with_field(b"Transfer-Encoding: chunked", b"CONNECT h:1 HTTP/1.1"), 400, "CONNECT with a body"),
    # Host and credentials
    (b"GET http://h/ HTTP/1.1\r\n\r\n", 400, "no Host"),
    (b"GET / HTTP/1.1\r\nHosts: h\r\n\r\n", 400, "no Host"),
    (with_field(b"Host: h"), 400, "Host twice"),
    (with_field(b"host: i", b"CONNECT h:1 HTTP/1.1"), 400, "Host twice"),
    *((b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", 400, "a Host that is none") for value in (
        b"a b", b"a,b", b"a/b", b"u@h", b"\xe9", b"a?b", b'"')),
    (with_field(b"Proxy-Authorization: a\r\nProxy-Authorization: a"), 400, "Proxy-Authorization twice"),
    # targets
    (to(b"h"), 400, "no port"),
    (to(b"h:"), 400, "no port"),
    (to(b"h:0"), 400, PORT),
    (to(b"h:65536"), 400, PORT),
    (to(b"h:443/"), 400, PORT),
    (to(b"h/x:443"), 400, BYTE),
    (to(b"http://h:443/"), 400, "a URI where host:port belongs"),
    (to(b"/"), 400, BYTE),
    (to(b"*"), 400, BYTE),
    (to(b"u:p@h:443"), 400, "user information in front of the host"),
    (to(b"::1:443"), 400, "an IPv6 address without brackets, or more than one port"),
    (to(b"127.1:443"), 400, "an IPv4 address that is not four numbers from 0 to 255"),
    (to(b"a." * 150 + b"example:443"), 400, "a host name longer than 253 bytes"),
    (to(b"a" * 300 + b":443"), 400, "a host name longer than 253 bytes"),
    (to(b"h%00:443"), 400, BYTE),
    (to(b"h:443", b"GET"), 400, "a target that is neither a URI nor a path"),
    (to(b"*", b"GET"), 400, "a target that is neither a URI nor a path"),
    (to(b"h:443", b"connect"), 400, "a target that is neither a URI nor a path"),
    (to(b"http:/h/", b"GET"), 400, "a target that is neither a URI nor a path"),
    (to(b"http://h/#x", b"GET"), 400, "a target that is neither a URI nor a path"),
    (to(b"http://", b"GET"), 400, "an empty host"),
    (to(b"http:///x", b"GET"), 400, "an empty host"),
    (to(b"http://h:/", b"GET"), 400, "no port"),
    (to(b"http://h:0/", b"GET"), 400, PORT),
    (to(b"http://u:p@h/", b"GET"), 400, "user information in front of the host"),
    (to(b"http://h\\@i/", b"GET"), 400, "user information in front of the host"),
    (to(b"https://h/", b"GET"), 501, "a scheme other than http: others go through CONNECT"),
    (to(b"ftp://h/", b"GET"), 501, "a scheme other than http: others go through CONNECT"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "status", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_and_why(data: bytes, status: int, reason: str) -> None:
    assert ask(data) == (status, reason)
    check_prefixes(data + b"GET")


@pytest.mark.parametrize("data", [b"\x16", b"\x16\x03\x01\x02", b"\n", b"GET / HTTP/1.1\n", b"HELO x\n"])
def test_what_can_never_become_a_head_is_refused_at_once(data: bytes) -> None:
    assert ask(data) is not None
    assert ask(data[:-1]) is None or len(data) > 1


# --- limits ---


def test_the_longest_line() -> None:
    longest = b"GET /" + b"a" * (MAX_LINE - 14) + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    assert longest.index(b"\r\n") == MAX_LINE
    assert isinstance(ask(longest), tuple)
    assert request(longest).body == 0
    longer = longest.replace(b"/a", b"/aa")
    assert ask(longer) == (414, "a first line longer than is taken")
    assert ask(longer[: MAX_LINE + 2]) == ask(longer)
    assert ask(longer[: MAX_LINE + 1]) is None


def test_an_endless_line_is_refused_when_it_is_too_long() -> None:
    assert ask(b"G" * (MAX_LINE + 1)) is None
    assert ask(b"G" * (MAX_LINE + 2)) == (414, "a first line longer than is taken")


@pytest.mark.parametrize("limit", [100, 5000, MAX_HEAD])
def test_the_longest_head(limit: int) -> None:
    start = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
    longest = start + b"a" * (limit - len(start) - 4) + b"\r\n\r\n"
    assert len(longest) == limit
    assert ask(longest, limit) == (request(longest), limit)
    longer = longest.replace(b"A: a", b"A: aa")
    assert ask(longer, limit) == (431, "a head longer than is taken")
    assert ask(longer[: limit + 1], limit) == (431, "a head longer than is taken")
    assert ask(longer[:limit], limit) is None
    assert ask(longer + bytes(10), limit) == ask(memoryview(longer), limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 50 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\nGET /" + b"a" * 50 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: \n" + b"a" * 50 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 50 + b"\n\r\n\r\n",
        b"\x16" * 80,
        b"GET /\r" + b"a" * 80,
    ],
)
def test_answers_do_not_depend_on_cuts_at_any_limit(data: bytes) -> None:
    for limit in range(8, len(data) + 3):
        check_prefixes(data, limit)


# --- responses ---

SQUID_407 = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nServer: squid/5.7\r\nContent-Length: 3526\r\n"
    b'Proxy-Authenticate: Basic realm="Squid proxy"\r\n\r\n'
)
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 200 Connection established\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 200 \r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n",
    SQUID_407,
]


@pytest.mark.parametrize("data", RESPONSES)
def test_a_response_is_read_to_its_last_byte(data: bytes) -> None:
    assert told(data + b"\0\n") == (response(data), len(data))
    check_prefixes(data + b"\0\n", parse=told)


def test_what_squid_answers() -> None:
    head = response(SQUID_407, "CONNECT")
    assert (head.status, head.reason, head.version) == (407, "Proxy Authentication Required", (1, 1))
    assert (head.body, head.get("proxy-authenticate")) == (3526, 'Basic realm="Squid proxy"')
    assert (head.get("date"), head.get_all("server")) == (None, ["squid/5.7"])
    assert repr(head) == "Response(407 Proxy Authentication Required)"


@pytest.mark.parametrize(
    ("head", "method", "body"),
    [
        (b"200 OK\r\nContent-Length: 5", "GET", 5),
        (b"200 OK\r\nContent-Length: 5", "HEAD", 0),
        (b"200 OK\r\nContent-Length: 5", "CONNECT", 0),
        (b"200 OK\r\nTransfer-Encoding: gzip", "CONNECT", 0),
        (b"403 No\r\nContent-Length: 5", "CONNECT", 5),
        (b"403 No", "CONNECT", Framing.UNTIL_CLOSE),
        (b"200 OK\r\nTransfer-Encoding: chunked", "GET", Framing.CHUNKED),
        (b"200 OK\r\nTransfer-Encoding: chunked", "HEAD", 0),
        (b"200 OK", "GET", Framing.UNTIL_CLOSE),
        (b"204 No\r\nContent-Length: 5", "GET", 0),
        (b"304 No\r\nContent-Length: 5", "GET", 0),
        (b"100 Go on\r\nContent-Length: 5", "POST", 0),
        (b"101 Switch\r\nContent-Length: 5", "GET", 0),
    ],
)
def test_how_the_body_of_a_response_ends(head: bytes, method: str, body: int | Framing) -> None:
    assert response(b"HTTP/1.1 " + head + b"\r\n\r\n", method).body == body


NO_STATUS_LINE = "no status line of HTTP/1"
BAD_RESPONSES: list[tuple[bytes, str]] = [
    (b"SSH-2.0-OpenSSH_9.2\r\n", NO_STATUS_LINE),
    (b"\x16\x03\x03\x00\x7a", TLS),
    (b"\r\nHTTP/1.1 200 OK\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/2 200\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1 20 OK\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1 2000 OK\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1 020 OK\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1  200 OK\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1 200 O\0K\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1\r\n\r\n", NO_STATUS_LINE),
    (b"ICY 200 OK\r\n\r\n", NO_STATUS_LINE),
    (b"HTTP/1.1 200 OK\n\n", LINE_END),
    (b"HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n", LINE_END),
    (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "white space before the colon of a header"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", ONE_LENGTH),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ONE_LENGTH),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", NOT_LAST),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "a transfer coding other than chunked"),
    (b"HTTP/1.1 200 " + b"a" * MAX_LINE + b"\r\n\r\n", "a first line longer than is taken"),
    (b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEAD + b"\r\n\r\n", "a head longer than is taken"),
]


@pytest.mark.parametrize(("data", "reason"), BAD_RESPONSES, ids=range(len(BAD_RESPONSES)))
def test_a_bad_response_is_the_servers_fault(data: bytes, reason: str) -> None:
    assert told(data) == (502, reason)
    if len(data) < 100:
        check_prefixes(data + b"x", parse=told)


# --- properties ---

PIECES = [b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b",", b"\0", b"\xe9", b"\r\n\r\n", b"@", b"[", b"0", b"99", b"GET "]
FIELDS = [b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"http://"]
piece = st.sampled_from([*PIECES, *FIELDS])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good head with a few pieces put in or taken out."""
    data = bytearray(draw(st.sampled_from([*GOOD, *RESPONSES])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.one_of(piece, st.binary(max_size=3)))
    return bytes(data)


@settings(deadline=None, max_examples=150)
@given(damaged(), st.sampled_from([20, 60, 117, MAX_HEAD]))
def test_any_bytes_give_one_answer_however_they_are_cut(data: bytes, limit: int) -> None:
    check_prefixes(data, limit)
    check_prefixes(data, limit, parse=told)


@settings(deadline=None, max_examples=300)
@given(damaged())
def test_what_is_taken_is_taken_by_a_stricter_reader_in_the_same_sense(data: bytes) -> None:
    """h11 reads the same request in all that is accepted here: names, values, and where the body ends."""
    answer = ask(data)
    if answer is None or not isinstance(answer[0], Request) or answer[0].get("host") is None:
        return
    head, length = answer
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(data[2 * data.startswith(b"\r\n") : length])
    event = judge.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method.decode(), event.target.decode()) == (head.method, head.target)
    assert [(name.decode(), value.decode("latin-1")) for name, value in event.headers] == [
        (name, value.strip().lower() if name == "transfer-encoding" else value)
        for name, (_, value) in zip(head.names, head.headers, strict=True)
    ]
    assert (judge.next_event() is h11.NEED_DATA) == (head.body != 0)
