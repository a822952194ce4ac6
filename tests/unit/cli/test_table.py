"""Text in columns."""

from __future__ import annotations

from ferryman.cli.table import columns


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("NAME", "N", "WHAT"), ("a", "1000", "x"), ("longest", "1", "")]
    assert columns(rows, right=[1]) == "NAME        N  WHAT\na        1000  x\nlongest     1  "


def test_style_sees_row_column_and_padded_cell() -> None:
    seen: list[tuple[int, int, str]] = []

    def style(row: int, column: int, cell: str) -> str:
        seen.append((row, column, cell))
        return cell.upper()

    assert columns([("a", "b"), ("cc", "d")], style=style) == "A   B\nCC  D"
    assert seen == [(0, 0, "a "), (0, 1, "b"), (1, 0, "cc"), (1, 1, "d")]
