"""What is remembered of a migration is taken up as it was, or refused: whatever the file has in it."""

from __future__ import annotations

import json
import os
import tempfile

import driver

from ferryman.migrate import MigrationError, memory, report, rsync, session
from ferryman.migrate.ends import Via
from ferryman.migrate.session import Foreign, Order
from ferryman.migrate.token import Token
from ferryman.migrate.volumes import Volume

VOLUMES = (Volume("a", "/a"), Volume("b", "/b"))
ORDERS = (
    Order(VOLUMES, rsync.Flags(), folder="/c"),
    Order(VOLUMES, rsync.Flags(), token=Token(("h:1",), "5e" * 32, bytes(32)), via=Via("http://p:1", "u", "x")),
    Order(VOLUMES[:1], rsync.Flags(), foreign=Foreign("h:1", "m", password="x")),
)
SEEDS = [
    json.dumps(
        {
            "version": 1, "role": "migrate", "begun": 1.5, "runtime": "",
            "data": {"order": order.kept(), "standings": [report.Standing("a").kept()]},
        }
    ).encode()
    for order in ORDERS
]  # fmt: skip
SEEDS += [b"", b"{", b'{"version": 1}', b'{"version": 1, "role": [], "begun": 1e999, "data": [], "runtime": 7}']
PLACE = tempfile.TemporaryDirectory()
FOLDER = os.path.join(PLACE.name, "m")
os.mkdir(FOLDER, 0o700)


def one(data: bytes) -> None:
    with open(os.path.join(FOLDER, "state.json"), "wb", opener=memory.private) as file:
        file.write(data)
    try:
        found = memory._read(FOLDER)
        made = session.Session(found, None)  # type: ignore[arg-type]
    except MigrationError as error:
        refusal = str(error)
        assert FOLDER in refusal or "another version" in refusal
        return
    assert session.recalled(made.order.kept()) == made.order
    assert [one.name for one in made.standings] == [one.name for one in made.order.sources]
    assert all(report.text([one], 1.0, False) for one in made.standings)


if __name__ == "__main__":
    driver.main(one, SEEDS)
