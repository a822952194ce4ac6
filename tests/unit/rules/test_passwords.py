"""Hashes that htpasswd, openssl and crypt(3) make, held against passwords; and what is refused."""

from __future__ import annotations

import base64
import hashlib
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.rules.passwords import MAX_PASSWORD, Passwords, check_hash, matches, parse_htpasswd

BCRYPT = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"  # a vector of crypt_blowfish
SHA = "{SHA}Il59xf4sEQjDIHlRhQvkxwb7rEM="
APR1 = "$apr1$rO5n6Tj9$a1xo4ZrVK7tY9fRIVMb5e1"

KNOWN = [
    ("U*U", BCRYPT),
    ("U*U", BCRYPT.replace("$2y$", "$2a$")),
    ("U*U", BCRYPT.replace("$2y$", "$2b$")),
    ("password", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
]


@pytest.fixture(params=["-apr1", "-1", "-5", "-6"])
def of_openssl(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """Passwords of many lengths with the hashes that openssl gives them."""
    passwords = ["x", "secret", "pässwörd", "a b", "0" * 15, "0" * 16, "0" * 17, "long " * 20]
    made = subprocess.run(
        ["openssl", "passwd", request.param, *passwords], capture_output=True, text=True, check=True, timeout=60
    )
    return list(zip(passwords, made.stdout.split(), strict=True))


def test_openssl_makes_the_same(of_openssl: list[tuple[str, str]]) -> None:
    for password, secret in of_openssl:
        assert check_hash(secret) == ""
        assert matches(password.encode(), secret), secret
        assert not matches(password.encode() + b"x", secret)
        assert not matches(password.encode()[:-1] + b"\x01", secret)


@pytest.mark.parametrize("option", ["-5", "-6"])
def test_rounds_are_a_matter_of_the_hash(option: str) -> None:
    command = ["openssl", "passwd", option, "-salt", "rounds=1234$saltstring", "secret"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    assert made.startswith(f"${option[1]}$rounds=1234$saltstring$")
    assert check_hash(made) == ""
    assert matches(b"secret", made)
    assert not matches(b"secret", made.replace("1234", "1235"))


@pytest.mark.parametrize(("password", "secret"), KNOWN)
def test_published_vectors(password: str, secret: str) -> None:
    assert check_hash(secret) == ""
    assert matches(password.encode(), secret)
    assert not matches(password.lower().encode() + b"x", secret)


@pytest.mark.parametrize("option", ["-m", "-s", "-B", "-2", "-5"])
def test_htpasswd_makes_what_we_take(option: str) -> None:
    if shutil.which("htpasswd") is None:
        pytest.skip("htpasswd is not installed")
    made = subprocess.run(["htpasswd", "-nb", option, "alice", "sécret"], capture_output=True, text=True, timeout=60)
    if made.returncode:
        pytest.skip(f"this htpasswd knows no {option}")
    users, problems = parse_htpasswd(made.stdout)
    assert problems == []
    assert Passwords(users.items()).verify("alice", "sécret")
    assert not Passwords(users.items()).verify("alice", "secret")


# --- files ---


def test_a_file() -> None:
    users, problems = parse_htpasswd(
        f"# users\n\nalice:{BCRYPT}\r\n  bob:{APR1}  \ncarol:{SHA}:Carol of accounting\nalice@example.com:{SHA}\n"
    )
    assert users == {"alice": BCRYPT, "bob": APR1, "carol": SHA, "alice@example.com": SHA}
    assert problems == []


def test_an_empty_file_has_no_users() -> None:
    assert parse_htpasswd("") == ({}, [])


def test_every_bad_line_is_named() -> None:
    users, problems = parse_htpasswd(
        "\n".join(
            [
                f"alice:{BCRYPT}",
                "bob",
                f":{BCRYPT}",
                "carol:",
                "dave:secret",
                "erin:rqXexS6ZhobKA",
                f"alice:{APR1}",
                f"fr\x01ed:{APR1}",
                "grace:secret2",
                f"grace:{SHA}",
            ]
        )
    )
    assert users == {"alice": BCRYPT}
    assert [number for number, _ in problems] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    told = dict(problems)
    assert told[2] == told[3] == "not USER:HASH"
    assert told[4] == "no hash"
    assert "plain text is not taken" in told[5]
    assert "traditional DES" in told[6]
    assert told[7] == "the user of line 1 again"
    assert told[10] == "the user of line 9 again"


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("secret", "plain text"),
        ("a password with spaces", "plain text"),
        ("rqXexS6ZhobKA", "traditional DES"),
        ("_J9..rasmBYk8r9AiWNc", "traditional DES"),
        ("{SSHA}Il59xf4sEQjDIHlRhQvkxwb7rEM=", "not taken, or damaged"),
        ("{SHA}tooshort=", "not taken, or damaged"),
        ("$apr1$salt$tooshort", "not taken, or damaged"),
        ("$apr1$saltsaltsalt$a1xo4ZrVK7tY9fRIVMb5e1", "not taken, or damaged"),
        ("$y$j9T$abc$def", "not taken, or damaged"),
        ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "not taken, or damaged"),
        (BCRYPT[:-1], "not taken, or damaged"),
        (BCRYPT.replace("$05$", "$31$"), "cost 31: 4 to 15"),
        (BCRYPT.replace("$05$", "$03$"), "cost 3: 4 to 15"),
        ("$6$rounds=999999999$saltstring$" + "a" * 86, "999999999 rounds"),
        ("", "no hash"),
    ],
)
def test_what_is_no_good_hash(secret: str, problem: str) -> None:
    assert problem in check_hash(secret)
    assert not secret or secret not in check_hash(secret)


