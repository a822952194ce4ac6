"""Numbers as people read them."""

from __future__ import annotations

import pytest

from ferryman.controlplane import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-3, "0s"), (59.9, "59s"), (60, "1m00s"), (192, "3m12s"), (7500, "2h05m"), (1_048_000, "12d03h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (996, "996 B"),
        (1000, "1.0 KiB"),
        (1434, "1.4 KiB"),
        (512 * 2**20, "512 MiB"),
        (1023 * 2**20, "1.0 GiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert wording.size(count) == text


def test_number_and_moment() -> None:
    assert wording.number(1234567) == "1\u202f234\u202f567"
    assert wording.moment(1_800_000_000.7) == "2027-01-15 08:00:00 UTC"
