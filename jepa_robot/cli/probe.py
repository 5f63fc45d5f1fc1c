"""``jepa-robot probe``: is the encoder's representation alive, and does it know where the robot is?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jepa_robot.cli.options import json_option

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from jepa_robot.data.windows import Trajectories

PIXEL_GRID = 16


@click.command("probe")
@click.argument("checkpoint", default="panda_reach")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Recorded trajectories.")
@click.option("--valid-fraction", default=0.1, type=click.FloatRange(0, 1, min_open=True, max_open=True),
              show_default=True, help="Episodes held out for the figures, where the data declare no split.")
@click.option("--seed", default=0, show_default=True, help="Of the split and of the random weights.")
@json_option
def command(checkpoint: str, data: Path, valid_fraction: float, seed: int, as_json: bool) -> None:
    """Measure what CHECKPOINT's encoder keeps of the robot's state.

    CHECKPOINT is a .safetensors file (an encoder or a world model), or the name of one that comes with the
    package (default: panda_reach). On frames of held-out episodes: the standard deviation and effective rank of
    the latents, and a linear probe of every proprioceptive dimension, beside the same encoder with random weights
    and beside raw pixels (averaged to 16x16x3). An encoder that probes worse than random weights has forgotten
    what it needs. The split is the one that training with the same seed and valid_fraction makes.
    """
    import torch

    from jepa_robot.data.dataset import load_arrays
    from jepa_robot.data.splits import split_by_role
    from jepa_robot.errors import DataError
    from jepa_robot.models import load_encoder
    from jepa_robot.models.encoder import VideoEncoder
    from jepa_robot.spec import Contract
    from jepa_robot.training.probes import representation_figures

    encoder, header = load_encoder(checkpoint)
    contract = Contract.from_dict(header["contract"], checkpoint)
    arrays = load_arrays(data)
    contract.require(
        arrays.contract, checkpoint, str(data),
        "probe it on data of the same task and cameras" if contract.task is not None
        else f"scale the data's pictures: jepa-robot data convert --image-size {contract.camera.height}",
    )
    train, valid = split_by_role(arrays.roles, valid_fraction, seed)
    if not len(train) or not len(valid):
        raise DataError(f"holds {len(arrays)} episode", where=data, expected="at least 2, to hold one out")
    torch.manual_seed(seed)
    untrained = VideoEncoder(encoder.config, contract.camera.mean, contract.camera.std).eval()
    figures = {
        "encoder": representation_figures(encoder, arrays, train, valid),
        "random weights": representation_figures(untrained, arrays, train, valid),
        "pixels": _pixel_figures(arrays, train, valid),
    }
    if as_json:
        click.echo(json.dumps({"checkpoint": checkpoint, "data": str(data), "valid_episodes": len(valid), **figures}))
    else:
        click.echo("\n".join(_table(figures, {d.name: d.unit for d in arrays.contract.states})))


def _pixel_figures(arrays: Trajectories, train: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """The figures of `representation_figures` for normalised pixels, averaged to 16x16 and flattened."""
    import torch

    from jepa_robot.training.health import effective_rank, linear_probe
    from jepa_robot.training.probes import PROBE_FRAMES, probe_frames

    rows = [probe_frames(arrays, episodes, n) for episodes, n in ((train, PROBE_FRAMES), (valid, PROBE_FRAMES // 3))]
    train_x, valid_x = (_pixels(arrays.frames_at(r)) for r in rows)
    mean, std = train_x.mean((0, 2, 3), keepdim=True), train_x.std((0, 2, 3), keepdim=True).clamp_min(1e-6)
    train_x, valid_x = (((x - mean) / std).flatten(1) for x in (train_x, valid_x))
    train_y, valid_y = (torch.from_numpy(arrays.states_at(r)) for r in rows)
    probe = linear_probe(train_x, train_y, valid_x, valid_y)
    names = [d.name for d in arrays.contract.states]
    return {
        "latent_std": float(valid_x.std(0).mean()),
        "effective_rank": effective_rank(valid_x),
        **{f"r2_{name}": value for name, value in zip(names, probe.r2)},
        **{f"rmse_{name}": value for name, value in zip(names, probe.rmse)},
    }


def _pixels(frames: np.ndarray) -> Tensor:
    """uint8 [n, H, W, 3] -> float [n, 3, 16, 16] in [0, 1]."""
    import torch
    import torch.nn.functional as F

    return F.adaptive_avg_pool2d(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255, PIXEL_GRID)


def _table(figures: dict[str, dict[str, float]], units: dict[str, str]) -> list[str]:
    """One column a representation, one row a figure."""
    titles = {"latent_std": "standard deviation", "effective_rank": "effective rank"}
    for name, unit in units.items():
        titles[f"r2_{name}"] = f"R2 {name}"
        titles[f"rmse_{name}"] = f"RMSE {name} ({unit})" if unit != "1" else f"RMSE {name}"
    rows = [("", *figures)]
    rows += [(title, *(f"{column[key]:.4g}" for column in figures.values())) for key, title in titles.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) for row in rows]
