"""``jepa-robot probe``: is the encoder's representation alive, and does it know where the robot and the objects are?"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jepa_robot.cli.options import json_option

if TYPE_CHECKING:
    from jepa_robot.data.memory import TrajectoryArrays
    from jepa_robot.models.encoders import AnyEncoder

Figures = dict[str, float]
RANDOM = "random weights"
TITLES = {
    "latent_std": "standard deviation",
    "effective_rank": "effective rank",
    "dead_dims": "dead dimensions (share)",
    "mean_r2_effector": "R2 end-effector, mean",
    "mean_r2_object": "R2 objects, mean",
}


@click.command("probe")
@click.argument("checkpoint", default="panda_reach")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Recorded trajectories.")
@click.option("--against", metavar="CHECKPOINT", help="Another checkpoint beside it, such as the one before.")
@click.option("--valid-fraction", default=0.1, type=click.FloatRange(0, 1, min_open=True, max_open=True),
              show_default=True, help="Episodes held out for the figures, where the data declare no split.")
@click.option("--seed", default=0, show_default=True, help="Of the split and of the first random weights.")
@click.option("--random-seeds", default=3, type=click.IntRange(min=1), show_default=True,
              help="How many random weights to take the mean of.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the figures into a .png file (extra: plot).")
@json_option
def command(
    checkpoint: str, data: Path, against: str | None, valid_fraction: float, seed: int, random_seeds: int,
    plot: Path | None, as_json: bool,
) -> None:
    """Measure what CHECKPOINT's encoder keeps of the state of robot and objects.

    CHECKPOINT is a .safetensors file (an encoder or a world model), or the name of one that comes with the
    package (default: panda_reach). On frames of held-out episodes: standard deviation, effective rank and dead
    dimensions of the latents, and a linear probe of every proprioceptive dimension and, where the data record it
    (as `collect` does), of where the objects are; beside the same encoder with random weights (the mean over some
    seeds) and raw pixels (averaged to 16x16x3). An encoder that probes worse than those has forgotten what it
    needs. The split is the one that training with the same seed and valid_fraction makes.
    """
    from jepa_robot.data.dataset import load_arrays
    from jepa_robot.data.splits import split_by_role
    from jepa_robot.errors import ConfigError, DataError
    from jepa_robot.reporting.plots import save_bars
    from jepa_robot.training.probes import pixel_figures, representation_figures, untrained

    if plot is not None and plot.suffix != ".png":
        raise ConfigError(f"is {plot.name}", where="--plot", expected="a name that ends in .png")
    arrays = load_arrays(data)
    encoder = _encoder(checkpoint, arrays, data)
    other = None if against is None else _encoder(against, arrays, data)
    train, valid = split_by_role(arrays.roles, valid_fraction, seed)
    if not len(train) or not len(valid):
        raise DataError(f"holds {len(arrays)} episode", where=data, expected="at least 2, to hold one out")
    columns = {"encoder": representation_figures(encoder, arrays, train, valid)}
    if other is not None:
        columns["against"] = representation_figures(other, arrays, train, valid)
    seeds = range(seed, seed + random_seeds)
    random = [representation_figures(untrained(encoder, s), arrays, train, valid) for s in seeds]
    columns[RANDOM] = {name: statistics.fmean(one[name] for one in random) for name in random[0]}
    columns["pixels"] = pixel_figures(arrays, train, valid)
    spread = {name: statistics.pstdev([one[name] for one in random]) for name in random[0]}
    if plot is not None:
        save_bars(plot, columns, _panels(columns["encoder"]))
    if as_json:
        facts = {"checkpoint": checkpoint, "data": str(data), "against_checkpoint": against}
        counts = {"valid_episodes": len(valid), "random_seeds": random_seeds}
        click.echo(json.dumps({**facts, **counts, **columns, f"{RANDOM} std": spread}))
    else:
        units = {d.name: d.unit for d in arrays.contract.states}
        if arrays.objects is not None:
            units |= dict(zip(arrays.objects.names, arrays.objects.units))
        click.echo("\n".join(_table(columns, spread if random_seeds > 1 else {}, units)))


def _encoder(name: str, arrays: TrajectoryArrays, data: Path) -> AnyEncoder:
    """A checkpoint's encoder, for these data."""
    from jepa_robot.models import load_encoder
    from jepa_robot.spec import Contract

    encoder, header = load_encoder(name)
    contract = Contract.from_dict(header["contract"], name)
    contract.require(
        arrays.contract, name, str(data),
        "probe it on data of the same task and cameras" if contract.task is not None
        else f"scale the data's pictures: jepa-robot data convert --image-size {contract.camera.height}",
    )
    return encoder


def _panels(figures: Figures) -> dict[str, dict[str, str]]:
    """Groups of figures to draw."""
    means = {name: title.removeprefix("R2 ") for name, title in TITLES.items() if name.startswith("mean_r2")}
    r2 = {name: text for name, text in means.items() if name in figures}
    r2 |= {name: name.removeprefix("r2_") for name in figures if name.startswith("r2_")}
    return {
        "R2 of linear probes": r2,
        "effective rank": {"effective_rank": ""},
        "share of dead dimensions": {"dead_dims": ""},
    }


def _table(columns: Mapping[str, Figures], spread: Figures, units: dict[str, str]) -> list[str]:
    """One column a representation, one row a figure; ``spread`` is the random weights' standard deviation."""
    titles = {name: title for name, title in TITLES.items() if name in columns["encoder"]}
    for name, unit in units.items():
        titles[f"r2_{name}"] = f"R2 {name}"
        titles[f"rmse_{name}"] = f"RMSE {name} ({unit})" if unit != "1" else f"RMSE {name}"

    def cell(column: str, name: str) -> str:
        text = f"{columns[column][name]:.4g}"
        return f"{text} ±{spread[name]:.2g}" if column == RANDOM and spread else text

    rows = [("", *columns)] + [(title, *(cell(column, name) for column in columns)) for name, title in titles.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) for row in rows]
