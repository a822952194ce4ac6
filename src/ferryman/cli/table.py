"""Text in columns. Used by the verbs that print tables; knows nothing of ferryman."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def columns(
    rows: Sequence[Sequence[str]], right: Sequence[int] = (), style: Callable[[int, int, str], str] | None = None
) -> str:
    """Lines of cells two blanks apart; the columns in `right` are flush right.

    `style` gets row, column and the padded cell, and may add colour.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        cells[-1] = cells[-1].rstrip()
        if style:
            cells = [style(number, place, cell) for place, cell in enumerate(cells)]
        lines.append("  ".join(cells))
    return "\n".join(lines)
