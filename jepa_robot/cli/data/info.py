"""``jepa-robot data info``: what recorded trajectories hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jepa_robot.cli.data.progress import opened
from jepa_robot.cli.data.source_options import source_options
from jepa_robot.cli.report import dims, pairs, section
from jepa_robot.data.source import SourceOptions

if TYPE_CHECKING:
    from jepa_robot.data.source import Source
    from jepa_robot.spec import Contract


@click.command("info")
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the contract.")
def command(path: Path, format: str | None, options: SourceOptions, as_json: bool) -> None:
    """Print what the recorded trajectories of SOURCE hold.

    The format is found by looking. What --json prints can be edited and given back with --contract, to name
    dimensions that the format leaves unnamed and to state their units and bounds.
    """
    with opened(path, format, options) as source:
        facts = _facts(source)
        contract = source.contract
    click.echo(json.dumps(facts) if as_json else "\n".join(_lines(facts, contract)))


def _facts(source: Source) -> dict[str, Any]:
    import numpy as np

    from jepa_robot.data.summary import KIND_EPISODES, count_kinds

    contract, lengths = source.contract, source.lengths
    kinds, unreadable = count_kinds(source)
    steps = int(lengths.sum())
    return {
        "path": str(source.path),
        "format": source.format,
        "task": contract.task,
        "episodes": len(source),
        "frames": steps + len(source),
        "hours": steps / contract.fps / 3600,
        "fps": contract.fps,
        "lengths": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "kinds": kinds,
        "kinds_of": min(len(source), KIND_EPISODES),
        "unreadable": unreadable,
        "splits": {split: len(members) for split, members in source.splits.items()},
        "recipe": source.recipe,
        "contract": contract.to_dict(),
    }


def _lines(facts: dict[str, Any], contract: Contract) -> Iterator[str]:
    lengths, camera = facts["lengths"], contract.camera
    names = ", ".join(c.name for c in contract.cameras)
    kinds = ", ".join(f"{kind} {count}" for kind, count in facts["kinds"].items())
    some = f" (of {facts['kinds_of']} episodes looked at)" if facts["kinds_of"] < facts["episodes"] else ""
    summary = {
        "path": facts["path"],
        "format": facts["format"],
        "task": facts["task"],
        "episodes": facts["episodes"],
        "frames": facts["frames"],
        "hours": facts["hours"],
        "rate": f"{facts['fps']:g} frames/s",
        "pictures": f"{camera.width}x{camera.height} RGB",
        "cameras": names,
        "actions an episode": f"{lengths['min']} to {lengths['max']}, median {lengths['median']:g}",
        "kinds": (kinds or "-") + some,
        "splits": ", ".join(f"{split} {count}" for split, count in facts["splits"].items()) or "none declared",
    }
    if facts["unreadable"]:
        summary["unreadable"] = f"{facts['unreadable']} episodes{some}"
    yield from pairs(summary)
    yield from section("actions", dims(contract.actions, "integrates"))
    yield from section("states", dims(contract.states))
    if facts["recipe"]:
        yield from section("recipe", [f"{key}: {json.dumps(value)}" for key, value in facts["recipe"].items()])
