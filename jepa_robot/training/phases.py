"""Progressive training: most steps with short clips of small pictures, the last with long clips of whole ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Phase:
    """A part of a run.

    Attributes:
        share: of the run's steps.
        clip_frames: T of its clips: 1, single frames, or an even number.
        image_size: side of its pictures in pixels; smaller than the data's, they are resized.
    """

    share: float
    clip_frames: int
    image_size: int


def phase_at(step: int, steps: int, phases: Sequence[Phase]) -> int:
    """Index of the phase that a step is in; the last one takes all that the others leave."""
    end = 0.0
    for index, phase in enumerate(phases[:-1]):
        end += phase.share
        if step < round(end * steps):
            return index
    return len(phases) - 1


def resized(frames: Tensor, side: int) -> Tensor:
    """uint8 [B, T, H, W, 3] -> float in [0, 255] [B, T, side, side, 3], antialiased; of that size already: as it is."""
    batch, _, height, width, _ = frames.shape
    if (height, width) == (side, side):
        return frames
    x = frames.flatten(0, 1).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return x.permute(0, 2, 3, 1).unflatten(0, (batch, -1))
