"""``jepa-robot data merge``: join files of our own without decompressing them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jepa_robot.cli.data.progress import progress
from jepa_robot.cli.options import json_option


@click.command("merge")
@click.argument("parts", metavar="FILE.h5 FILE.h5...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="HDF5 file to write.")
@click.option("--without-splits", is_flag=True, help="Leave out which episodes are declared to be for training.")
@json_option
def command(parts: tuple[Path, ...], output: Path, without_splits: bool, as_json: bool) -> None:
    """Join files of the same contract into one; their episodes are numbered anew, in the order given.

    Pictures are copied as they are, without decompressing them. Other formats have to be converted first.
    """
    from jepa_robot.data.merge import merge

    with progress() as report:
        episodes, steps = merge(parts, output, report, not without_splits)
    size = output.stat().st_size
    if as_json:
        result = {"path": str(output), "episodes": episodes, "frames": steps + episodes, "bytes": size}
        click.echo(json.dumps(result))
    else:
        click.echo(f"{output}: {episodes} episodes, {steps + episodes} frames, {size / 1e6:.1f} MB")
