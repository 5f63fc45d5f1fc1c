"""Is a representation alive? Standard deviation, effective rank, and linear probes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the normalised singular values of x [n, d], centred (RankMe, arXiv 2210.02885).

    The singular values come from the smaller of the two Gram matrices, which is far cheaper than an SVD
    of a wide matrix.
    """
    x = (x - x.mean(0)).double()
    gram = x @ x.T if x.shape[0] < x.shape[1] else x.T @ x
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    p = singular / singular.sum().clamp_min(1e-12)
    return float(torch.exp(-(p * p.clamp_min(1e-12).log()).sum()))


@dataclass(frozen=True)
class Probe:
    """A linear read-out: R2 and root-mean-square error of each target dimension, on held-out samples."""

    r2: list[float]
    rmse: list[float]


def linear_probe(
    train_x: Tensor, train_y: Tensor, valid_x: Tensor, valid_y: Tensor, ridges: tuple[float, ...] = (1e-3, 1e-1, 10.0)
) -> Probe:
    """Ridge regression from features [n, d] to targets [n, p]; the best of ``ridges`` on the held-out part.

    Features are scaled to unit variance; a ridge is relative to n. Solved in its dual form, which costs
    n^3 instead of d^3: a frame's flattened tokens have more dimensions than a probe needs samples.
    """
    mean, scale = train_x.mean(0), train_x.std(0).clamp_min(1e-6)
    x, v = ((t - mean) / scale for t in (train_x, valid_x))
    y_mean = train_y.double().mean(0)
    gram, cross = (x @ x.T).double(), (v @ x.T).double()
    best: Probe | None = None
    for ridge in ridges:
        damped = gram + ridge * len(x) * torch.eye(len(x), dtype=torch.float64)
        weights = torch.linalg.solve(damped, train_y.double() - y_mean)
        error = cross @ weights + y_mean - valid_y.double()
        rmse = error.pow(2).mean(0).sqrt()
        r2 = 1 - error.pow(2).mean(0) / valid_y.double().var(0, correction=0).clamp_min(1e-12)
        if best is None or r2.mean() > sum(best.r2) / len(best.r2):
            best = Probe(r2.tolist(), rmse.tolist())
    return best
