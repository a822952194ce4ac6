"""Loading never raises, whatever the bytes: they become a plan, or at least one error that can be shown.

Seeds are the golden configurations, so that changed bytes are mostly still YAML that means something.
"""

from __future__ import annotations

from pathlib import Path

import driver

from ferryman.config.load import load
from ferryman.config.render import as_json, render
from ferryman.config.source import Source

GOLDEN = Path(__file__).parents[1] / "golden" / "native"
SEEDS = [file.read_bytes().partition(b"-" * 40)[0] for file in sorted(GOLDEN.glob("*.yaml"))]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    loaded = load([Source("fuzz.yaml", text)], "ferryman", environment={"PORT": "8443"})
    assert (loaded.plan is not None) == (loaded.diagnostics.errors == 0)
    for finding in loaded.diagnostics.found:
        assert finding.message
        assert as_json(finding)
        head, *shown = render(finding, loaded.sources).split("\n")
        assert head.isprintable()
        assert len(shown) in (0, 2)


if __name__ == "__main__":
    driver.main(one, SEEDS)
