"""``jepa-robot data repair``: recover the complete episodes of a file left open by a killed writer, or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jepa_robot.cli.data.progress import progress
from jepa_robot.cli.options import json_option


@click.command("repair")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New file; FILE.repaired.h5 unless given.")
@json_option
def command(file: Path, output: Path | None, as_json: bool) -> None:
    """Recover the complete episodes of FILE (HDF5, ours or another).

    A last write that was cut short is finished in FILE. Where that is not enough, complete episodes are copied to a
    new file; nothing is overwritten. Exit code 2 when nothing can be saved.
    """
    from jepa_robot.data.repair import repair

    with progress() as report:
        result = repair(file, output, report)
    for line in result.lost:
        click.echo(f"lost: {line}", err=True)
    copied = result.path != file
    if as_json:
        found = {"episodes": result.episodes, "lost": len(result.lost), "finished": result.finished, "copied": copied}
        click.echo(json.dumps({"path": str(result.path), **found}))
        return
    if result.finished:
        click.echo(f"{file}: finished the write that was cut short")
    elif not copied:
        click.echo(f"{file}: nothing to repair")
    what = "everything" if result.episodes is None else f"{result.episodes} complete episodes"
    click.echo(f"{result.path}: {what}" + (f"; {len(result.lost)} lost" if result.lost else ""))
