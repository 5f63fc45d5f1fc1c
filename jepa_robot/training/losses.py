"""The losses, one formula each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def latent_distance(predicted: Tensor, target: Tensor, exponent: float) -> Tensor:
    """mean |predicted - target| ** exponent; 1 is V-JEPA 2's, 2 the squared error. Any equal shapes -> scalar."""
    difference = (predicted.float() - target.float()).abs()
    return (difference if exponent == 1 else difference**exponent).mean()


def masked_latent(predicted: Tensor, target: Tensor, weights: Tensor, exponent: float) -> Tensor:
    """Weighted mean of |predicted - target| ** exponent over the latents of hidden tokens.

    predicted, target [B, M, D]; weights [B, M], how much each token counts -> scalar.
    """
    error = (predicted.float() - target.float()).abs()
    error = (error if exponent == 1 else error**exponent).mean(-1)
    return (error * weights).sum() / weights.sum()


def teacher_forcing(predicted: Tensor, latents: Tensor, exponent: float) -> Tensor:
    """Predictions from true frames against the true next frames.

    predicted [B, T - 1, N, D]: entry t was predicted from frames 1..t; latents [B, T, N, D] -> scalar.
    """
    return latent_distance(predicted, latents[:, 1:], exponent)


def rollout(predicted: Tensor, latents: Tensor, start: int, exponent: float) -> Tensor:
    """Predictions fed with the model's own predictions, against the true later frames.

    predicted [B, K, N, D]: entry k is the k-th step after true frame ``start`` (0-based), so it is
    compared with frame start + 1 + k of latents [B, T, N, D] -> scalar.
    """
    steps = predicted.shape[1]
    return latent_distance(predicted, latents[:, start + 1 : start + 1 + steps], exponent)


def variance_covariance(x: Tensor) -> tuple[Tensor, Tensor]:
    """VICReg's two collapse terms (arXiv 2105.04906, equations 1 and 3).

    Samples [n, d] -> (variance, covariance), scalars.
    """
    with torch.autocast(x.device.type, enabled=False):  # in bf16 the difference of two large sums would cancel
        x = x.float()
        x = x - x.mean(0)
        variance = F.relu(1 - torch.sqrt(x.var(0) + 1e-4)).mean()
        covariance = (x.T @ x) / (x.shape[0] - 1)
        off_diagonal = covariance.pow(2).sum() - covariance.diagonal().pow(2).sum()
        return variance, off_diagonal / x.shape[1]


def displacement(metric: Tensor, states: Tensor) -> Tensor:
    """How far differences of metric vectors are from the displacements between the frames.

    metric [B, M], states [B, M] (normalised, the dimensions that actions move) -> scalar:
    half the mean over all pairs i, j of ((metric_i - metric_j) - (states_i - states_j)) ** 2, which
    equals the variance over the batch of metric - state. Only differences are asked for; the origin
    of the metric space is free.
    """
    return (metric.float() - states).var(0, correction=0).mean()
