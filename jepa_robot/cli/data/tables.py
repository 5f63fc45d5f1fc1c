"""Text tables of what a source holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows, the heading first, as indented lines with aligned columns."""
    cells = [[text(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def text(value: Any) -> str:
    """A value as a person reads it: four digits, and a dash for what there is none of."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(text, value)) if isinstance(value, (list, tuple)) else str(value)
