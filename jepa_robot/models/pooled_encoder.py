"""One token a frame: an encoder's patch tokens in one vector, for fast dynamics (LeWorldModel, arXiv 2603.19312)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from jepa_robot.models.linear import Linear

if TYPE_CHECKING:
    from jepa_robot.models.encoder import EncoderConfig
    from jepa_robot.models.timm_encoder import TimmEncoderConfig

POOLINGS = ("mean", "linear")


@dataclass(frozen=True)
class PooledEncoderConfig:
    """An encoder, and how its patch tokens become one.

    Attributes:
        encoder: of the patch tokens.
        pooling: ``mean`` averages them; ``linear`` is a trained map of all of them together, which keeps where
            things are.
        width: of the one token; the encoder's where ``mean``.

    Raises:
        ValueError: another pooling, or another width of the mean.
    """

    encoder: EncoderConfig | TimmEncoderConfig
    pooling: str
    width: int

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling is {self.pooling!r}; expected {' or '.join(POOLINGS)}")
        if self.pooling == "mean" and self.width != self.encoder.width:
            raise ValueError(f"the mean of tokens has their width, {self.encoder.width}, and not {self.width}")

    @property
    def image_size(self) -> int:
        return self.encoder.image_size

    @property
    def grid(self) -> int:
        return 1

    @property
    def tokens(self) -> int:
        return 1


class PooledEncoder(nn.Module):
    """Frames on their own to one latent vector each.

    Args:
        encoder: of ``config.encoder``'s sizes.
    """

    def __init__(self, config: PooledEncoderConfig, encoder: nn.Module):
        super().__init__()
        self.config, self.encoder = config, encoder
        sizes = config.encoder
        self.linear = Linear(sizes.tokens * sizes.width, config.width) if config.pooling == "linear" else None

    @property
    def pixel_mean(self) -> Tensor:
        return self.encoder.pixel_mean

    @property
    def pixel_std(self) -> Tensor:
        return self.encoder.pixel_std

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [B, T, H, W, 3] -> layer-normalised latents [B, T, 1, width]."""
        latents = self.encoder(frames)
        pooled = latents.mean(-2) if self.linear is None else self.linear(latents.flatten(-2))
        return F.layer_norm(pooled.float(), pooled.shape[-1:]).unsqueeze(-2)
