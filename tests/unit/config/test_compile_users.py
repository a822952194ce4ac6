"""Users from a file or a mapping, and rules that do not know them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config.findings import connect, said, with_connect

HASH = "$apr1$abcdefgh$4V8yM2fnI8hZ5tYkA9Wmq0"
KNOWN = "access: [{action: allow, when: {user: {found: true}}}]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_text(f"# those who may\nalice:{HASH}\nBob:{HASH}\n")
    return file


def test_a_file_or_a_mapping(file: Path) -> None:
    found = connect(f"users: {file}, {KNOWN}")
    assert found.authenticate
    assert found.users == (("alice", HASH), ("Bob", HASH))
    assert HASH not in repr(found)
    assert connect(f"users: {{alice: '{HASH}'}}").users == (("alice", HASH),)
    assert not connect("").authenticate


def test_case_may_not_matter(file: Path) -> None:
    assert [name for name, _ in connect(f"users: {file}, users_ignore_case: true").users] == ["alice", "bob"]
    file.write_text(f"alice:{HASH}\nAlice:{HASH}\n")
    assert said(with_connect(f"users: {file}")) == []
    assert said(with_connect(f"users: {file}, users_ignore_case: true")) == [
        "error: 'Alice' and 'alice' are one user where case is ignored; remove one of them"
    ]


def test_a_file_that_is_wrong(file: Path) -> None:
    file.write_text(f"alice:{HASH}\nbob\ncarol:hush\n")
    errors = said(with_connect(f"users: {file}"))
    assert len(errors) == 2
    assert errors[0].startswith(f"error: {file}, line 2: ")
    assert errors[1].startswith(f"error: {file}, line 3: ")
    assert "hush" not in str(errors)
    assert said(with_connect(f"users: {file}.not")) == [f"error: cannot read {file}.not: No such file or directory"]


def test_a_hash_that_is_wrong() -> None:
    (first, second) = said(with_connect(f"users: {{alice: hush, 'b:b': '{HASH}'}}"))
    assert first.startswith("error: alice: no hash")
    assert "hush" not in first
    assert second == "error: 'b:b' cannot be a user's name; choose one without a colon"


def test_hashes_without_salt(file: Path) -> None:
    unsalted = "{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs="
    message = "is kept as SHA-1 without salt, which is soon guessed; make a new hash with `htpasswd -B`"
    found = with_connect(f"users: {{alice: '{HASH}', bob: '{unsalted}'}}, {KNOWN}")
    assert said(found) == [f"warning: the password of bob {message}"]
    assert found.plan is not None
    file.write_text(f"alice:{unsalted}\nbob:{unsalted}\ncarol:{unsalted}\n")
    assert said(with_connect(f"users: {file}, {KNOWN}")) == [f"warning: the password of alice and 2 others {message}"]


def test_nobody(file: Path) -> None:
    file.write_text("")
    found = with_connect(f"users: {file}")
    assert said(found) == ["warning: there are no users: nobody can log in; add one, or remove `users`"]
    assert found.plan is not None
    assert found.plan.listeners[0].connect is not None
    assert found.plan.listeners[0].connect.authenticate


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "access: [{action: allow, when: {target_port: 443}}]",
            "warning: no rule of `access` asks who it is: what they allow is allowed without a password; "
            "add `user: {found: true}` to the conditions",
        ),
        (
            "access: [{action: allow, when: {user: [alice, alcie]}}]",
            'warning: there is no user \'alcie\'; did you mean \'alice\'?',
        ),
        (
            "users_ignore_case: true, access: [{action: allow, when: {user: Bob}}]",
            "warning: there is no user 'Bob'; names are compared in lower case: write bob",
        ),
        (f"{KNOWN}, tls: [{{action: splice, when: {{user: zed}}}}]", "warning: there is no user 'zed'"),
    ],
)  # fmt: skip
def test_rules_and_users(file: Path, body: str, message: str) -> None:
    assert said(with_connect(f"users: {file}, {body}")) == [message]


@pytest.mark.parametrize(
    "body",
    [
        "access: [{action: allow, when: {user: alice}}]",
        "via: [{through: direct, when: {not: {user: alice}}}]",
        "tls: [{action: splice, when: {'user|lower': alice}}]",
    ],
)
def test_a_user_without_users(body: str) -> None:
    assert said(with_connect(body)) == [
        "error: user is never known: nobody is asked for a password; add `users:`"
    ]  # fmt: skip
