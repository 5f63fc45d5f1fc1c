"""What an encoder's latents keep of the frames that they are of: standard deviation, effective rank, linear probes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jepa_robot.data.windows import Trajectories, WindowIndex
from jepa_robot.models.encoder import VideoEncoder
from jepa_robot.training.health import effective_rank, linear_probe

PROBE_FRAMES = 2000


def probe_frames(data: Trajectories, episodes: np.ndarray, count: int) -> np.ndarray:
    """Rows of up to ``count`` frames of the episodes, evenly spread and always the same."""
    frames = WindowIndex(data, episodes, 1)
    return frames.starts(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))


@torch.inference_mode()
def encode_rows(
    encoder: VideoEncoder, data: Trajectories, rows: np.ndarray, dtype: torch.dtype = torch.float32, batch: int = 256
) -> Tensor:
    """Single-frame latents [n, N, D] on the CPU of the pictures at ``rows``."""
    sizes = encoder.config
    latents = torch.empty(len(rows), sizes.tokens, sizes.width, dtype=dtype)
    for i in range(0, len(rows), batch):
        chosen = torch.from_numpy(data.frames_at(rows[i : i + batch])).to(encoder.pixel_mean.device)
        latents[i : i + batch] = encoder(chosen[:, None])[:, 0]
    return latents


def representation_figures(
    encoder: VideoEncoder, data: Trajectories, train: np.ndarray, valid: np.ndarray
) -> dict[str, float]:
    """Latent standard deviation, effective rank, and a linear probe of every proprioceptive dimension."""
    rows = [probe_frames(data, e, n) for e, n in ((train, PROBE_FRAMES), (valid, PROBE_FRAMES // 3))]
    x = [encode_rows(encoder, data, r).flatten(1) for r in rows]
    y = [torch.from_numpy(data.states_at(r)) for r in rows]
    probe = linear_probe(x[0], y[0], x[1], y[1])
    names = [d.name for d in data.contract.states]
    return {
        "latent_std": float(x[1].std(0).mean()),
        "effective_rank": effective_rank(x[1]),
        **{f"r2_{name}": value for name, value in zip(names, probe.r2)},
        **{f"rmse_{name}": value for name, value in zip(names, probe.rmse)},
    }
