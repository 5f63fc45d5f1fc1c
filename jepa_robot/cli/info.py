"""``jepa-robot info``: what a checkpoint was made from and what it reaches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from jepa_robot.cli.options import json_option
from jepa_robot.cli.report import dims, pairs, section
from jepa_robot.spec import Contract


@click.command("info")
@click.argument("checkpoint", default="panda_reach")
@json_option
def command(checkpoint: str, as_json: bool) -> None:
    """Print what CHECKPOINT was trained on and what it reaches.

    CHECKPOINT is a .safetensors file, or the name of one that comes with the package (default: panda_reach).
    """
    from jepa_robot.models.checkpoint import read_metadata, resolve  # loads torch

    path = resolve(checkpoint)
    header = read_metadata(path)
    contract = Contract.from_dict(header["contract"], path)
    if as_json:
        click.echo(json.dumps({"path": str(path), **header}))
    else:
        click.echo("\n".join(_lines(str(path), path.stat().st_size, contract, header)))


def _lines(path: str, size: int, contract: Contract, header: Mapping[str, Any]) -> Iterable[str]:
    """The report, line by line."""
    cameras = ", ".join(f"{c.name} {c.width}x{c.height}" for c in contract.cameras)
    yield from pairs(
        {
            "checkpoint": path,
            "size": f"{size / 1e6:.1f} MB",
            "kind": header["kind"],
            "task": "any: video of all kinds" if contract.task is None else contract.task,
            "cameras": cameras,
            "rate": f"{contract.fps / contract.action_repeat:g} actions/s",
        }
    )
    yield from section("actions", dims(contract.actions, "mean", "std"))
    yield from section("states", dims(contract.states, "mean", "std"))
    yield from section("model", pairs(_flat(header["model"])))
    for number, stage in enumerate(header["recipe"], start=1):
        yield from section(f"recipe, stage {number}", pairs(_flat(stage)))
    results = pairs(_flat(header["results"]))
    yield from section("results", results or ["nothing has been measured yet"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
