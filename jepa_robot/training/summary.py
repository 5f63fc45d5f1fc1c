"""One vector a frame, on which terms against collapse are measured: different frames have to look different."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

DIMS = 128
TARGET_STD = 0.4  # of the latents, where the vector is to have variance 1


@dataclass(frozen=True)
class SummaryConfig:
    """Which vector.

    Attributes:
        of: "pooled", the mean of a frame's tokens (C-JEPA, LeWorldModel), or "flattened", all of them: pooling
            loses where things are.
        head: "fixed", a random projection, or "learned", trained with the encoder from there on. A learned one
            can satisfy terms by amplifying what little variation a collapsing encoder has left; but it can also
            drop what all frames share.
    """

    of: str
    head: str


class FrameSummary(nn.Module):
    """A linear map of a frame's latents, from random weights of a seed."""

    def __init__(self, tokens: int, width: int, config: SummaryConfig, seed: int):
        super().__init__()
        self.config = config
        features = width if config.of == "pooled" else tokens * width
        projection = torch.randn(features, DIMS, generator=torch.Generator().manual_seed(seed))
        learned = config.head == "learned"
        self.projection = nn.Parameter(projection / (features**0.5 * TARGET_STD), requires_grad=learned)
        self.offset = nn.Parameter(torch.zeros(DIMS), requires_grad=learned)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [B, T, N, D] -> one vector a frame [B * T, DIMS]."""
        x = latents.mean(2) if self.config.of == "pooled" else latents.flatten(2)
        return x.flatten(0, 1) @ self.projection + self.offset
