"""``jepa-robot info``: what a checkpoint was made from and what it reaches, or what a preset takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from jepa_robot.cli.options import json_option
from jepa_robot.cli.report import dims, pairs, section
from jepa_robot.spec import Contract


@click.command("info")
@click.argument("arguments", nargs=-1, metavar="[CHECKPOINT | KEY=VALUE...]")
@click.option("--preset", help="Print what this preset of the group `model` takes, e.g. vitl_256.")
@json_option
def command(arguments: tuple[str, ...], preset: str | None, as_json: bool) -> None:
    """Print what CHECKPOINT was trained on and what it reaches, or what a preset takes.

    CHECKPOINT is a .safetensors file, or the name of one that comes with the package (default: panda_reach).

    With --preset: parameters, arithmetic and memory of each network of these sizes, without making them; KEY=VALUE
    changes the preset (model.encoder.depth=20) and what else sizes depend on (actions=4 states=4).
    """
    if preset is not None:
        from jepa_robot.cli.preset import read_preset  # loads torch

        found = read_preset(preset, arguments)
        click.echo(json.dumps(found.facts()) if as_json else "\n".join(found.lines()))
        return
    if len(arguments) > 1:
        raise click.UsageError(f"got {len(arguments)} checkpoints; expected one", click.get_current_context())
    checkpoint = arguments[0] if arguments else "panda_reach"
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
            "rate": f"{contract.fps / contract.action_repeat:g} {'frames' if contract.task is None else 'actions'}/s",
        }
    )
    if contract.task is not None:
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
