"""Put pip into the virtual environment whose python runs this file, where ensurepip is missing.

Called by scripts/venv.sh. Fetches pip's newest wheel from the package index (PIP_INDEX_URL, else pypi.org), checks it
against the hash that the index gives, and lets it install itself. Standard library only.
"""

import hashlib
import json
import os
import re
import runpy
import ssl
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

TIMEOUT = 60  # seconds
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"  # PEP 691; every index has the HTML form (PEP 503)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A pip wheel that an index offers."""

    version: tuple[int, ...]
    url: str
    sha256: str


def wheel(url: str, sha256: str, requires_python: str, python: tuple[int, int]) -> Wheel | None:
    """The wheel at `url`, or None when it is not a final release for this Python, or comes without a hash."""
    name = re.search(r"/pip-(\d+(?:\.\d+)*)-py3-none-any\.whl$", url)
    least = re.search(r">=\s*(\d+)\.(\d+)", requires_python)
    if not name or not sha256 or (least and (int(least[1]), int(least[2])) > python):
        return None
    return Wheel(tuple(map(int, name[1].split("."))), url, sha256)


def parse_json(page: str, base: str, python: tuple[int, int]) -> list[Wheel]:
    """The usable wheels of a PEP 691 page."""
    files = [file for file in json.loads(page)["files"] if not file.get("yanked")]
    wheels = (
        wheel(urljoin(base, file["url"]), file["hashes"].get("sha256", ""), file.get("requires-python") or "", python)
        for file in files
    )
    return [found for found in wheels if found]


def parse_html(page: str, base: str, python: tuple[int, int]) -> list[Wheel]:
    """The usable wheels of a PEP 503 page."""
    found = []
    for attributes in re.findall(r"<a\s([^>]*)>", page):
        values = {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', attributes)}
        url, _, fragment = values.get("href", "").partition("#")
        sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        one = wheel(urljoin(base, url), sha256, values.get("data-requires-python", ""), python)
        if one and "data-yanked" not in attributes:
            found.append(one)
    return found


def fetch(url: str) -> tuple[str, bytes]:
    """(content type, body) of a URL. Raises OSError."""
    bundle = os.environ.get("PIP_CERT")  # what pip itself will trust; ssl knows SSL_CERT_FILE without help
    context = ssl.create_default_context(cafile=bundle if bundle and Path(bundle).exists() else None)
    request = urllib.request.Request(url, headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as answer:
        return answer.headers.get_content_type(), answer.read()


def newest(index: str) -> Wheel:
    """The newest pip that this Python can use. Raises OSError, or LookupError when the index has none."""
    page_url = f"{index.rstrip('/')}/pip/"
    kind, page = fetch(page_url)
    parse = parse_json if kind.endswith("json") else parse_html
    wheels = parse(page.decode(), page_url, sys.version_info[:2])
    if not wheels:
        raise LookupError(f"{page_url} offers no pip for Python {sys.version_info[0]}.{sys.version_info[1]}")
    return max(wheels, key=lambda one: one.version)


def main() -> None:
    """Fetch, check, install. Ends with a message that says what to do when that is not possible."""
    if sys.prefix == sys.base_prefix:
        sys.exit("bootstrap_pip: not in a virtual environment")
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple")
    try:
        best = newest(index)
        _, body = fetch(best.url)
    except (OSError, LookupError) as error:
        sys.exit(
            f"There is no pip here and none could be fetched from {index}: {error}\n"
            "Either install python3-venv and ca-certificates (as root: apt-get install python3-venv ca-certificates),\n"
            "or name an index that this machine reaches with PIP_INDEX_URL (and its CA with SSL_CERT_FILE), or use\n"
            "another Python with make PYTHON=..."
        )
    if hashlib.sha256(body).hexdigest() != best.sha256:
        sys.exit(f"bootstrap_pip: {best.url} does not have the hash that the index gives; not installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, best.url.rpartition("/")[2])
        path.write_bytes(body)
        sys.path.insert(0, str(path))  # pip runs from inside its wheel
        sys.argv = ["pip", "install", "--quiet", "--no-index", str(path)]
        runpy.run_module("pip", run_name="__main__")


if __name__ == "__main__":
    main()
