"""``jepa-robot curves FOLDER ... -o FILE``: how runs of training went."""

from __future__ import annotations

from pathlib import Path

import click

# In the plot, in this order, as far as a run has them.
PANELS = {
    "loss": "loss",
    "latent_std": "standard deviation of the latents",
    "effective_rank": "effective rank",
    "dead_dims": "dead dimensions (share)",
    "mean_r2_effector": "R2 of the end-effector",
    "mean_r2_object": "R2 of the objects",
}


@click.command("curves")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="A .png or an .rrd file.")
def command(folders: tuple[Path, ...], out: Path) -> None:
    """Draw the logs of runs of `pretrain` and `train`; FOLDERS are what their out= was.

    A .png (needs the extra plot) has loss, health of the representation and probes over the steps, with random
    weights and raw pixels as level lines; an .rrd has everything in the logs, for the Rerun viewer.
    """
    from jepa_robot.errors import ConfigError
    from jepa_robot.reporting.plots import save_curves
    from jepa_robot.reporting.run_log import read_log, save_log_recording

    if out.suffix not in (".png", ".rrd"):
        raise ConfigError(f"is {out.name}", where="--out", expected="a name that ends in .png or .rrd")
    if len({str(folder) for folder in folders}) < len(folders):
        raise ConfigError("names a folder twice", where="FOLDERS")
    runs = {str(folder): read_log(folder) for folder in folders}
    if out.suffix == ".rrd":
        save_log_recording(out, runs)
    else:
        names = {name for rows in runs.values() for row in rows for name in row}
        save_curves(out, runs, {name: title for name, title in PANELS.items() if name in names})
    click.echo(out, err=True)
