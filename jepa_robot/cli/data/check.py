"""``jepa-robot data check``: what would spoil training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jepa_robot.cli.data.progress import opened, progress
from jepa_robot.cli.data.source_options import source_options
from jepa_robot.data.source import SourceOptions

if TYPE_CHECKING:
    from jepa_robot.data.alignment import Alignment
    from jepa_robot.data.inspection import Report

# Findings of a kind that are printed; --json has all.
SHOWN = 5


@click.command("check")
@source_options
@click.option("--skip-broken", is_flag=True, help="Count episodes that cannot be decoded instead of stopping there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every finding.")
def command(path: Path, format: str | None, options: SourceOptions, skip_broken: bool, as_json: bool) -> int:
    """Look for what would spoil training in the recorded trajectories of SOURCE.

    Estimates which frame each action belongs to, and looks for numbers that are not finite or out of
    bounds, constant and clipped dimensions, duplicate and very short episodes, blank, frozen and lost
    frames, and units that cannot be. Exit code 0: clean; 1: something was found; 2: cannot be read.
    """
    from jepa_robot.data.inspection import inspect

    with opened(path, format, options) as source:
        with progress(quiet=as_json) as show:
            report = inspect(source, skip_broken, show)
        name = source.format
    if as_json:
        facts = {"path": str(path), "format": name, "clean": not report.findings, **report.to_dict()}
        click.echo(json.dumps(facts))
    else:
        click.echo("\n".join(_lines(path, name, report)))
    return 1 if report.findings else 0


def _lines(path: Path, format: str, report: Report) -> Iterable[str]:
    yield f"{path}: {format}, {report.episodes} episodes, {report.steps} steps"
    if report.unreadable:
        yield f"{report.unreadable} more episodes cannot be decoded"
    yield from _alignment(report.alignment)
    kinds = Counter(finding.kind for finding in report.findings)
    for kind, count in kinds.items():
        yield ""
        yield f"{kind} ({count})"
        yield from [f"  {finding}" for finding in report.findings if finding.kind == kind][:SHOWN]
        if count > SHOWN:
            yield f"  ... and {count - SHOWN} more (all of them: --json)"
    yield ""
    total = len(report.findings)
    yield f"{total} finding{'s' * (total > 1)}" if total else "clean"


def _alignment(alignment: Alignment) -> Iterable[str]:
    if alignment.best is None:
        yield f"alignment of actions and frames cannot be estimated: {alignment.reason}"
        return
    lags = ", ".join(f"{lag:+d}: {r2:.2f}" for lag, r2 in alignment.r2.items())
    yield f"actions explain the change from their own frame to the next best with lag {alignment.best} (R2 {lags})"
