"""Names of Direct Volume Migration."""

from __future__ import annotations

import hashlib

import pytest

from ferryman.migrate import dvm


@pytest.mark.parametrize(
    ("namespace", "label"),
    [
        ("shop", "dvm-shop"),
        ("n" * 58, f"dvm-{'n' * 58}"),
        ("n" * 59, f"dvm-{hashlib.md5(b'n' * 59).hexdigest()}"),
    ],
)
def test_hosts_of_routes(namespace: str, label: str) -> None:
    """A label has 62 characters at most."""
    assert dvm.route_host(namespace, "apps.example") == f"{label}.apps.example"
