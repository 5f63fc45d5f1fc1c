"""Is a representation alive? Effective rank, dead dimensions, and linear probes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CONSTANT = 1e-12  # a target's variance at or below it is rounding
DEAD = 0.01  # of the latents' root mean square: a dimension that varies less says nothing


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


def dead_dims(latents: Tensor) -> float:
    """Share of the D dimensions of latents [n, N, D] that hardly vary from frame to frame in any patch.

    A dimension's standard deviation over the n frames, root mean square over the N patches, is then below `DEAD`
    of the latents' root mean square.
    """
    spread = latents.std(0).square().mean(0).sqrt()
    scale = torch.linalg.vector_norm(latents) / latents.numel() ** 0.5
    return float((spread < DEAD * scale).float().mean())


@dataclass(frozen=True)
class Probe:
    """A linear read-out: R2 and root-mean-square error of each target dimension, on held-out samples."""

    r2: list[float]
    rmse: list[float]


def linear_probe(
    train_x: Tensor,
    train_y: Tensor,
    valid_x: Tensor,
    valid_y: Tensor,
    ridges: tuple[float, ...] = (1e-3, 1e-1, 10.0),
) -> Probe:
    """Ridge regression from features [n, d] to targets [n, p], n at least 2; figures on the held-out samples.

    Of ``ridges`` (relative to n) each target takes the one that does best on the last fifth of the training
    samples (whole episodes, mostly, where samples are in recorded order), which is then fitted to all of them:
    the tremble of what stands still must not choose for what moves. The held-out samples have no say in it. A
    target that is constant there has R2 0.
    """
    cut = len(train_x) - max(1, len(train_x) // 5)
    tried = _ridge(train_x[:cut], train_y[:cut], train_x[cut:], ridges)
    scores = torch.stack([_r2(predicted, train_y[cut:]) for predicted in tried])  # [ridges, p]
    chosen, which = scores.argmax(0).unique(return_inverse=True)
    fitted = torch.stack(_ridge(train_x, train_y, valid_x, tuple(ridges[i] for i in chosen)))  # [chosen, q, p]
    predicted = fitted[which, :, torch.arange(len(which))].T
    rmse = (predicted - valid_y.double()).square().mean(0).sqrt()
    return Probe(_r2(predicted, valid_y).tolist(), rmse.tolist())


def _ridge(x: Tensor, y: Tensor, queries: Tensor, ridges: tuple[float, ...]) -> list[Tensor]:
    """Fit x [n, d] -> y [n, p] once a ridge, features scaled to unit variance; predict float64 [q, p] at [q, d].

    Solved in its dual form, which costs n^3 instead of d^3: a frame's flattened tokens have more dimensions
    than a probe needs samples.
    """
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
    x, queries = (x - mean) / scale, (queries - mean) / scale
    y_mean = y.double().mean(0)
    gram, cross = (x @ x.T).double(), (queries @ x.T).double()
    eye = torch.eye(len(x), dtype=torch.float64)
    return [cross @ torch.linalg.solve(gram + r * len(x) * eye, y.double() - y_mean) + y_mean for r in ridges]


def _r2(predicted: Tensor, y: Tensor) -> Tensor:
    """1 - squared error / variance for each column of [n, p] -> [p]; 0 where y is constant."""
    y = y.double()
    variance = y.var(0, correction=0)
    r2 = 1 - (predicted - y).square().mean(0) / variance
    return torch.where(variance > CONSTANT, r2, 0.0)
