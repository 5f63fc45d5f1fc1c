"""What latents keep of the frames that they are of: standard deviation, effective rank, dead dimensions, linear probes.

Raw pixels and an encoder with random weights are measured by the same figures, as what training has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.data.windows import Trajectories, WindowIndex
from jepa_robot.models.encoders import AnyEncoder, build_encoder
from jepa_robot.training.health import dead_dims, effective_rank, linear_probe

PROBE_FRAMES = 2000
PIXEL_GRID = 16  # raw pixels are averaged to so many rows and columns
# Standard deviation from which on a coordinate of a place moves, by its unit. Others are no coordinates of places.
MOVES = {"m": 1e-3, "mm": 1.0}


def probe_frames(data: Trajectories, episodes: np.ndarray, count: int) -> np.ndarray:
    """Rows of up to ``count`` frames of the episodes, evenly spread and always the same."""
    frames = WindowIndex(data, episodes, 1)
    return frames.starts(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))


@torch.inference_mode()
def encode_rows(
    encoder: AnyEncoder, data: Trajectories, rows: np.ndarray, dtype: torch.dtype = torch.float32, batch: int = 256
) -> Tensor:
    """Single-frame latents [n, N, D] on the CPU of the pictures at ``rows``."""
    sizes = encoder.config
    latents = torch.empty(len(rows), sizes.tokens, sizes.width, dtype=dtype)
    for i in range(0, len(rows), batch):
        chosen = torch.from_numpy(data.frames_at(rows[i : i + batch])).to(encoder.pixel_mean.device)
        latents[i : i + batch] = encoder(chosen[:, None])[:, 0]
    return latents


def representation_figures(
    encoder: AnyEncoder, data: Trajectories, train: np.ndarray, valid: np.ndarray
) -> dict[str, float]:
    """`figures` of the encoder's latents; ``train`` and ``valid`` are episodes."""
    rows = _rows(data, train, valid)
    return figures(*(encode_rows(encoder, data, r) for r in rows), data, rows)


def pixel_figures(data: Trajectories, train: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """`figures` of normalised pixels, averaged to 16x16; ``train`` and ``valid`` are episodes."""
    rows = _rows(data, train, valid)
    train_x, valid_x = (pixels(data.frames_at(r)) for r in rows)
    mean, std = train_x.mean((0, 1)), train_x.std((0, 1)).clamp_min(1e-6)
    return figures((train_x - mean) / std, (valid_x - mean) / std, data, rows)


def pixels(frames: np.ndarray) -> Tensor:
    """uint8 [n, H, W, 3] -> float [n, 256, 3] in [0, 1], averaged to 16x16."""
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    return F.adaptive_avg_pool2d(x, PIXEL_GRID).flatten(2).transpose(1, 2)


def untrained(encoder: AnyEncoder, seed: int) -> AnyEncoder:
    """An encoder of the same architecture with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, std = (tuple(moment.tolist()) for moment in (encoder.pixel_mean, encoder.pixel_std))
        return build_encoder(encoder.config, mean, std).to(encoder.pixel_mean.device).eval()


def figures(train_x: Tensor, valid_x: Tensor, data: Trajectories, rows: Sequence[np.ndarray]) -> dict[str, float]:
    """The health of a representation of frames.

    Args:
        train_x, valid_x: [n, N, D], of frames to fit probes to, and of held-out frames.
        rows: theirs.

    Returns:
        Of the held-out frames: ``latent_std``, the mean standard deviation over frames; ``effective_rank``
        (RankMe) of the flattened latents; ``dead_dims``, the share of the D dimensions that hardly vary;
        ``r2_NAME`` and ``rmse_NAME`` of linear probes of every proprioceptive dimension and, where it was recorded,
        of every coordinate of the objects; ``mean_r2_effector`` and ``mean_r2_object``, means over those of
        them that are lengths and vary by a millimetre or more, where there are any.
    """
    x = [latents.flatten(1) for latents in (train_x, valid_x)]
    y = [data.states_at(r) for r in rows]
    dims = {"effector": [(d.name, d.unit) for d in data.contract.states]}
    objects = [data.objects_at(r) for r in rows]
    if None not in objects and objects[0].names == objects[1].names:
        dims["object"] = list(zip(objects[0].names, objects[0].units))
        y = [np.concatenate([states, o.values], axis=1) for states, o in zip(y, objects)]
    targets = [torch.from_numpy(values) for values in y]
    names = [name for group in dims.values() for name, _ in group]
    probe = linear_probe(x[0], targets[0], x[1], targets[1])
    return {
        "latent_std": float(x[1].std(0).mean()),
        "effective_rank": effective_rank(x[1]),
        "dead_dims": dead_dims(valid_x),
        **_mean_r2(dims, probe.r2, y[1].std(0)),
        **{f"r2_{name}": value for name, value in zip(names, probe.r2)},
        **{f"rmse_{name}": value for name, value in zip(names, probe.rmse)},
    }


def prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """The same under names that begin with ``prefix`` and an underscore."""
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _rows(data: Trajectories, train: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
    return [probe_frames(data, e, n) for e, n in ((train, PROBE_FRAMES), (valid, PROBE_FRAMES // 3))]


def _mean_r2(dims: dict[str, list[tuple[str, str]]], r2: list[float], spread: np.ndarray) -> dict[str, float]:
    """Mean over the moving coordinates of each group; ``spread`` [p] are the targets' standard deviations."""
    means, at = {}, 0
    for group, members in dims.items():
        moving = [at + i for i, (_, unit) in enumerate(members) if spread[at + i] >= MOVES.get(unit, np.inf)]
        if moving:
            means[f"mean_r2_{group}"] = float(np.mean([r2[i] for i in moving]))
        at += len(members)
    return means
