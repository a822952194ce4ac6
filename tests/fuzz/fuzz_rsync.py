"""However rsync's output is cut, the same lines come of it; all of it can be shown, kept, and told the cause of.

The text of a cause is one line that steers no terminal, whatever rsync, the log of a connection or a peer says.
"""

from __future__ import annotations

import json
import random
import zlib

import driver

from ferryman.migrate import diagnosis, display, progress, report, rsync
from ferryman.migrate.report import Standing

SEEDS = [
    b"\r     32,768   1%    0.00kB/s    0:00:00  \r  1,234,567  42%   12.34MB/s    0:01:02 (xfr#3, to-chk=97/101)\n",
    b"Number of files: 1,234 (reg: 1,000)\nTotal file size: 9,999 bytes\nTotal transferred file size: 17 bytes\n",
    b"  1,000  50% " + b"9" * 400 + b".0kB/s " + b"9" * 30 + b":00:01\nNumber of files: " + b"9" * 3000 + b"\n",
    b"@ERROR: auth failed on module data\nrsync error: error starting client-server protocol (code 5) at main.c(1)\n",
    b'rsync: server sent "HTTP/1.0 400 \x1b[2J" rather than greeting\n',
    b'rsync: [receiver] write failed on "a" (in data): No space left on device (28)\n\xff\xfe\x00',
    b"server: proxy p:1 answered 407 \xc2\x9b2J\nserver 1.2.3.4: certificate \x1b]0;x\x07\n",
    b">f+++++++++ a\n<fcst...... b\n*deleting   c\n",
]


def lines(data: bytes, *cuts: int) -> list[str]:
    cut, found, begin = progress.Lines(), list[str](), 0
    for end in (*sorted(cuts), len(data)):
        found += progress.texts(cut.feed(data[begin:end]))
        begin = end
    return [*found, *progress.texts([cut.rest])]


def one(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    said = lines(data)
    assert lines(data, *(rng.randrange(len(data) + 1) for _ in range(4))) == said
    standing, stats = Standing("data", "moving", seconds=1.5), progress.Stats()
    for line in said:
        stats.take(line)
        if (found := progress.parse(line)) is not None:
            standing.now, standing.rate, standing.left = found.bytes, found.rate, found.left
            standing.files_done, standing.files, standing.total = found.files_done, found.files, found.total
    assert display.line(standing)
    standing.files_moved, standing.now, standing.total = stats.files, stats.transferred_size, stats.size
    assert display.line(display.total([standing, standing]))
    assert report.text([standing], 1.5, False)
    kept = json.dumps([standing.kept(), display._numbers(standing)], allow_nan=False)
    assert report.recalled(json.loads(kept)[0]).bytes == standing.bytes
    for code in rng.sample((*rsync.CODES, -9, 99), 4):
        log = [{"reason": line, "code": "SC", "bytes": {"in": 7}} for line in said[:2]]
        for cause in (
            diagnosis.of(code, said, []),
            diagnosis.of(code, [], log, "proxy"),
            diagnosis.of(code, [], [], "", data.decode("latin-1")),
        ):
            assert cause.text.isprintable()
            assert all(each.isprintable() for each in cause.files)
            assert cause.outlook in ("again", "refused", "failed")


if __name__ == "__main__":
    driver.main(one, SEEDS)
