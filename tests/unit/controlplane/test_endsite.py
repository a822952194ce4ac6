"""Which addresses are one client."""

from __future__ import annotations

import pytest

from ferryman.controlplane.endsite import end_site


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "no address", False),
    ],
)
def test_what_one_client_is(one: str, other: str, same: bool) -> None:
    assert (end_site(one) == end_site(other)) is same
