"""The list `tls`: rules that never decide are pointed out; and the CA behind `bump`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme
from tests.unit.config.findings import connect, said, with_connect

from ferryman.plan import Learn


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a CA's certificate and key."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority = trustme.CA()
    file.write_bytes(authority.cert_pem.bytes() + authority.private_key_pem.bytes())
    file.chmod(0o600)
    return file


def warnings(ca: Path, rules: str) -> list[str]:
    """What is said about these rules."""
    found = with_connect(f"bump: {{ca: {ca}}}, tls: [{','.join(rules.split('; '))}]")
    assert found.plan is not None, said(found)
    return said(found)


PEEK, STARE, BUMP, SPLICE = (f"{{action: {action}}}" for action in ("peek", "stare", "bump", "splice"))
PEEK1 = "{action: peek, when: {step: 1}}"
ALWAYS = "warning: this is never reached: f.yaml:1 always decides before it; move it up"


PASSED = "warning: who does not speak TLS gets past this {}: it is carried untouched; write `on_unknown_protocol: "


@pytest.mark.parametrize("action", ["bump", "terminate"])
def test_what_is_no_tls_gets_past_rules_about_tls(ca: Path, action: str) -> None:
    rules = f"tls: [{{action: peek, when: {{step: 1}}}}, {{action: {action}}}]"
    bump = f"bump: {{ca: {ca}}}, " if action == "bump" else ""
    assert [text for text in said(with_connect(bump + rules)) if PASSED.format(action) in text]
    for what in ("tunnel", "respond", "terminate"):
        assert said(with_connect(f"{bump}{rules}, on_unknown_protocol: {what}")) == []


def when(action: str, condition: str) -> str:
    return f"{{action: {action}, when: {{{condition}}}}}"


@pytest.mark.parametrize(
    "rules",
    [
        f"{PEEK1}; {when('splice', 'sni: a.example')}; {BUMP}",
        f"{when('splice', 'target_host: a.example')}; {BUMP}",
        f"{when('splice', 'target_host: a.example')}; {PEEK1}; {when('terminate', 'sni: b.example')}; {STARE}; {BUMP}",
        f"{when('peek', 'step: [1, 2]')}; {when('terminate', 'server_name: a.example')}",
    ],
)
def test_lists_that_make_sense(ca: Path, rules: str) -> None:
    assert [line for line in warnings(ca, rules) if "never" in line] == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (f"{BUMP}; {when('splice', 'target_host: a.example')}", ALWAYS),
        (f"{PEEK1}; {BUMP}; {when('splice', 'sni: a.example')}", ALWAYS),
        (
            f"{when('splice', 'sni: a.example')}; {BUMP}",
            "warning: this never decides: sni is known at step 2, and f.yaml:1 decides at step 1; "
            "let {action: peek, when: {step: 1}} come first",
        ),
        (
            f"{when('bump', 'sni: a.example')}",
            "warning: this never decides: sni is known at step 2, and nothing leads there; "
            "let {action: peek, when: {step: 1}} come first",
        ),
        (
            f"{PEEK}; {when('bump', 'step: 3')}",
            "warning: this never decides: where it could hold, to bump is not possible",
        ),
        (f"{STARE}; {when('splice', 'sni: a.example')}", ALWAYS),
        (
            f"{STARE}; {when('splice', 'step: 3')}",
            "warning: this never decides: where it could hold, to splice is not possible",
        ),
    ],
)
def test_rules_that_never_decide(ca: Path, rules: str, message: str) -> None:
    assert message in warnings(ca, rules)


def test_bump_needs_a_ca() -> None:
    for action in ("bump", "stare"):
        assert said(with_connect(f"on_unknown_protocol: tunnel, tls: [{{action: {action}}}]")) == [
            f"error: to {action}, a CA is needed that signs what clients get to see; "
            "add `bump: {ca: FILE, key: FILE}`"
        ]
    assert said(with_connect("tls: [{action: peek}]")) == []


def test_a_ca_that_nothing_needs(ca: Path) -> None:
    assert said(with_connect(f"bump: {{ca: {ca}}}, tls: [{{action: peek}}]")) == [
        "warning: nothing is ever opened: no rule of `tls` says bump or stare; "
        "add {action: bump} to `tls`, or remove `bump`"
    ]


def test_the_plan_knows_where_the_key_is_and_not_what_it_is(ca: Path, tmp_path: Path) -> None:
    found = connect(
        f"tls: [{{action: bump}}], bump: {{ca: {os.path.relpath(ca)}, cache: 1MB, server_ca: {ca}, keep: {tmp_path}, "
        "learn: {failures: 2}, untrusted: refuse}"
    ).bump
    assert found is not None
    assert (found.ca_file, found.key_file) == (str(ca), str(ca))
    assert (found.cache, found.keep, found.untrusted) == (1 << 20, str(tmp_path), "refuse")
    assert found.learn == Learn(2, 3600.0)
    assert "BEGIN CERTIFICATE" in found.server_ca
    assert "PRIVATE" not in repr(found)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    found = with_connect(
        f"on_unknown_protocol: tunnel, tls: [{{action: bump}}], "
        f"bump: {{ca: {tmp_path}/ca, key: {tmp_path}/key, server_ca: {tmp_path}/all, "
        f"keep: {tmp_path}/keep}}"
    )
    assert said(found) == [
        f"error: cannot read {tmp_path}/ca: No such file or directory",
        f"error: cannot read {tmp_path}/key: No such file or directory",
        f"error: cannot read {tmp_path}/all: No such file or directory",
        f"error: {tmp_path}/keep is no folder; mkdir -m 700 {tmp_path}/keep",
    ]
