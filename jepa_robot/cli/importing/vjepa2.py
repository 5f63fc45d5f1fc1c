"""``jepa-robot import vjepa2 SOURCE``: a checkpoint of V-JEPA 2's or V-JEPA 2-AC's public weights."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from jepa_robot.cli.importing.output import output_options, require_output
from jepa_robot.cli.options import json_option


@click.command("vjepa2")
@click.argument("source", type=click.Path(path_type=Path))
@output_options
@click.option(
    "--image-size", type=click.IntRange(min=1),
    help="Pixels of a side that a .pt file is for: 256 for V-JEPA 2-AC, 256 or 384 for V-JEPA 2. A folder says it.",
)
@click.option(
    "--encoder", type=click.Choice(["target_encoder", "encoder"]),
    help="Which of a .pt file's encoders.  [default: target_encoder where there is one]",
)
@click.option(
    "--heads", type=click.IntRange(min=1), help="Attention heads of an encoder in a .pt file of no published width."
)
@click.option("--predictor-heads", type=click.IntRange(min=1), help="The same for its predictor.")
@click.option("--extrinsics", is_flag=True, help="V-JEPA 2-AC: the predictor was trained with the camera's pose.")
@click.option("--task", help="V-JEPA 2-AC: what the contract calls the task.  [default: droid]")
@click.option("--camera", help="V-JEPA 2-AC: what the contract calls the camera.  [default: left]")
@click.option(
    "--contract", type=click.Path(path_type=Path),
    help="V-JEPA 2-AC: JSON or YAML file with names, units and bounds of your robot, instead of DROID's.",
)
@json_option
def command(
    source: Path,
    out: Path,
    image_size: int | None,
    encoder: str | None,
    heads: int | None,
    predictor_heads: int | None,
    extrinsics: bool,
    task: str | None,
    camera: str | None,
    contract: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a checkpoint of V-JEPA 2's or V-JEPA 2-AC's public weights.

    SOURCE is a .pt file as facebookresearch/vjepa2 publishes them and its training writes them, or a folder of Hugging
    Face (config.json and model.safetensors, in one file or in several with an index). Every tensor is used, or named
    with the reason why it is left out, and every shape is checked before anything is written.

    An encoder becomes one for any task (`train encoder=OUT`), with its masked predictor kept beside it. With an
    action-conditioned predictor it becomes a world model for DROID's states, metres and radians in the robot's base
    frame, at 4 actions a second; plan with it in planner.energy.space=latent. Its bounds of one action are those of
    the published planner: 7.5 cm an axis, no rotation, and 0.75 of the gripper's way.

    Of the two encoders of a .pt file, target_encoder is the moving average of the other one. It gives the targets that
    predictors are trained towards, and the published evaluations and V-JEPA 2-AC are built on it.
    """
    from jepa_robot.cli.data.source_options import read_contract
    from jepa_robot.errors import ConfigError
    from jepa_robot.models.vjepa2 import ActionSpace, ImportOptions, read_vjepa2, save_vjepa2

    require_output(out, force)
    if contract is not None and (task or camera):
        raise ConfigError("names task and camera itself", where="--contract", mend="leave --task and --camera out")
    space = ActionSpace(task, camera, None if contract is None else read_contract(contract))
    found = read_vjepa2(source, ImportOptions(image_size, heads, predictor_heads, encoder, extrinsics))
    kind = save_vjepa2(out, found, space, source.name)
    if as_json:
        facts = {"path": str(out), "kind": kind, "encoder": found.chosen, "used": found.used}
        click.echo(json.dumps(facts | {"left_out": found.left_out}))
        return
    size = out.stat().st_size / 1e6
    click.echo(f"{out}: {kind}, {size:.1f} MB; {found.used} tensors used, encoder from {found.chosen}")
    for why, count in Counter(found.left_out.values()).items():
        names = [name for name, reason in found.left_out.items() if reason == why]
        click.echo(f"left out: {', '.join(names[:4])}{f' and {count - 4} more' if count > 4 else ''} ({why})")
