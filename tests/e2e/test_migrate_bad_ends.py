"""Migrations that must not get through, and what people are told: stolen tokens, wrong peers, proxies that say no."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import squid
import trees
from doctoring import odd
from ferry import PATIENCE, free_port, until
from migrating import PASSWORD, USER, Migrating, Proxy, used
from programs import program, run
from servers import TlsServer

from ferryman.migrate import certificates
from ferryman.migrate import token as tokens


class Place:
    """Sources, and starters of both ends."""

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.target = folder / "target"
        self.source.mkdir()
        (self.source / "file").write_bytes(os.urandom(300_000))
        self.port = free_port()
        self._end = end
        self._count = 0

    def serve(self, *arguments: str) -> tuple[Migrating, str]:
        """It, and its token."""
        file = self.folder / "token"
        serving = Migrating(
            self.folder / "there", "serve", "serve", str(self.target), "--listen", f"127.0.0.1:{self.port}",
            "--token-file", str(file), *arguments,
        )  # fmt: skip
        self._end.callback(serving.close)
        serving.until_said("the token is in")
        assert file.stat().st_mode & 0o777 == 0o600
        return serving, file.read_text().strip()

    def migrate(self, *arguments: str, environment: dict[str, str] | None = None) -> Migrating:
        self._count += 1
        here = self.folder / f"here{self._count}"
        running = Migrating(here, "migrate", *arguments, environment=environment)
        self._end.callback(running.close)
        return running


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    program("rsync")
    with ExitStack() as end:
        yield Place(tmp_path, end)


def test_a_token_is_good_for_one_migration(place: Place) -> None:
    serving, token = place.serve()
    (place.source / "more").write_bytes(os.urandom(6_000_000))
    first = place.migrate(str(place.source), token, "--bwlimit", "1m")
    until(lambda: used(place.target) > 200_000 or first.process.poll() is not None, "the first to move something")
    thief = place.migrate(str(place.source), token)
    assert thief.wait() == 3
    assert "the token was used already, by another client" in thief.err
    assert not list((thief._out.parent / "state").iterdir()), "there is nothing to go on with"
    assert "refused a client: the token was used already" in serving.err
    assert first.wait() == 0, first.said
    assert serving.wait() == 0
    trees.assert_same(place.source, place.target)


def test_a_dry_run_does_not_use_a_token_up(place: Place) -> None:
    serving, token = place.serve()
    looking = place.migrate(str(place.source), token, "--dry-run")
    assert looking.wait() == 0, looking.said
    assert os.listdir(place.target) == []
    serving.until_said("the token can be used again")
    moving = place.migrate(str(place.source), token)
    assert moving.wait() == 0, moving.said
    assert serving.wait() == 0, serving.said
    trees.assert_same(place.source, place.target)


def test_nobody_without_the_clients_certificate_reaches_a_volume(place: Place) -> None:
    serving, token = place.serve()
    (place.source / "more").write_bytes(os.urandom(6_000_000))
    first = place.migrate(str(place.source), token, "--bwlimit", "1m")
    until(lambda: used(place.target) > 200_000 or first.process.poll() is not None, "the first to move something")
    for protocol in ("ferryman-migrate-volume-volume", "ferryman-migrate-control", "h2", ""):
        alpn = ["-alpn", protocol] if protocol else []
        answer = run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{place.port}", *alpn, "-quiet", stdin=b"@RSYNCD: 31\n"
        )
        assert "@RSYNCD" not in answer.stdout, protocol
    assert first.wait() == 0, first.said
    assert serving.wait() == 0


def test_somebody_elses_token_is_refused(place: Place) -> None:
    _, token = place.serve()
    real = tokens.parse(token)
    forged = tokens.Token(real.addresses, real.fingerprint, os.urandom(32)).text()
    thief = place.migrate(str(place.source), forged)
    assert thief.wait() == 3
    assert "the token is of another migration" in thief.err
    assert not used(place.target)


def test_a_peer_with_another_certificate(place: Place, tls: Callable[..., TlsServer]) -> None:
    other = tls("stranger", "localhost", host="127.0.0.1")
    token = tokens.Token((f"127.0.0.1:{other.port}",), "ab" * 32, os.urandom(32)).text()
    running = place.migrate(str(place.source), token)
    assert running.wait() == 3, running.said
    assert "certificate" in running.err
    assert f"127.0.0.1:{other.port}" in running.err


def test_a_token_that_was_not_copied_whole(place: Place) -> None:
    token = tokens.Token(("127.0.0.1:1",), "ab" * 32, os.urandom(32)).text()
    running = place.migrate(str(place.source), token[:-5])
    assert running.wait() == 2
    assert "copy all of it" in running.err
    assert token[20:50] not in running.err


def test_what_a_proxy_says_is_said(place: Place) -> None:
    squid.need()
    with ExitStack() as end:
        proxy = Proxy(end.enter_context(squid.folder()))
        end.callback(proxy.close)
        serving, token = place.serve("--address", f"localhost:{place.port}")
        wrong = place.migrate(str(place.source), token, "--via", f"http://{USER}:wr0ng@127.0.0.1:{proxy.port}")
        assert wrong.wait() == 3
        assert "answered 407 Proxy Authentication Required" in wrong.err
        assert "wr0ng" not in wrong.said
        file = place.folder / "password"
        file.write_text(PASSWORD + "\n")
        right = place.migrate(
            str(place.source), token, "--via", f"http://127.0.0.1:{proxy.port}", "--via-user", USER,
            "--via-password-file", str(file),
        )  # fmt: skip
        assert right.wait() == 0, right.said
        assert serving.wait() == 0
        trees.assert_same(place.source, place.target)


def test_the_proxys_password_is_changed_on_the_way(place: Place) -> None:
    squid.need()
    with ExitStack() as end:
        proxy = Proxy(end.enter_context(squid.folder()))
        end.callback(proxy.close)
        (place.source / "big").write_bytes(os.urandom(4_000_000))
        old, new = place.folder / "old", place.folder / "new"
        old.write_text("0ld")
        new.write_text(PASSWORD)
        serving, token = place.serve("--address", f"localhost:{place.port}")
        state = {"FERRYMAN_MIGRATIONS": str(place.folder / "state")}
        first = place.migrate(
            str(place.source), token, "--via", proxy.url, "--bwlimit", "1m", environment=state
        )  # fmt: skip
        until(lambda: used(place.target) > 1_000_000 or first.process.poll() is not None, "it to be half way")
        first.process.send_signal(signal.SIGINT)
        assert first.wait() == 130, first.said
        before = place.migrate("--resume", "--via-user", USER, "--via-password-file", str(old), environment=state)
        assert before.wait() == 3, before.said
        assert "--via-password-file" in before.err, "what to do about a 407"
        assert "--resume" in before.err, "there is something to go on with"
        after = place.migrate("--resume", "--via-password-file", str(new), environment=state)
        assert after.wait() == 0, after.said
        assert serving.wait() == 0
        trees.assert_same(place.source, place.target)


def test_a_serving_end_that_cannot_listen_leaves_nothing_behind(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        serving = Migrating(
            place.folder / "there", "serve", "serve", str(place.target), "--listen", f"127.0.0.1:{place.port}"
        )
        assert serving.wait() == 1
    assert "cannot listen" in serving.err
    assert not list((place.folder / "there" / "state").iterdir())


def test_nobody_there(place: Place) -> None:
    token = tokens.Token((f"127.0.0.1:{free_port()}",), "ab" * 32, os.urandom(32)).text()
    running = place.migrate(str(place.source), token, "--retries", "1")
    assert running.wait() == 1
    assert "the serving end cannot be reached" in running.err
    assert "refused" in running.err


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "rsync is not installed"),
        ("echo 'rsync  version 3.0.9  protocol version 30'", "rsync 3.0.9; it has to be 3.1.0 or newer"),
        ("echo hello", "does not say its version"),
    ],
)
def test_an_rsync_that_will_not_do(place: Place, script: str | None, words: str) -> None:
    folder = place.folder / "bin"
    folder.mkdir()
    if script is not None:
        (folder / "rsync").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "rsync").chmod(0o755)
    running = place.migrate(str(place.source), str(place.target), environment={"PATH": str(folder)})
    assert running.wait() == 1
    assert words in running.err


def test_a_destination_that_fills(place: Place) -> None:
    disk = place.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        (place.source / "large").write_bytes(os.urandom(9_000_000))
        running = place.migrate(str(place.source), str(disk / "target"))
        assert running.wait() == 1, running.said
        assert "the destination is full: No space left on device" in running.err
        assert "again in" not in running.err, "no attempt makes room"
        assert "--resume" in running.err
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        resumed = Migrating(running._out.parent, "resumed", "--resume")
        assert resumed.wait() == 0, resumed.said
        trees.assert_same(place.source, disk / "target")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "arguments", [["x"], [], ["--resume", "none"], ["missing", "y"], ["--to", "h:1", "--module", "m", "."]]
)
def test_command_lines_that_are_none(place: Place, arguments: list[str]) -> None:
    running = place.migrate(*arguments)
    assert running.wait() in (1, 2)
    assert "ferryman" in running.err


def test_a_serving_end_that_is_out_for_the_terminal(place: Place) -> None:
    identity = certificates.make("server")
    (place.folder / "evil.pem").write_text(identity.certificate + identity.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place.folder / "evil.pem")
    context.set_alpn_protocols(["ferryman-migrate-claim"])
    answers = [b'{"error": "no\\u001b]0;taken over\\u0007\\nferryman: all is well"}\n', b'{"password": "a\\u0000b"}\n']

    def talk(sock: socket.socket, head: str) -> None:
        with suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(answers.pop(0))
            tls.recv(1)

    with odd(talk, wait=False) as port:
        token = tokens.Token((f"127.0.0.1:{port}",), identity.fingerprint, os.urandom(32)).text()
        refused = place.migrate(str(place.source), token)
        assert refused.wait() == 3, refused.said
        without = place.migrate(str(place.source), token)
        assert without.wait() == 1, without.said
    assert "no?]0;taken over??ferryman: all is well" in refused.err
    assert "with no password" in without.err


def test_strangers_at_the_clients_door(place: Place) -> None:
    """Whoever else works on the machine can connect to where rsync does; that ends nothing."""
    (place.source / "more").write_bytes(os.urandom(6_000_000))
    running = place.migrate(str(place.source), str(place.target), "--bwlimit", "1m", "--retries", "0")
    until(lambda: used(place.target) > 200_000 or running.process.poll() is not None, "something to be moved")
    [line] = [line for line in running.children().values() if "rsync://" in line][:1]
    door = re.search(r"@127\.0\.0\.1:(\d+)/", line)
    assert door is not None
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", int(door[1])), 60) as sock:
            sock.settimeout(60)
            assert sock.recv(100).startswith(b"@RSYNCD: ")
    assert running.wait() == 0, running.said
    assert "attempt" not in running.err
    trees.assert_same(place.source, place.target)


def test_nobody_reads_what_a_serving_end_says_any_more(place: Place) -> None:
    """As with `ferryman migrate serve 2>&1 | head`: it goes on all the same."""
    where = ["--listen", f"127.0.0.1:{place.port}", "--token-file", str(place.folder / "token")]
    command = [sys.executable, "-m", "ferryman", "migrate", "serve", str(place.target), *where]
    with subprocess.Popen([*command, "--state", str(place.folder / "there")], stderr=subprocess.PIPE) as serving:
        try:
            assert serving.stderr is not None
            assert b"the token is in" in serving.stderr.readline()
            serving.stderr.close()
            for _ in range(3):  # strangers, each worth a line
                with socket.create_connection(("127.0.0.1", place.port), PATIENCE) as stranger:
                    stranger.sendall(b"no TLS at all")
                    stranger.shutdown(socket.SHUT_WR)
                    stranger.settimeout(PATIENCE)
                    with suppress(ConnectionResetError):
                        while stranger.recv(4096):
                            pass
            moving = place.migrate(str(place.source), (place.folder / "token").read_text().strip())
            assert moving.wait() == 0, moving.said
            assert serving.wait(PATIENCE) == 0
        finally:
            serving.kill()
    trees.assert_same(place.source, place.target)


THIEF = """
from ferryman.cli.main import main
from ferryman.migrate import claim
real = claim.ask
async def ask(path, message):
    return await real(path, {**message, "do": "release"} if message.get("do") == "finish" else message)
claim.ask = ask
main()
"""


def test_a_thief_cannot_leave_the_token_as_if_nobody_had_been_there(place: Place) -> None:
    """Only after a dry run may a token be used again."""
    _, token = place.serve()
    stolen = [sys.executable, "-c", THIEF, "migrate", str(place.source), token, "--state", str(place.folder / "state")]
    subprocess.run(stolen, check=False, capture_output=True, timeout=PATIENCE)
    assert (place.target / "file").exists(), "the thief was there"
    rightful = place.migrate(str(place.source), token)
    assert rightful.wait() == 3
    assert "the token was used already, by another client" in rightful.err
