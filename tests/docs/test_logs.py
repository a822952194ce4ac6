"""docs/reference/logs.md names every JSON field and every termination code that there is, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from ferryman.config.load import load
from ferryman.config.source import Source
from ferryman.dataplane.accesslog import compile_format
from ferryman.dataplane.record import Ask, How, Record
from ferryman.dataplane.tls import Established
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "reference" / "logs.md").read_text()
SOURCES = sorted((ROOT / "src" / "ferryman" / "dataplane").glob("*.py"))


def section(title: str) -> str:
    return re.split(r"^##+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.M)[0]


def first_column(title: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", section(title), re.M)


def fields(data: dict[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in data.items():
        names += fields(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return names


def test_json_fields() -> None:
    plan = load([Source("x.yaml", "listeners: {a: {bind: '127.0.0.1:1', servers: '127.0.0.1:2'}}")]).plan
    assert plan is not None
    record = Record(plan.listeners[0], "192.0.2.7", 40312, 0.0, 0.0)
    record.captures = [None]
    record.ask = Ask("connect", "api.example.org", 443)
    record.original = ("198.51.100.7", 443)
    record.peer, record.unique_id = ("10.0.0.1", 40000), "7f"
    record.prewarmed = True
    record.tls = Established("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2", False, b"", (), (("CN", "me"),))
    line = json.loads(compile_format("json", "here")(record))
    assert first_column("JSON") == fields(line)


def test_termination_codes() -> None:
    made = {
        code
        for file in SOURCES
        if file.name not in ("logfields.py", "accesslog.py", "tls.py")
        for code in re.findall(r'"([CSPRIDUKLcs-][QCDRHLT-])"', Path(file).read_text())
    }
    assert set(first_column("Termination codes")) == made


def test_how() -> None:
    assert set(first_column("how")) == set(get_args(How)) - {""}
