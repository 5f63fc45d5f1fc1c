"""``jepa-robot data convert``: write any known format as one file of our own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
from tqdm import tqdm

from jepa_robot.cli.data.progress import opening, progress
from jepa_robot.cli.data.source_options import source_options
from jepa_robot.cli.options import json_option
from jepa_robot.data.format import COMPRESSIONS
from jepa_robot.data.source import SourceOptions
from jepa_robot.errors import DataError


@click.command("convert")
@source_options
@click.argument("output", metavar="OUTPUT.h5", type=click.Path(path_type=Path))
@click.option(
    "--compression",
    type=click.Choice(COMPRESSIONS),
    default="blosc",
    show_default=True,
    help="Of the pictures; gzip is what every HDF5 reader understands.",
)
@click.option("--skip-broken", is_flag=True, help="Leave out, and name, episodes that are damaged or impossible.")
@json_option
def command(
    path: Path,
    format: str | None,
    options: SourceOptions,
    output: Path,
    compression: str,
    skip_broken: bool,
    as_json: bool,
) -> None:
    """Write the episodes of SOURCE, of any known format, as one file of our own.

    Every value is checked. An output that exists is continued: run the same command again after an interruption.
    """
    from jepa_robot.data.convert import convert

    with opening() as show_opening, progress() as show:

        def report(done: int, total: int, error: DataError | None) -> None:
            if error is not None:
                with tqdm.external_write_mode():
                    click.echo(f"left out: {error}", err=True)
            show(done, total)

        result = convert(path, output, format, options, compression, skip_broken, report, show_opening)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(result), "path": str(output), "seconds": round(result.seconds, 3)}))
        return
    click.echo(f"{output}: {result.episodes} episodes, {result.frames} frames, {result.size / 1e6:.1f} MB")
    if result.new_episodes:
        rate = result.new_frames / max(result.seconds, 1e-9)
        click.echo(
            f"converted {result.new_episodes} episodes from {result.format} in {result.seconds:.1f} s, "
            f"{rate:.0f} frames/s"
        )
    else:
        click.echo("nothing to convert: the file holds them already")
    if result.broken:
        click.echo(f"left out {result.broken} broken episodes")
