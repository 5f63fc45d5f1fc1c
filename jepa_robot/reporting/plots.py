"""Plots as PNG files: figures of representations side by side, and curves of training runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jepa_robot.errors import ConfigError
from jepa_robot.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 4.5, 3.2  # width and height of a panel
_COLUMNS = 3  # of panels of curves
_BASELINES = {"random": "--", "pixels": ":"}  # as the log prefixes them, and how their lines look


def save_bars(
    path: str | os.PathLike[str], columns: Mapping[str, Mapping[str, float]], panels: Mapping[str, Mapping[str, str]]
) -> None:
    """A panel for each group of figures, in it a bar for each column and figure.

    Args:
        columns: figures by name, of each representation.
        panels: by title, which figures, by name, and what they are called.

    Raises:
        ConfigError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = _figure(len(panels), max(1.0, max(len(panel) for panel in panels.values()) / 5))
    for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        width = 0.8 / len(columns)
        for i, (label, figures) in enumerate(columns.items()):
            at = [x + (i - (len(columns) - 1) / 2) * width for x in range(len(names))]
            axes.bar(at, [figures[name] for name in names], width, label=label)
        axes.set_xticks(range(len(names)), list(names.values()), rotation=30, ha="right")
        axes.set_title(title)
        axes.axhline(0, color="black", linewidth=0.8)
        if title.startswith("R2"):
            axes.set_ylim(-0.1, 1.05)  # how far below 0 a useless probe falls says nothing
        if title.startswith("share"):
            axes.set_ylim(0, 1)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    _save(figure, path)


def save_curves(
    path: str | os.PathLike[str], runs: Mapping[str, Sequence[Mapping[str, Any]]], panels: Mapping[str, str]
) -> None:
    """A panel for each figure, in it a curve over the steps for each run; baselines of the runs are level lines.

    Args:
        runs: rows of the log of each run.
        panels: names of figures, and what they are called.

    Raises:
        ConfigError, OutputError: as `save_bars`.
    """
    columns = min(len(panels), _COLUMNS)
    rows_of_panels = -(-len(panels) // columns)
    figure = _figure(columns, 1.0, rows_of_panels)
    grid = figure.subplots(rows_of_panels, columns, squeeze=False).ravel()
    for empty in grid[len(panels) :]:
        empty.remove()
    for axes, (name, title) in zip(grid, panels.items()):
        for number, (label, rows) in enumerate(runs.items()):
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points), color=f"C{number}", label=label)
            for baseline, style in _BASELINES.items():
                levels = [row[f"{baseline}_{name}"] for row in rows if f"{baseline}_{name}" in row]
                if levels:
                    level, text = levels[0], f"{label}: {baseline}"
                    axes.axhline(level, color=f"C{number}", linestyle=style, linewidth=1, label=text)
        axes.set_title(title)
        axes.set_xlabel("step")
    figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    _save(figure, path)


def _figure(columns: int, wider: float, rows: int = 1) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            f"matplotlib cannot be loaded ({error})", where="plot", mend="pip install 'jepa-robot[plot]'"
        ) from error
    return Figure(figsize=(INCHES[0] * columns * wider, INCHES[1] * rows), layout="constrained")


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
