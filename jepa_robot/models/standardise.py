"""Latents with the constant part of a standing camera taken off."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STANDARDISE_FLOOR = 0.02  # least standard deviation that latents are divided by


class Standardise(nn.Module):
    """Zero mean and unit variance for every latent dimension of every patch, over the training data.

    A camera that stands still sees mostly the same: a patch's latents are a large constant plus a small
    part that depends on the robot. Networks that read them learn many times faster once the constant is
    gone. Statistics are running ones, as in BatchNorm's evaluation mode, and carry no gradient.
    """

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(tokens, width))
        self.register_buffer("variance", torch.ones(tokens, width))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def std(self) -> Tensor:
        """[N, D], bounded below: what never changes in training is not blown up."""
        return self.variance.clamp_min(STANDARDISE_FLOOR**2).sqrt()

    def forward(self, latents: Tensor) -> Tensor:
        """latents [..., N, D] -> standardised [..., N, D]."""
        return (latents - self.mean) / self.std

    @torch.no_grad()
    def update(self, latents: Tensor, momentum: float = 0.02) -> None:
        """Take in a batch of latents [..., N, D]; a plain average until 1 / momentum batches are in."""
        self.updates += 1
        weight = max(momentum, 1 / int(self.updates))
        samples = latents.detach().float().flatten(0, -3)
        mean = samples.mean(0)
        shift = mean - self.mean
        self.mean += weight * shift
        # Variance about the running mean: of the batch, and of the batch's mean.
        self.variance.lerp_(samples.var(0, correction=0) + (1 - weight) * shift.square(), weight)
