"""Plain reports for a terminal: sections, tables and pairs, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jepa_robot.spec import Dim


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """An empty line, a title, and the lines indented below it."""
    yield ""
    yield title
    for line in lines:
        yield f"  {line}"


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows, the heading first, as lines with aligned columns."""
    cells = [[text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def dims(dimensions: Iterable[Dim], *more: str) -> list[str]:
    """A table of the dimensions of an action or a state, with these further attributes of theirs."""
    fields = ("name", "unit", "frame", "low", "high", *more)
    heading = ["changes" if field == "integrates" else field for field in fields]
    return table([heading, *([_field(dim, field) for field in fields] for dim in dimensions)])


def _field(dim: Dim, field: str) -> Any:
    """An attribute; of what an action changes, both kinds."""
    return dim.composes or dim.integrates if field == "integrates" else getattr(dim, field)


def pairs(values: Mapping[str, Any]) -> list[str]:
    """Names, and values beside them."""
    return table(list(values.items()))


def text(value: Any) -> str:
    """A value as a person reads it: four digits, and a dash for what there is none of."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(text, value)) if isinstance(value, (list, tuple)) else str(value)
