"""``jepa-robot import timm NAME``: a checkpoint of a backbone of timm, as an encoder for any task."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jepa_robot.cli.importing.output import output_options, require_output
from jepa_robot.cli.options import json_option


@click.command("timm")
@click.argument("name")
@output_options
@click.option("--image-size", required=True, type=click.IntRange(min=8), help="Pixels of a side of the camera's pictures.")
@click.option(
    "--input-size", type=click.IntRange(min=8),
    help="Pixels of a side that pictures are scaled to before the backbone sees them.  [default: not scaled]",
)
@click.option(
    "--weights", default="published", show_default=True, metavar="published|random|FILE",
    help="timm's own, downloaded once; none, to compare with; or a file of them.",
)
@json_option
def command(
    name: str, out: Path, image_size: int, input_size: int | None, weights: str, force: bool, as_json: bool
) -> None:
    """Make an encoder's checkpoint of the backbone that timm calls NAME.

    NAME is for instance vit_small_patch14_dinov2.lvd142m, as DINO-WM has, with --image-size 64 --input-size 196. Its
    last features, a token a patch, become the latents, and pictures are normalised as its weights want it. Train on it
    with `jepa-robot train encoder=OUT data=DATA`: it stays frozen unless train=joint.
    """
    from jepa_robot.models.timm_import import import_timm

    require_output(out, force)
    config = import_timm(out, name, image_size, input_size, weights)
    if as_json:
        facts = {"path": str(out), "kind": "encoder", "tokens": config.tokens, "width": config.width}
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{out}: encoder, {out.stat().st_size / 1e6:.1f} MB; {config.tokens} tokens of {config.width} dimensions a frame"
    )
