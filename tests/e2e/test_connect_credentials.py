"""Who may use an explicit proxy: users of a mapping and of htpasswd files, rules about them, those who guess."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ferry import Ferry, free_port, until
from origin import Origin
from servers import EchoServer
from talk import Answer, Talk, basic

from ferryman.controlplane.credentials import LONGEST_DELAY, PER_ADDRESS

PASSWORD = "se:cr:et-väl"
HASHES = {
    "apr1": "$apr1$saltsalt$hruEt7ceTY4kjwmzX04DP1",
    "bcrypt": "$2y$04$abcdefghijklmnopqrstuuVZDMycUgmACWhelp7zs/S4WYFGdB.f2",
    "sha1": "{SHA}vC0jfhmB0cqvEe+3G6n+jY5boek=",
    "sha256": "$5$saltsalt$xN6lCNldcP.wLppZJkOTQBrNjR193OqnFCuQ4e8JDU3",
    "sha512": "$6$saltsalt$c9pu9FxHbp68HJ05rooX/vwH3Y6Xm/KS9e17vzAaSKFNHV87xLUhdocAEM54qz92x/i9jseuGYxhgKXDbDY/k.",
}


class Site:
    """Three listeners: users of a mapping, of a file, and rules about who may go where."""

    def __init__(self, run: Callable[..., Ferry], folder: Path) -> None:
        self.mapping, self.file, self.rules = (free_port() for _ in range(3))
        self.echo, self.other, self.origin = EchoServer(), EchoServer(), Origin()
        users = folder / "users"
        users.write_text("# people\n" + "".join(f"{kind}:{value}\n" for kind, value in HASHES.items()))
        self.ferry = run(f"""
global: {{workers: 2}}
listeners:
  mapping:
    bind: 127.0.0.1:{self.mapping}
    connect: {{egress_allow: [127.0.0.1], users: {{alice: "{HASHES["apr1"]}"}}, users_ignore_case: true}}
  file:
    bind: 127.0.0.1:{self.file}
    connect: {{egress_allow: [127.0.0.1], users: {users}}}
  rules:
    bind: 127.0.0.1:{self.rules}
    connect:
      egress_allow: [127.0.0.1]
      users: {users}
      access:
        - {{action: allow, when: {{target_port: {self.other.port}}}}}
        - {{action: deny, when: {{user: sha1}}}}
        - {{action: allow, when: {{user: [apr1, bcrypt], target_port: {self.echo.port}}}}}
