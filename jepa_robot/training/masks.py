"""Multi-block masks: V-JEPA's (arXiv 2404.08471, section 3.1) and I-JEPA's (arXiv 2301.08243, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ATTEMPTS = 100  # until blocks are found that leave enough visible

Range = tuple[float, float]


@dataclass(frozen=True)
class MaskConfig:
    """``blocks`` rectangles, each of a share of the picture within ``area``, aspect ratio within ``aspect``.

    Without ``context`` (V-JEPA) the blocks' union is hidden and predicted at once, and all the rest is visible.
    With it (I-JEPA) each block is a target that is predicted on its own, and visible is a square block of a
    share within ``context`` less all targets. A batch's blocks are of one shape then, as in the published code.

    At least ``min_visible`` patches stay visible: on the small grids of small pictures the published
    block counts can hide everything.

    Raises:
        ValueError: an impossible value.
    """

    blocks: int
    area: Range
    aspect: Range
    min_visible: int
    context: Range | None = None

    def __post_init__(self) -> None:
        for name in ("blocks", "min_visible"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is {value!r}, not an integer of 1 or more")
        for name, highest in (("area", 1.0), ("aspect", np.inf), ("context", 1.0)):
            value = getattr(self, name)
            if name == "context" and value is None:
                continue
            try:
                low, high = value
                possible = 0 < low <= high <= highest
            except (TypeError, ValueError):
                possible = False
            if not possible:
                limit = "" if highest == np.inf else " and at most 1"
                raise ValueError(f"{name} is {value!r}, not a range [from, to] of numbers above 0{limit}")


@dataclass(frozen=True)
class Masks:
    """What of a batch of clips is seen and what is predicted.

    Attributes:
        visible: int64 [B, V], token indices into a clip of tubelets * grid * grid tokens.
        hidden: int64 [K, B, M], the same, of the K targets that are predicted each on its own.
    """

    visible: Tensor
    hidden: Tensor


def block_shape(grid: int, area: Range, aspect: Range, rng: np.random.Generator) -> tuple[int, int]:
    """(height, width) in patches: an area drawn uniformly, an aspect ratio log-uniformly, rounded to the grid."""
    share = area[0] if area[0] == area[1] else rng.uniform(*area)
    ratio = np.exp(rng.uniform(*np.log(aspect)))
    height = int(np.clip(round((share * grid * grid * ratio) ** 0.5), 1, grid))
    width = int(np.clip(round((share * grid * grid / ratio) ** 0.5), 1, grid))
    return height, width


def place(grid: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """bool [grid, grid], True inside a block of this shape at a random place."""
    top, left = rng.integers(grid - shape[0] + 1), rng.integers(grid - shape[1] + 1)
    block = np.zeros((grid, grid), bool)
    block[top : top + shape[0], left : left + shape[1]] = True
    return block


def block_mask(grid: int, config: MaskConfig, rng: np.random.Generator) -> np.ndarray:
    """bool [grid * grid], True where hidden. A block that would leave too little visible is left out.

    Raises:
        ValueError: no such block leaves enough visible.
    """
    for _ in range(ATTEMPTS):
        hidden = np.zeros((grid, grid), bool)
        for _ in range(config.blocks):
            union = hidden | place(grid, block_shape(grid, config.area, config.aspect, rng), rng)
            if grid * grid - union.sum() >= config.min_visible:
                hidden = union
        if hidden.any():
            return hidden.ravel()
    raise _too_little(grid, config)


def context_and_targets(
    grid: int, config: MaskConfig, context: tuple[int, int], target: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Visible bool [grid * grid] and targets bool [blocks, grid * grid], from blocks of these shapes.

    Raises:
        ValueError: too little stays visible.
    """
    for _ in range(ATTEMPTS):
        targets = np.stack([place(grid, target, rng) for _ in range(config.blocks)])
        visible = place(grid, context, rng) & ~targets.any(0)
        if visible.sum() >= config.min_visible:
            return visible.ravel(), targets.reshape(config.blocks, -1)
    raise _too_little(grid, config)


def sample_masks(batch: int, grid: int, tubelets: int, config: MaskConfig, rng: np.random.Generator) -> Masks:
    """Masks of ``batch`` clips, each with its own, the same at every time.

    Counts are cut to the smallest of the batch, so that the batch is rectangular (as V-JEPA does).

    Raises:
        ValueError: the blocks leave too little visible.
    """
    if config.context is None:
        union = np.stack([block_mask(grid, config, rng) for _ in range(batch)])
        visible, targets = ~union, union[:, None]
    else:
        shapes = block_shape(grid, config.context, (1.0, 1.0), rng), block_shape(grid, config.area, config.aspect, rng)
        drawn = [context_and_targets(grid, config, *shapes, rng) for _ in range(batch)]
        visible, targets = (np.stack(part) for part in zip(*drawn))
    offsets = np.arange(tubelets) * grid * grid

    def indices(selected: np.ndarray) -> Tensor:
        count = selected.sum(1).min()
        order = np.argsort(~selected + rng.random(selected.shape) * 0.5, axis=1)[:, :count]
        order.sort(axis=1)
        return torch.from_numpy((offsets[None, :, None] + order[:, None, :]).reshape(batch, -1))

    return Masks(indices(visible), torch.stack([indices(targets[:, k]) for k in range(targets.shape[1])]))


def _too_little(grid: int, config: MaskConfig) -> ValueError:
    area = config.area[0] if config.area[0] == config.area[1] else list(config.area)
    return ValueError(f"no block of area {area} leaves {config.min_visible} of {grid * grid} patches visible")
