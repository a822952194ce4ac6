"""The tables agree with the functions that read the lines, and with themselves."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.haproxy import keywords, keywords_address, keywords_global, process, proxy_lines
from ferryman.config.dialects.haproxy.expressions import CONVERTERS, CONVERTERS_NOT_YET, FETCHES, FETCHES_NOT_YET
from ferryman.config.dialects.haproxy.keywords import HTTP, INERT, NOT_YET, QUIET, REMOVED, YES, Table
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Mark
from ferryman.rules.converters import CONVERTERS as NATIVE_CONVERTERS
from ferryman.rules.fetches import FETCHES as NATIVE_FETCHES

HERE = Mark("h.cfg", 1, 1)
TABLES = [value for module in (keywords, keywords_global, keywords_address) for value in vars(module).values()]
TABLES = [table for table in TABLES if isinstance(table, Table)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.what)
def test_every_row_says_what_becomes_of_it(table: Table) -> None:
    assert {row.support for row in table} <= {YES, QUIET, INERT, HTTP, NOT_YET, REMOVED}
    assert all(row.note for row in table if row.support == REMOVED)


def test_supported_keywords_have_a_function() -> None:
    assert set(keywords_global.GLOBAL.names(YES)) == {*process.HANDLERS, "no"}
    assert set(keywords.PROXY.names(YES)) | {"id"} == {*proxy_lines.HANDLERS, "no"}


def test_facts_and_converters_exist() -> None:
    assert set(FETCHES.values()) <= set(NATIVE_FETCHES)
    assert set(CONVERTERS.values()) <= set(NATIVE_CONVERTERS)
    assert not set(CONVERTERS) & CONVERTERS_NOT_YET
    ours = ("fc_", "capture", "fe_", "ssl_")
    assert not [name for name in FETCHES if FETCHES_NOT_YET.match(name) and not name.startswith(ours)]


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("maxcon", "unknown keyword 'maxcon'", "did you mean 'maxconn'?"),
        ("stick-table", "'stick-table' is HAProxy's, not supported by ferryman yet", ""),
        ("contimeout", "'contimeout' is gone from HAProxy", "write `timeout connect`"),
    ],
)
def test_find_says_why_not(word: str, message: str, hint: str) -> None:
    with pytest.raises(Mistake) as caught:
        keywords.PROXY.find(Word(word, HERE))
    assert (caught.value.message, caught.value.hint) == (message, hint)
