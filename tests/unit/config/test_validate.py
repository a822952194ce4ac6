"""A wrong value does not hide what is wrong elsewhere. (The wording: tests/golden/native.)"""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.config.source import Diagnostics, Document, Mark, Path
from ferryman.config.validate import salvage, validate

GOOD: dict[str, Any] = {"listeners": {"web": {"bind": "*:1", "to": "app"}}, "backends": {"app": {"servers": ["a:1"]}}}


def complaints(data: dict[str, Any]) -> list[str]:
    diagnostics = Diagnostics()
    validate(Document("ferryman", data), diagnostics)
    return [str(finding) for finding in diagnostics.found]


def test_good_data_is_good() -> None:
    assert complaints(GOOD) == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"workers": True}, "global.workers: must be a whole number, not true"),
        ({"workers": "4"}, "global.workers: must be a whole number, not '4'; write it without quotes"),
        ({"workers": 0}, "global.workers: must be at least 1, not 0"),
        ({"user": 5}, 'global.user: must be text, not 5; quote it: "5"'),
        ({"daemon": "no"}, "global.daemon: must be true or false, not 'no'; write false"),
        ({"daemon": None}, "global.daemon: must be true or false, not nothing"),
        ({"log": 5}, "global.log: must be a mapping, not 5"),
        ({"log": [{"length": 5}]}, "global.log.0.length: must be at least 80, not 5"),
        ({"runtime_sockets": "x"}, "global.runtime_sockets: 'x' says no port; write x:443"),
        ({"runtime_sockets": {"address": "/x", "mode": "rw"}}, "global.runtime_sockets.mode: 'rw' is no set of"),
        ([], "global: must be a mapping, not a list"),
    ],
)
def test_complaints(settings: object, complaint: str) -> None:
    (found,) = complaints({**GOOD, "global": settings})
    assert found.startswith("error: " + complaint)


def test_a_check_is_a_truth_or_a_mapping() -> None:
    for check in (True, False, {}, {"rise": 3}):
        assert complaints({**GOOD, "backends": {"app": {"servers": ["a:1"], "check": check}}}) == []
    (found,) = complaints({**GOOD, "backends": {"app": {"check": "yes"}}})
    assert found == "error: backends.app.check: must be true or false, not 'yes'; write true"


def test_what_is_left_keeps_its_places() -> None:
    servers = [{"address": "a:x"}, {"address": "b:1"}, {"address": "c:1", "weight": -1}, {"address": "d:1"}]
    path: Path = ("backends", "app", "servers")
    marks: dict[Path, Mark] = {(*path, number): Mark("f", number + 1, 1) for number in range(4)}
    document = Document("ferryman", {**GOOD, "backends": {"app": {"servers": servers}}}, marks)
    left = salvage(document)
    assert left is not None
    rest, configuration = left
    assert [str(server.address) for server in configuration.backends["app"].servers] == ["b:1", "c:1", "d:1"]
    assert [rest.marks[*path, number].line for number in range(3)] == [2, 3, 4]
    assert len(document.data["backends"]["app"]["servers"]) == 4  # type: ignore[index]


def test_nothing_is_left_of_nothing() -> None:
    assert salvage(Document("ferryman", {})) is None
    assert salvage(Document("ferryman", {"listeners": 5})) is None
