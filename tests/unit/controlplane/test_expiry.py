"""Certificates that come to their end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plans import shop

from ferryman.controlplane.expiry import CertificateRow, Warnings, rows
from ferryman.plan import Certificate, Plan, TlsAccept, TlsCase

DAY = 86400.0
NOW = 1_800_000_000.0


def with_certificates(*ends: float) -> Plan:
    """The end of each, in days from now."""
    plan = shop()
    shown = tuple(Certificate(f"{days}.pem", "", "", (f"{days}.example",), NOW + days * DAY) for days in ends)
    first = replace(plan.listeners[0], tls=(TlsCase(None, "x:1", TlsAccept(shown)), TlsCase(None, "x:2", None)))
    return replace(plan, listeners=(first, *plan.listeners[1:]))


def test_rows() -> None:
    plan = with_certificates(90, 3, -1)
    found = rows(plan, NOW)
    assert [(row.file, row.condition) for row in found] == [
        ("-1.pem", "down"),
        ("3.pem", "going_down"),
        ("90.pem", "up"),
    ]
    assert found[0] == CertificateRow(plan.listeners[0].name, ("-1.example",), "-1.pem", NOW - DAY, -86400)


def test_one_that_two_cases_show_is_there_once() -> None:
    plan = with_certificates(90)
    case = plan.listeners[0].tls[0]
    twice = replace(plan.listeners[0], tls=(case, case))
    assert len(rows(replace(plan, listeners=(twice,)), NOW)) == 1


@pytest.mark.parametrize(
    ("days", "text"),
    [(3, "the certificate for 3.example expires in 3d00h (3.pem)"), (-2, "-2.example expired 2d00h ago (-2.pem)")],
)
def test_it_is_warned_of_once_a_day(days: float, text: str) -> None:
    plan, warnings = with_certificates(days, 90), Warnings()
    (message,) = warnings.due(plan, NOW)
    assert message.endswith(text)
    assert warnings.due(plan, NOW + DAY / 2) == []
    assert len(warnings.due(plan, NOW + DAY)) == 1


def test_one_that_was_renewed_is_nothing_to_warn_of() -> None:
    warnings = Warnings()
    assert warnings.due(with_certificates(3), NOW)
    assert warnings.due(with_certificates(90), NOW + 2 * DAY) == []
