"""The clients ask for a tunnel, make their request in it, and notice when something is wrong."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path

import pytest
from bench.clients import PROXY_HEADER, Talk, crowd, download, opened, request, terminated
from bench.peers import Job
from bench.process import BenchError

from bench import certificates
from ferryman.wire import proxyprotocol

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nacross\n"

Serve = Callable[..., Job]


def head(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n") and (more := client.recv(1)):
        data += more
    return data


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server that takes a head for each of some answers; "" ends it. Gives the job of a proxy at its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def start(*answers: bytes, connections: int = 1) -> Job:
        def run() -> None:
            for _ in range(connections):
                client, _address = listener.accept()
                with client:
                    for answer in answers:
                        head(client)
                        client.sendall(answer[:20])
                        client.sendall(answer[20:])

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return Job(tmp_path, listener.getsockname()[1], 7, 9, 1, 100, "connect", tmp_path)

    with closing(listener):
        yield start
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def test_a_crowd_makes_a_request_per_connection(serve: Serve) -> None:
    job = serve(ESTABLISHED, ANSWER, connections=5)
    done, seconds, failed = crowd((request(job) for _ in range(5)), at_once=2, seconds=60)
    assert (done, failed) == (5, 0)
    assert 0 < seconds < 60


def test_a_crowd_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr("bench.clients.time.monotonic", lambda: float(next(ticks)))

    def short() -> Talk:
        yield from ()

    done, seconds, failed = crowd((short() for _ in repeat(None)), at_once=3, seconds=20.0)
    assert (done > 3, failed) == (True, 0)
    assert 20 <= seconds < 40


def test_no_tunnel_is_asked_for_where_the_proxy_forwards(serve: Serve) -> None:
    job = replace(serve(ANSWER), kind="forward")
    assert crowd(iter([request(job)]), at_once=1, seconds=60)[0] == 1


@pytest.mark.parametrize("answers", [(b"HTTP/1.1 403 Forbidden\r\n\r\n",), (ESTABLISHED, b"HTTP/1.1 502 Bad\r\n\r\n")])
def test_a_refusal_is_no_success(serve: Serve, answers: tuple[bytes, ...]) -> None:
    job = serve(*answers)
    with pytest.raises(BenchError, match=r"403|502"):
        crowd(iter([request(job)]), at_once=1, seconds=60)


def test_an_open_tunnel(serve: Serve) -> None:
    with opened(serve(ESTABLISHED, b"pong")) as client:
        client.sendall(b"\r\n\r\n")
        assert client.recv(4, socket.MSG_WAITALL) == b"pong"


def test_no_open_tunnel(serve: Serve) -> None:
    with pytest.raises(BenchError, match="407"), opened(serve(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")):
        raise AssertionError("there is no tunnel")


def test_a_download_that_breaks_off_is_no_bulk(serve: Serve) -> None:
    with pytest.raises(BenchError, match=r"the end after \d+ bytes|reset"):
        download(serve(ESTABLISHED, ANSWER), seconds=60)


def test_the_proxy_header_is_one() -> None:
    found = proxyprotocol.parse(PROXY_HEADER)
    assert found is not None
    header, length = found
    assert (header.source, header.destination) == (("192.0.2.1", 55555), ("198.51.100.7", 443))
    assert length == len(PROXY_HEADER)


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Job]:
    """A server that answers requests within TLS 1.3, of which sessions can be resumed."""
    certificates.write(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / certificates.SERVER)
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                plain, _address = listener.accept()
            except OSError:
                return
            try:
                with plain, context.wrap_socket(plain, server_side=True) as client:
                    head(client)
                    client.sendall(ANSWER)
                    client.unwrap()
            except OSError:  # what the client sees is what matters
                continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield Job(tmp_path, listener.getsockname()[1], 7, 9, 1, 100, "terminate", tmp_path)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(60)
    assert not thread.is_alive()


def trusting(job: Job) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(job.certificates / certificates.SERVER_AUTHORITY))


def test_sessions_are_resumed(tls_server: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.clients.CIPHER", "TLS_AES_256_GCM_SHA384")  # which OpenSSL takes by itself
    context, kept = trusting(tls_server), list[ssl.SSLSession]()
    for resumed in (False, True, True):
        assert bool(kept) is resumed
        assert crowd(iter([terminated(tls_server, context, "localhost", kept)]), 1, 60)[::2] == (1, 0)
    assert crowd(iter([terminated(tls_server, context, "localhost")]), 1, 60)[::2] == (1, 0)


def test_other_tls_than_was_asked_for_does_not_count(tls_server: Job) -> None:
    context = trusting(tls_server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(BenchError, match=r"TLSv1\.2"):
        crowd(iter([terminated(tls_server, context, "localhost")]), 1, 60)