""")

    def status(self, port: int, field: str = "", target: str = "", source: str = "") -> int:
        """Of one CONNECT."""
        with Talk(port, source=source) as talk:
            return talk.connect(target or self.echo.address, *([field] if field else [])).status


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(run_shared_ferry, tmp_path_factory.mktemp("users"))
    yield site
    site.echo.close()
    site.other.close()
    site.origin.close()


@pytest.mark.parametrize("kind", HASHES)
def test_users_of_a_file_with_every_kind_of_hash(site: Site, kind: str) -> None:
    assert site.status(site.file, basic(kind, PASSWORD)) == 200
    assert site.status(site.file, basic(kind, PASSWORD + "x"), source=f"127.0.1.{len(kind)}") == 407
    assert site.ferry.line(lambda line: line.get("user") == kind)


def test_users_of_a_mapping_without_case(site: Site) -> None:
    assert site.status(site.mapping, basic("ALICE", PASSWORD)) == 200
    assert site.status(site.mapping, basic("apr1", PASSWORD), source="127.0.1.20") == 407


def test_the_second_try_on_the_same_connection_is_the_usual_one(site: Site) -> None:
    with Talk(site.file, source="127.0.1.30") as talk:
        assert talk.connect(site.echo.address).status == 407
        wrong = talk.connect(site.echo.address, basic("apr1", "guessed"))
        assert (wrong.status, wrong.body) == (407, b"ferryman: wrong user or password\n")
        assert talk.connect(site.echo.address, basic("apr1", PASSWORD)).status == 200
        talk.send(b"?")
        assert talk.exactly(1) == b"?"


def test_plain_requests_are_asked_as_well(site: Site) -> None:
    request = f"GET http://{site.origin.address}/say/hi HTTP/1.1\r\nHost: {site.origin.address}\r\n"
    with Talk(site.file) as talk:
        talk.send(f"{request}\r\n")
        assert talk.answer().status == 407
        talk.send(f"{request}{basic('apr1', PASSWORD)}\r\n\r\n")
        assert talk.answer().body == b"hi"
        talk.send(f"{request}\r\n")
        assert talk.answer().status == 407, "each request for itself"
    assert not site.origin.received[-1].all("proxy-authorization"), "credentials are not for the server"


def socks(site: Site, port: int, user: bytes, password: bytes) -> tuple[int, int]:
    """The server's method and its verdict on user and password."""
    with Talk(port) as talk:
        talk.send(b"\x05\x02\x00\x02")
        method = talk.exactly(2)
        if method != b"\x05\x02":
            return method[1], -1
        talk.send(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        verdict = talk.exactly(2)
        if verdict == b"\x01\x00":
            talk.send(b"\x05\x01\x00\x01\x7f\0\0\x01" + site.echo.port.to_bytes(2, "big"))
            assert talk.exactly(10)[:2] == b"\x05\x00"
            talk.send(b"?")
            assert talk.exactly(1) == b"?"
        else:
            assert talk.rest() == b"", "RFC 1929: the connection is closed"
        return method[1], verdict[1]


def test_socks5_clients_give_user_and_password(site: Site) -> None:
    assert socks(site, site.file, b"bcrypt", PASSWORD.encode()) == (2, 0)
    assert socks(site, site.mapping, b"Alice", PASSWORD.encode()) == (2, 0)


def test_socks5_clients_with_a_wrong_password_or_none_are_refused(site: Site) -> None:
    assert socks(site, site.file, b"bcrypt", b"guessed") == (2, 1)
    with Talk(site.file) as talk:
        talk.send(b"\x05\x01\x00")
        assert talk.rest() == b"\x05\xff", "it wants credentials, which the client did not offer"


def test_rules_about_users(site: Site) -> None:
    assert site.status(site.rules, target=site.other.address) == 200, "nobody is asked before a rule wants to know"
    assert site.status(site.rules) == 407
    assert site.status(site.rules, basic("bcrypt", PASSWORD)) == 200
    assert site.status(site.rules, basic("sha1", PASSWORD)) == 407, "others than these might be allowed"
    assert site.status(site.rules, basic("sha512", PASSWORD)) == 403
    assert site.status(site.rules, basic("bcrypt", PASSWORD), f"127.0.0.1:{site.origin.port}") == 403


def test_those_who_guess_wait_ever_longer_while_others_are_served_at_once(site: Site) -> None:
    delays: list[float] = []
    for number in range(5):
        since = time.monotonic()
        assert site.status(site.file, basic("bcrypt", f"guess {number}"), source="127.0.2.1") == 407
        delays.append(time.monotonic() - since)

    def served_meanwhile() -> bool:
        with Talk(site.file, source="127.0.2.1") as guessing:
            guessing.send(f"CONNECT {site.echo.address} HTTP/1.1\r\nHost: x\r\n{basic('bcrypt', 'again')}\r\n\r\n")
            assert site.status(site.file, basic("sha1", PASSWORD), source="127.0.2.2") == 200
            return not select.select([guessing.sock], [], [], 0)[0]

    until(served_meanwhile, "another address to be served while this one waits")
    assert delays[2] > 0.2
    assert delays[3] > 0.4
    assert delays[4] > 0.8, "0.1 s, doubled with each mistake"


def guesses(cleanup: ExitStack, site: Site, source: str, count: int, word: str) -> Callable[[], list[Answer]]:
    """Send as many wrong guesses at once; gives what reads the answers."""
    talks = [cleanup.enter_context(Talk(site.file, source=source)) for _ in range(count)]
    for number, talk in enumerate(talks):
        field = basic("apr1", f"{word} {number}")
        talk.send(f"CONNECT {site.echo.address} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n")
    return lambda: [talk.answer("CONNECT") for talk in talks]


def test_a_flood_of_guesses_from_one_address_is_answered_as_busy(site: Site) -> None:
    with ExitStack() as cleanup:
        first = guesses(cleanup, site, "127.0.2.3", 12, "first guess")()
        assert [answer.status for answer in first] == [407] * 12, "so many may wait; from now on each waits longest"
        since = time.monotonic()
        answers = guesses(cleanup, site, "127.0.2.3", 40, "guess")
        assert site.status(site.file, basic("apr1", PASSWORD), source="127.0.2.4") == 200
        flood = answers()
        rounds = (time.monotonic() - since) // LONGEST_DELAY
    busy = [answer for answer in flood if answer.status == 429]
    assert sum(answer.status == 407 for answer in flood) == 40 - len(busy)
    assert 40 - len(busy) <= PER_ADDRESS * rounds, "so many wait at once, and each the whole time"
    assert busy
    assert all(answer.get("retry-after") == "5" for answer in busy)
