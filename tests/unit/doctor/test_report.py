"""Rows, and what follows from all of them."""

from __future__ import annotations

import json

import pytest

from ferryman.doctor.report import BROKEN, CARRIES, DOUBTFUL, Check, Report, finding, fine, skipped, unknown

PLACES = {"host": "dvm.test", "port": "6443", "target": "dvm.test:6443", "proxy": "proxy.test:3128"}


@pytest.mark.parametrize(
    ("check", "mark"),
    [
        (fine("a", "s"), "ok"),
        (unknown("a", "s"), "unknown"),
        (skipped("a", "s"), "skipped"),
        (finding("a", "MITM", "s", PLACES), "error"),
        (finding("a", "EARLY_200", "s", PLACES), "warning"),
        (finding("a", "OPEN_PROXY", "s", PLACES), "hint"),
    ],
)
def test_the_mark_of_a_row(check: Check, mark: str) -> None:
    assert check.mark == mark


def test_blanks_are_filled_in_from_the_path() -> None:
    row = finding("connect", "PORT_BLOCKED", "s", PLACES)
    assert "acl SSL_ports port 6443" in row.remedy
    assert "{" not in row.remedy.replace("{http: {connect_ports: 443 6443}}", "")


def test_only_evidence_that_there_is() -> None:
    assert fine("a", "s", first_line="x", then="").data()["evidence"] == {"first line": "x"}


def test_what_a_peer_said_cannot_steer_a_terminal() -> None:
    row = finding("a", "NOT_HTTP", "it answers \x1b[2J", PLACES, answer="\x1b]0;x\x07")
    assert "\x1b" not in row.said + str(dict(row.evidence))


@pytest.mark.parametrize(
    ("codes", "exit_code", "carries"),
    [
        ([], CARRIES, "yes"),
        (["OPEN_PROXY"], CARRIES, "yes"),
        (["OPEN_PROXY", "EARLY_200"], DOUBTFUL, "perhaps"),
        (["EARLY_200", "NOT_TLS", "OPEN_PROXY"], BROKEN, "no"),
    ],
)
def test_the_worst_decides(codes: list[str], exit_code: int, carries: str) -> None:
    report = Report("p", tuple(finding("a", code, "s", PLACES) for code in codes), 1.23456)
    data = json.loads(json.dumps(report.data()))
    assert (report.exit_code, data["carries"], data["seconds"]) == (exit_code, carries, 1.235)
    assert [row["code"] for row in data["checks"]] == codes
    assert [row.probe for row in report.found] == ["a"] * len(codes)
