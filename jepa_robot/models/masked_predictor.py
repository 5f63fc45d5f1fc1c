"""Predictor of masked pretraining: from the visible tokens' latents to the hidden tokens' latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jepa_robot.models.attention import Block, initialise
from jepa_robot.models.rope import rotation_table


@dataclass(frozen=True)
class MaskedPredictorConfig:
    """Sizes of a `MaskedPredictor`."""

    width: int = 96
    depth: int = 3
    heads: int = 3


class MaskedPredictor(nn.Module):
    """A narrow ViT over [visible latents, mask tokens] (V-JEPA, arXiv 2404.08471, section 3)."""

    def __init__(self, encoder_width: int, config: MaskedPredictorConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Linear(encoder_width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.proj = nn.Linear(config.width, encoder_width)
        initialise(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, visible: Tensor, visible_positions: Tensor, hidden_positions: Tensor) -> Tensor:
        """visible [B, V, D], positions [B, V, 3] and [B, M, 3] -> predictions [B, M, D] for the hidden tokens."""
        batch, hidden = hidden_positions.shape[:2]
        x = self.embed(visible)
        x = torch.cat([x, self.mask_token.to(x.dtype).expand(batch, hidden, -1)], dim=1)
        positions = torch.cat([visible_positions, hidden_positions], dim=1)
        flat = rotation_table(positions.flatten(0, 1), self.config.width // self.config.heads)
        table = tuple(t.view(batch, positions.shape[1], -1)[:, None] for t in flat)
        for block in self.blocks:
            x = block(x, table)
        return self.proj(self.norm(x[:, -hidden:]))
