"""Is a representation alive? Standard deviation, effective rank, and linear probes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the normalised singular values of x [n, d], centred (RankMe, arXiv 2210.02885)."""
    singular = torch.linalg.svdvals((x - x.mean(0)).double())
    p = singular / singular.sum().clamp_min(1e-12)
    return float(torch.exp(-(p * p.clamp_min(1e-12).log()).sum()))


@dataclass(frozen=True)
class Probe:
    """A linear read-out: R2 and root-mean-square error of each target dimension, on held-out samples."""

    r2: list[float]
    rmse: list[float]


def linear_probe(
    train_x: Tensor, train_y: Tensor, valid_x: Tensor, valid_y: Tensor, ridges: tuple[float, ...] = (1e-4, 1e-2, 1.0)
) -> Probe:
    """Ridge regression from features [n, d] to targets [n, p]; the best of ``ridges`` on the held-out part.

    The ridge is relative to the features' mean variance.
    """
    mean, scale = train_x.double().mean(0), train_x.double().std(0).clamp_min(1e-6)
    x, v = (train_x.double() - mean) / scale, (valid_x.double() - mean) / scale
    y_mean = train_y.double().mean(0)
    y = train_y.double() - y_mean
    gram, cross = x.T @ x, x.T @ y
    best: Probe | None = None
    for ridge in ridges:
        weights = torch.linalg.solve(gram + ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype), cross)
        error = v @ weights + y_mean - valid_y.double()
        rmse = error.pow(2).mean(0).sqrt()
        r2 = 1 - error.pow(2).mean(0) / valid_y.double().var(0, correction=0).clamp_min(1e-12)
        if best is None or r2.mean() > sum(best.r2) / len(best.r2):
            best = Probe(r2.tolist(), rmse.tolist())
    return best
