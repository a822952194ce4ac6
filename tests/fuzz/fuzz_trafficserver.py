"""Reading Traffic Server's files never raises, whatever the text, and every finding stands within it.

Seeds are the golden configurations, each file of which is read alone and with a sni.yaml that uses it.
"""

from __future__ import annotations

import re
from pathlib import Path

import driver

from ferryman.config.dialects import ats
from ferryman.config.source import Diagnostics, Source

GOLDEN = Path(__file__).parents[1] / "golden" / "ats"
TEXTS = [file.read_text().partition("-" * 40)[0] for file in sorted(GOLDEN.glob("*.txt"))]
SEEDS = [text.encode() for text in TEXTS]
SEEDS += [part.encode() for text in TEXTS for part in re.split(r"^=== .*\n", text, flags=re.MULTILINE)[1:]]
OTHERS = [
    Source("o/sni.yaml", "sni: [{fqdn: '*.a', forward_route: $1.b}, {fqdn: '*', partial_blind_route: b}]"),
    Source("o/records.config", "CONFIG proxy.config.http.server_ports STRING 443:ssl:pp\n"),
    Source("o/ssl_multicert.config", "dest_ip=* ssl_cert_name=a.pem\n"),
]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("@", "%")  # no wandering through this machine's files
    sources = [Source("fuzz.conf", text)]
    if text.startswith("==="):
        parts = re.split(r"^=== (\S*).*$", text, flags=re.MULTILINE)[1:]
        sources = [Source(f"{number}", part) for number, part in enumerate(parts[1::2])]
    for given in (sources, [*sources, *OTHERS]):
        diagnostics = Diagnostics()
        assert all(0 <= ats.recognise(source) <= 100 for source in given)
        document = ats.parse(given, diagnostics, {})
        lines = {source.name: source.text.split("\n") for source in given}
        for mark in (*(finding.mark for finding in diagnostics.found), *document.marks.values()):
            assert mark is not None
            assert 1 <= mark.line <= len(lines[mark.file])
            line = lines[mark.file][mark.line - 1]
            assert 1 <= mark.column <= len(line) + 1
            assert mark.column - 1 + mark.length <= len(line)


if __name__ == "__main__":
    driver.main(one, SEEDS)
