"""Manifests from files, folders, lists and standard input."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from ferryman.kubernetes.manifests import PLACEHOLDER, Reading, read

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: n}\n"


def names(reading: Reading) -> list[str]:
    return [str(each) for each in reading.manifests]


def said(reading: Reading) -> list[str]:
    return [str(each) for each in reading.diagnostics.found]


def piped(text: str) -> Reading:
    return read(["-"], io.BytesIO(text.encode()))


def test_a_folder_and_those_in_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("broken: [")
    (tmp_path / "b.yml").write_text(POD % "b")
    (tmp_path / "a.yaml").write_text(POD % "a" + "---\n" + POD % "c")
    (tmp_path / "in" / "d.json").write_text(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "d"}}))
    (tmp_path / "notes.txt").write_text("nothing")
    reading = read([str(tmp_path)], io.BytesIO())
    assert names(reading) == ["Pod n/a", "Pod n/c", "Pod n/b", "Node d"]
    assert said(reading) == []
    assert str(reading.manifests[1].mark("metadata", "name")) == f"{tmp_path}/a.yaml:7:18"


def test_lists() -> None:
    items = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n"
    items += "- kind: List\n  apiVersion: v1\n  items: [{apiVersion: v1, kind: Node, metadata: {name: b}}]\n"
    reading = piped(items)
    assert names(reading) == ["Pod a", "Node b"]
    assert str(reading.manifests[1].mark("metadata", "name")) == "<stdin>:7:57"
    typed = {"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}
    assert names(piped(json.dumps(typed))) == ["Pod a"]
    assert names(piped('{"kind": "List", "apiVersion": "v1", "items": null}')) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "<stdin>:1:1: error: a manifest is a mapping; it begins with `apiVersion:`"),
        ("a: 1\n", "<stdin>:1:1: error: this is no manifest: `apiVersion` is missing"),
        ("apiVersion: v1\n", "this is no manifest: `kind` is missing"),
        ("apiVersion: 1\nkind: Pod\n", "<stdin>:1:13: error: this is no manifest: `apiVersion` takes text"),
        ("apiVersion: v1\nkind: Pod\nmetadata: x\n", "<stdin>:3:11: error: `metadata` of this Pod takes a mapping"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\n", "<stdin>:3:18: error: `name` of this Pod takes text"),
        ("apiVersion: v1\nkind: Pod\nx\n", "this is not YAML"),
    ],
)
def test_what_is_no_manifest(text: str, expected: str) -> None:
    reading = piped(text)
    assert len(reading.lost) == 1
    assert expected in said(reading)[0]


def test_other_files_of_a_folder_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    reading = read([str(tmp_path)], io.BytesIO())
    assert said(reading) == [
        f"{tmp_path}/values.yaml:1:1: warning: this is no manifest: it has neither apiVersion nor kind"
    ]
    assert reading.lost == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / name) for name in ("gone", "latin.yaml", "empty")]
    reading = read(paths, io.BytesIO())
    assert said(reading) == [
        f"error: cannot read {paths[0]}: No such file or directory",
        f"{paths[1]}:2:4: error: byte 0xe9 is not UTF-8; save the file as UTF-8",
        f"error: the folder {paths[2]} holds no manifest; it should end in .yaml, .yml, .json",
    ]
    assert len(reading.lost) == 3


def test_lists_in_lists_without_end() -> None:
    text = '{"kind": "List", "apiVersion": "v1", "items": [' * 15 + "]}" * 15
    assert len(piped(text).lost) == 1


FAULTY = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": 7}}
LARGE = {
    "many faulty ones": json.dumps({"kind": "List", "apiVersion": "v1", "items": [FAULTY] * 10_000}, indent=1),
    "many merges": "apiVersion: v1\nkind: Pod\n" + "".join(f"<<: {{a{n}: 1}}\n" for n in range(10_000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_time_for_a_text_grows_with_its_length_only(name: str) -> None:
    begun = time.process_time()
    piped(LARGE[name])
    assert time.process_time() - begun < 5.0


def test_the_time_for_a_placeholder_grows_with_its_length_only() -> None:
    begun = time.process_time()
    assert not PLACEHOLDER.search("{" * 100_000)
    assert time.process_time() - begun < 1.0
    assert PLACEHOLDER.search("{{ .Values.name }}")
