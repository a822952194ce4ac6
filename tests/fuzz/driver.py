"""Runs a fuzz target. A target is a file fuzz_*.py here that has

* a docstring whose first line is the invariant,
* `SEEDS`, the inputs to start from,
* `one(data)`, which raises if the invariant does not hold for `data`, and
* `driver.main(one, SEEDS)` under `if __name__ == "__main__"`: python tests/fuzz/fuzz_NAME.py SECONDS [SEED]

test_fuzz.py runs each of them for a moment with every run of the test suite.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Target = Callable[[bytes], None]


def run(one: Target, seeds: Sequence[bytes], seconds: float, seed: int) -> int:
    """Call `one` with the seeds and then with mutations of them, for so long and once at least; the number of calls.

    What it raises gets the input.
    """
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    calls = 0
    while calls <= len(seeds) or time.monotonic() < deadline:
        data = seeds[calls] if calls < len(seeds) else mutated(rng, seeds)
        try:
            one(data)
        except BaseException as error:
            error.add_note(f"the input, in call {calls} with seed {seed}: {data.hex()}")
            raise
        calls += 1
    return calls


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with a few things done to it."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        end = at + rng.choice((1, 1, 2, 4, rng.randrange(1, 64)))
        match rng.randrange(7):
            case 0:  # change a bit
                data[at : at + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1])
            case 1:  # a byte at the edge of something
                data[at : at + 1] = bytes([rng.choice((0, 1, 9, 10, 13, 32, 127, 128, 255))])
            case 2:  # lengths are off by a little
                data[at : at + 1] = bytes((byte + rng.choice((-2, -1, 1, 2))) & 255 for byte in data[at : at + 1])
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = rng.randbytes(end - at)
            case 5:  # repeat a piece, or bring one from elsewhere
                other = rng.choice((bytes(data), rng.choice(seeds)))
                start = rng.randrange(len(other) + 1)
                data[at:at] = other[start : start + end - at]
            case _:
                if rng.random() < 0.2:
                    del data[at:]
    return bytes(data)


def main(one: Target, seeds: Sequence[bytes]) -> None:
    """The command line of a target. With atheris installed the coverage leads the search, without it chance does."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}, {seconds:g} seconds", flush=True)
    if importlib.util.find_spec("atheris") is not None:
        _guided(one, seeds, seconds, seed)
    else:
        print(f"{run(one, seeds, seconds, seed)} inputs, no failure")


def _guided(one: Target, seeds: Sequence[bytes], seconds: float, seed: int) -> None:
    atheris = importlib.import_module("atheris")
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(data)
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], f"-seed={seed}", f"-max_total_time={max(1, int(seconds))}", corpus], one)
        atheris.Fuzz()