# --- verifying ---

USERS = Passwords([("alice", BCRYPT), ("Bob", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")])


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        ("alice", "U*U", True),
        ("alice", "password", False),
        ("alice", "", False),
        ("alice", "U*U\0", False),
        ("alice", "U*U\0x", False),
        ("Bob", "password", True),
        ("bob", "password", False),
        ("carol", "U*U", False),
        ("carol", "password", False),
        ("", "password", False),
        ("ca\ud800rol", "pass\ud800word", False),
    ],
)
def test_who_is_let_in(user: str, password: str, right: bool) -> None:
    assert USERS.verify(user, password) is right


def test_nobody_is_let_in_where_there_are_no_users() -> None:
    assert not Passwords([]).verify("alice", "U*U")


def test_the_longest_password() -> None:
    longest = "x" * MAX_PASSWORD
    secret = "{SHA}" + base64.b64encode(hashlib.sha1(longest.encode()).digest()).decode()
    assert Passwords([("alice", secret)]).verify("alice", longest)
    longer = "{SHA}" + base64.b64encode(hashlib.sha1(longest.encode() + b"x").digest()).decode()
    assert not Passwords([("alice", longer)]).verify("alice", longest + "x")


def test_a_repr_shows_no_hash() -> None:
    assert repr(USERS) == "Passwords(of 2 users)"


def test_a_user_that_is_none_takes_as_long_as_one_that_is() -> None:
    users = Passwords([(f"user{number}", BCRYPT.replace("$05$", "$08$")) for number in range(3)])

    def took(user: str) -> float:
        start = time.thread_time()
        assert not users.verify(user, "wrong")
        return time.thread_time() - start

    both = [(took(f"user{number % 3}"), took(f"other{number}")) for number in range(9)]  # in turn: the machine varies
    known, unknown = (min(times) for times in zip(*both, strict=True))
    assert known > 0.003, "the hash is not the slow one it should be"
    assert 0.5 < unknown / known < 2


@pytest.fixture
def cooperative() -> Iterator[None]:
    """Threads change only where one gives up the interpreter's lock by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("cooperative")
def test_others_work_while_a_hash_is_computed() -> None:
    """With the interpreter's lock held, this thread would not see the other one between begin and end of the check."""
    users = Passwords([("alice", BCRYPT.replace("$05$", "$10$"))])
    users.verify("alice", "wrong")  # the library is loaded now
    events: list[str] = []

    def check() -> None:
        events.append("begun")
        users.verify("alice", "wrong")
        events.append("ended")

    seen = False
    for _ in range(50):  # this one may be kept from running just then
        events.clear()
        thread = threading.Thread(target=check)
        thread.start()
        while len(events) < 2:
            seen = seen or events == ["begun"]
            select.select([], [], [], 0)  # gives up the lock
        thread.join()
        if seen:
            return
    pytest.fail("nobody else could work")


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=120))
def test_any_line_is_a_user_a_comment_or_a_problem(line: str) -> None:
    users, problems = parse_htpasswd(line)
    assert not users or not problems or "\n" in line
    for _, problem in problems:
        assert problem
