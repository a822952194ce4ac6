"""pip's newest usable wheel is found in what a package index answers, in both of its forms."""

import functools
import http.server
import json
import threading
from pathlib import Path

import pytest
from scripts.bootstrap_pip import Wheel, newest, parse_html, parse_json

BASE = "https://index.example/simple/pip/"
PYTHON = (3, 11)


def test_json_page() -> None:
    files = [
        {"filename": "a", "url": "/f/pip-25.0.1-py3-none-any.whl", "hashes": {"sha256": "aa"}, "requires-python": None},
        {"filename": "b", "url": "https://cdn.example/pip-9.0-py3-none-any.whl", "hashes": {"sha256": "bb"}},
        {"filename": "c", "url": "pip-26.0b1-py3-none-any.whl", "hashes": {"sha256": "beta"}},
        {
            "filename": "d",
            "url": "pip-27.0-py3-none-any.whl",
            "hashes": {"sha256": "later"},
            "requires-python": ">=3.12",
        },
        {"filename": "e", "url": "pip-28.0-py3-none-any.whl", "hashes": {"sha256": "withdrawn"}, "yanked": True},
        {"filename": "f", "url": "pip-29.0-py3-none-any.whl", "hashes": {}},
        {"filename": "g", "url": "pip-30.0.tar.gz", "hashes": {"sha256": "source"}},
    ]
    assert parse_json(json.dumps({"files": files}), BASE, PYTHON) == [
        Wheel((25, 0, 1), "https://index.example/f/pip-25.0.1-py3-none-any.whl", "aa"),
        Wheel((9, 0), "https://cdn.example/pip-9.0-py3-none-any.whl", "bb"),
    ]


def test_html_page() -> None:
    page = """<!DOCTYPE html><body>
      <a href="../../f/pip-25.0-py3-none-any.whl#sha256=aa" data-requires-python="&gt;=3.8">pip-25.0</a>
      <a href="pip-26.0-py3-none-any.whl#sha256=later" data-requires-python="&gt;=3.12">pip-26.0</a>
      <a href="pip-27.0-py3-none-any.whl#sha256=withdrawn" data-yanked="broken">pip-27.0</a>
      <a href="pip-28.0-py3-none-any.whl">no hash</a></body>"""
    found = parse_html(page, BASE, PYTHON)
    assert found == [Wheel((25, 0), "https://index.example/f/pip-25.0-py3-none-any.whl", "aa")]


def test_newest_of_a_served_index_is_by_number_not_by_text(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    names = ("pip-9.0-py3-none-any.whl", "pip-25.1-py3-none-any.whl", "pip-25.0-py3-none-any.whl")
    (tmp_path / "pip" / "index.html").write_text("".join(f'<a href="{name}#sha256=aa">x</a>' for name in names))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        index = f"http://127.0.0.1:{server.server_address[1]}"
        assert newest(index) == Wheel((25, 1), f"{index}/pip/pip-25.1-py3-none-any.whl", "aa")
        with pytest.raises(OSError, match="404"):
            newest(f"{index}/nowhere")
        server.shutdown()
        thread.join()
