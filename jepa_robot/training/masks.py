"""Multi-block masks for masked latent prediction (V-JEPA, arXiv 2404.08471, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ATTEMPTS = 100  # until a block is found that leaves enough visible


@dataclass(frozen=True)
class MaskConfig:
    """``blocks`` rectangles, each ``area`` of the picture, aspect ratio within ``aspect``; their union is hidden.

    At least ``min_visible`` patches stay visible: on the small grids of small pictures the published
    block counts can hide everything.
    """

    blocks: int
    area: float
    aspect: tuple[float, float]
    min_visible: int


def block_mask(grid: int, config: MaskConfig, rng: np.random.Generator) -> np.ndarray:
    """bool [grid * grid], True where hidden. A block that would leave too little visible is left out.

    Raises:
        ValueError: no such block leaves enough visible.
    """
    for _ in range(ATTEMPTS):
        hidden = np.zeros((grid, grid), bool)
        for _ in range(config.blocks):
            aspect = np.exp(rng.uniform(*np.log(config.aspect)))
            height = int(np.clip(round((config.area * grid * grid * aspect) ** 0.5), 1, grid))
            width = int(np.clip(round((config.area * grid * grid / aspect) ** 0.5), 1, grid))
            top, left = rng.integers(grid - height + 1), rng.integers(grid - width + 1)
            union = hidden.copy()
            union[top : top + height, left : left + width] = True
            if grid * grid - union.sum() >= config.min_visible:
                hidden = union
        if hidden.any():
            return hidden.ravel()
    raise ValueError(f"no block of area {config.area} leaves {config.min_visible} of {grid * grid} patches visible")


def sample_masks(
    batch: int, grid: int, tubelets: int, config: MaskConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One spatial mask a clip, the same at every time.

    Returns:
        (visible [B, V], hidden [B, M]): int64 token indices into a clip of tubelets * grid * grid tokens.
        Counts are cut to the smallest of the batch, so that the batch is rectangular (as V-JEPA does).
    """
    masks = np.stack([block_mask(grid, config, rng) for _ in range(batch)])
    offsets = np.arange(tubelets) * grid * grid

    def indices(selected: np.ndarray) -> Tensor:
        count = selected.sum(1).min()
        order = np.argsort(~selected + rng.random(selected.shape) * 0.5, axis=1)[:, :count]
        order.sort(axis=1)
        return torch.from_numpy((offsets[None, :, None] + order[:, None, :]).reshape(batch, -1))

    return indices(~masks), indices(masks)
