"""Networks, numbers, ports."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.ats import values
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Mark


def word(text: str) -> Word:
    return Word(text, Mark("f", 1, 1, len(text)))


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("10.0.0.1", ["10.0.0.1/32"]),
        ("10.0.0.0/8,fd00::/8", ["10.0.0.0/8", "fd00::/8"]),
        ("0/0", ["0.0.0.0/0"]),
        ("::/0", ["::/0"]),
        ("10.0.0.1-10.0.0.2", ["10.0.0.1/32", "10.0.0.2/32"]),
        ("192.168.10.0-3", ["192.168.10.0/30"]),
        ("::1 - ::1".replace(" ", ""), ["::1/128"]),
        ("10.0.0.1\n10.0.0.2", ["10.0.0.1/32", "10.0.0.2/32"]),
    ],
)
def test_networks(text: str, networks: list[str]) -> None:
    assert [at.value for at in values.networks(word(text))] == networks


@pytest.mark.parametrize(
    "text", ["", ",", "x", "10.0.0.0/33", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "1.2.3", "::/999", "1/x"]
)
def test_no_networks(text: str) -> None:
    with pytest.raises(Mistake):
        values.networks(word(text))


def test_numbers() -> None:
    assert [values.integer(word(text)) for text in ("12", "-1", "2K", "1M")] == [12, -1, 2048, 1 << 20]
    for text in ("", "x", "1.5", "1Q"):
        with pytest.raises(Mistake):
            values.integer(word(text))
    with pytest.raises(Mistake, match="out of range"):
        values.integer(word("9"), 0, 8)


def test_truths() -> None:
    assert [values.truth(word(text)) for text in ("1", "true", "ON", "0", "off", "no")] == [True] * 3 + [False] * 3
    with pytest.raises(Mistake):
        values.truth(word("maybe"))


def test_ports() -> None:
    assert values.port_range(word("8000-8010")) == (8000, 8010)
    assert values.port_ranges(word("443 8000-8010")) == [(443, 443), (8000, 8010)]
    assert values.port_ranges(word("443 *")) is None
    for text in ("0", "70000", "2-1", "x", "1-"):
        with pytest.raises(Mistake):
            values.port_range(word(text))


def test_a_choice_is_made_in_any_case() -> None:
    assert values.choice(word("strict"), ("NONE", "STRICT")) == "STRICT"
    with pytest.raises(Mistake) as failure:
        values.choice(word("STRIKT"), ("NONE", "STRICT"))
    assert failure.value.hint == "did you mean 'STRICT'?"


def test_addresses() -> None:
    assert [values.is_address(text) for text in ("1.2.3.4", "[::1]", "::1", "a.example")] == [True, True, True, False]
    assert str(values.address(word("[::1]"))) == "::1"
