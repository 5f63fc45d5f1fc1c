"""Against collapse: different frames have to look different to the encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa_robot.training.losses import variance_covariance

DIMS = 128
TARGET_STD = 0.4  # of the latents; what VICReg's hinge asks for


class Spread:
    """VICReg's variance and covariance terms on a fixed random projection of whole frames' latents.

    C-JEPA (arXiv 2410.19560) adds these terms to masked prediction on pooled tokens; pooling loses where
    things are, so a frame's tokens are flattened instead. The projection is fixed because a learned one
    could satisfy the terms by amplifying what little variation a collapsing encoder has left.
    """

    def __init__(self, tokens: int, width: int, seed: int, device: torch.device):
        features = tokens * width
        generator = torch.Generator().manual_seed(seed)
        projection = torch.randn(features, DIMS, generator=generator)
        self.projection = (projection / (features**0.5 * TARGET_STD)).to(device)  # [N * D, dims]

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B, T, N, D] -> (variance, covariance), scalars."""
        return variance_covariance(latents.flatten(2).flatten(0, 1) @ self.projection)
