"""Predictor of masked pretraining: from the visible tokens' latents to the hidden tokens' latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jepa_robot.models.attention import Block, initialise
from jepa_robot.models.linear import Linear
from jepa_robot.models.rope import rotation_table


@dataclass(frozen=True)
class MaskedPredictorConfig:
    """Sizes of a `MaskedPredictor`.

    Attributes:
        mask_tokens: how many learnable mask tokens there are; V-JEPA 2 has one a mask configuration (and room
            for ten).
        tiled_rope: the rotary frequencies of V-JEPA 2's released weights, see `jepa_robot.models.rope`.
    """

    width: int = 96
    depth: int = 3
    heads: int = 3
    mlp_ratio: float = 4.0
    mask_tokens: int = 1
    tiled_rope: bool = False


class MaskedPredictor(nn.Module):
    """A narrow ViT over [visible latents, mask tokens] (V-JEPA, arXiv 2404.08471, section 3)."""

    def __init__(self, encoder_width: int, config: MaskedPredictorConfig):
        super().__init__()
        self.config = config
        self.embed = Linear(encoder_width, config.width)
        self.mask_tokens = nn.Parameter(torch.zeros(config.mask_tokens, config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.proj = Linear(config.width, encoder_width)
        initialise(self)
        nn.init.trunc_normal_(self.mask_tokens, std=0.02)

    def forward(
        self, visible: Tensor, visible_positions: Tensor, hidden_positions: Tensor, mask_index: int = 0
    ) -> Tensor:
        """Predictions [B, M, D] for the hidden tokens.

        Args:
            visible: latents [B, V, D] of the visible tokens.
            visible_positions: [B, V, 3]; hidden_positions: [B, M, 3].
            mask_index: which of the mask tokens stands for the hidden ones, modulo their number.
        """
        batch, hidden = hidden_positions.shape[:2]
        x = self.embed(visible)
        token = self.mask_tokens[mask_index % self.config.mask_tokens]
        x = torch.cat([x, token.to(x.dtype).expand(batch, hidden, -1)], dim=1)
        positions = torch.cat([visible_positions, hidden_positions], dim=1)
        cos, sin = rotation_table(positions, self.config.width // self.config.heads, self.config.tiled_rope)
        for block in self.blocks:
            x = block(x, (cos[:, None], sin[:, None]))
        return self.proj(self.norm(x[:, -hidden:]))
