"""Every fuzz target in this folder holds its invariant for a few seconds, from a fixed seed."""

from __future__ import annotations

import importlib
from pathlib import Path

import driver
import pytest

TARGETS = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))


@pytest.mark.parametrize("name", TARGETS)
def test_invariant_holds(name: str) -> None:
    target = importlib.import_module(name)
    assert target.__doc__, "the first line of a target's docstring is its invariant"
    assert driver.run(target.one, target.SEEDS, seconds=3.0, seed=1) > len(target.SEEDS)


def test_a_broken_invariant_is_reported_with_its_input() -> None:
    def one(data: bytes) -> None:
        assert b"x" not in data

    with pytest.raises(AssertionError) as failure:
        driver.run(one, [b"abc", b"xyz"], seconds=1.0, seed=1)
    assert any(b"xyz".hex() in note for note in failure.value.__notes__)
