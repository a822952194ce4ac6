"""What rsync says of its progress: the lines of versions 3.1 to 3.5, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.migrate import progress
from ferryman.migrate.progress import Lines, Progress, Stats
from ferryman.migrate.report import Standing, recalled


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("              0   0%    0.00kB/s    0:00:00  ", Progress(0, 0, 0.0, 0)),
        ("     1234567  45%   12.34MB/s    0:01:12  ", Progress(1234567, 45, 12.34 * 1024**2, 72)),
        (
            "     1,234,567 100%    1.00GB/s    1:00:00 (xfr#5, to-chk=10/20)",
            Progress(1234567, 100, 1024.0**3, 3600, 5, 10, 20),
        ),
        ("          32768   3%  204.80B/s   ??:??:?? (xfr#1, ir-chk=1/3)", Progress(32768, 3, 204.8, None, 1, 2, 3)),
        ("     1.234.567  45%  12kB/s    0:00:01", Progress(1234567, 45, 12 * 1024.0, 1)),
    ],
)
def test_lines_of_progress(line: str, expected: Progress) -> None:
    assert progress.parse(line) == expected


@pytest.mark.parametrize("line", ["", "a file 45% of it", "sent 12 bytes", "Number of files: 3", "1 2% 3 4"])
def test_other_lines_are_none(line: str) -> None:
    assert progress.parse(line) is None


def test_the_total_follows_from_per_cent() -> None:
    assert Progress(50, 25, 1.0, 1).total == 200
    assert Progress(50, 0, 1.0, 1).total == 0


def test_what_is_overtaken_is_left_out_and_the_count_of_files_is_not() -> None:
    counted = [b"  %d  1%%  1.00kB/s  0:00:00 (xfr#%d, to-chk=1/9)" % (number, number) for number in (1, 2)]
    plain = [b"  %d  1%%  1.00kB/s  0:00:00  " % number for number in (3, 4)]
    other = b"Number of files: 9"
    assert progress.latest([counted[0], plain[0], other, counted[1], plain[1]]) == [other, counted[1], plain[1]]
    assert progress.latest([b">f+++++++++ 5% 9 B/s ", counted[0]]) == [b">f+++++++++ 5% 9 B/s ", counted[0]]
    assert progress.latest([]) == []


@given(
    st.lists(st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=50)), st.data()
)
def test_lines_come_out_whole_however_they_are_cut(lines: list[str], data: st.DataObject) -> None:
    stream = "".join(line + data.draw(st.sampled_from(["\r", "\n", "\r\n"])) for line in lines).encode()
    cut, found = Lines(), list[str]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += progress.texts(cut.feed(stream[:size]))
        stream = stream[size:]
    found += progress.texts([cut.rest])
    assert found == [line for line in lines if line.strip()]


@given(st.lists(st.binary(max_size=200)))
def test_fuzz_nothing_raises_and_nothing_grows(pieces: list[bytes]) -> None:
    cut, stats = Lines(), Stats()
    for piece in pieces:
        for line in progress.texts(cut.feed(piece)):
            found = progress.parse(line)
            assert found is None or found.bytes >= 0
            stats.take(line)
    for line in progress.texts([cut.rest]):
        assert len(line.encode()) <= 3 * 4096  # a byte that is no UTF-8 is shown as three


def test_numbers_that_no_volume_has_can_be_kept() -> None:
    stats, standing = Stats(), Standing("data")
    assert stats.take(f"Number of files: {'9' * 26}")
    found = progress.parse(f"{'9' * 26} 1% {'9' * 12}.0PB/s 0:00:01")
    assert found is not None
    standing.files, standing.now, standing.total, standing.rate = stats.files, found.bytes, found.total, found.rate
    assert recalled(standing.kept()).bytes == found.bytes


def test_statistics_add_up() -> None:
    stats, more = Stats(), Stats()
    for line in (
        "Number of files: 20,001 (reg: 20,000, dir: 1)",
        "Number of created files: 20,001",
        "Number of deleted files: 2",
        "Number of regular files transferred: 20,000",
        "Total file size: 1,000 bytes",
        "Total transferred file size: 900 bytes",
    ):
        assert stats.take(line)
    assert not stats.take("Strange: 7")
    more.take("Number of files: 20001")
    more.take("Number of regular files transferred: 5")
    stats.add(more)
    assert (stats.files, stats.transferred, stats.deleted, stats.size) == (20001, 20005, 2, 1000)
