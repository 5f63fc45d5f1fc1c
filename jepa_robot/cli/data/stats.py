"""``jepa-robot data stats``: means, deviations and ranges of the training split."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jepa_robot.cli.data.progress import opened, progress
from jepa_robot.cli.data.source_options import source_options
from jepa_robot.cli.report import section, table
from jepa_robot.cli.options import SEED, json_option
from jepa_robot.data.source import SourceOptions

if TYPE_CHECKING:
    from jepa_robot.data.summary import RunningStats
    from jepa_robot.spec import Dim

COLUMNS = ("mean", "std", "min", "p1", "p50", "p99", "max")


@click.command("stats")
@source_options
@click.option(
    "--valid-fraction",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the episodes that training holds out, and that are left out here, where SOURCE declares no split.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the split, as in training.")
@json_option
def command(
    path: Path, format: str | None, options: SourceOptions, valid_fraction: float, seed: int, as_json: bool
) -> None:
    """Print mean, standard deviation, extremes and percentiles of the recorded trajectories of SOURCE.

    Only the training split counts: what is held out shall not leak into the normalisation.
    """
    from jepa_robot.data.splits import roles_of, split_by_role
    from jepa_robot.data.summary import gather_statistics

    with opened(path, format, options) as source:
        train, _ = split_by_role(roles_of(source.splits, len(source)), valid_fraction, seed)
        with progress(quiet=True) as show:
            statistics = gather_statistics(source, train.tolist(), seed, show)
        contract, name, total = source.contract, source.format, len(source)
    mean, std = statistics.pixels.mean_std()
    facts = {
        "path": str(path),
        "format": name,
        "episodes": statistics.episodes,
        "episodes_held_out": total - statistics.episodes,
        "actions": _dims(contract.actions, statistics.actions),
        "states": _dims(contract.states, statistics.states),
        "pixels": {"mean": mean.tolist(), "std": std.tolist()},
        "percentiles_are_of_a_sample": statistics.states.sampled,
    }
    click.echo(json.dumps(facts) if as_json else "\n".join(_lines(facts)))


def _dims(dims: Sequence[Dim], stats: RunningStats) -> list[dict[str, Any]]:
    """One mapping for each dimension; None where there is no finite value."""
    columns = [stats.mean, stats.std, stats.low, *stats.percentiles(), stats.high]
    result = []
    for d, dim in enumerate(dims):
        values = {name: float(column[d]) for name, column in zip(COLUMNS, columns)}
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        missing = stats.rows - int(stats.count[d])
        result.append({"name": dim.name, "unit": dim.unit, **numbers, "rows": stats.rows, "not_finite": missing})
    return result


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{facts['path']}: {facts['episodes']} episodes, {facts['episodes_held_out']} more held out"
    for key in ("actions", "states"):
        yield from section(key, _rows(facts[key]))
    pixels = zip("red green blue".split(), facts["pixels"]["mean"], facts["pixels"]["std"])
    yield from section("pixels, scaled to [0, 1]", table([("channel", "mean", "std"), *pixels]))
    if facts["percentiles_are_of_a_sample"]:
        yield ""
        yield "percentiles are those of a random sample of the rows"


def _rows(dims: Iterable[dict[str, Any]]) -> list[str]:
    bad = any(dim["not_finite"] for dim in dims)
    columns = ("name", "unit", *COLUMNS, *(("not_finite",) if bad else ()))
    return table([columns, *[tuple(dim[column] for column in columns) for dim in dims]])
