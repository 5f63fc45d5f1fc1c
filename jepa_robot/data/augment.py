"""Random changes of pictures, drawn once a window and the same for all its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional


@dataclass(frozen=True)
class Augment:
    """How far pictures are changed; 0 everywhere: not at all.

    Attributes:
        shift: pixels by which a window is moved at most, down or up and right or left; what comes in repeats
            the edge (DrQ, arXiv 2004.13649).
        crop: share of each side that is cut off at most, anywhere; the rest is scaled to the whole (Inception's
            crop, arXiv 1409.4842, with the aspect kept).
        brightness, contrast, saturation: factors are drawn from [1 - value, 1 + value].
        hue: is turned by up to this share of the colour wheel, at most 0.5.
    """

    shift: int = 0
    crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __bool__(self) -> bool:
        return any((self.shift, self.crop, self.brightness, self.contrast, self.saturation, self.hue))

    def apply(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """uint8 [T, H, W, 3] -> the same shape and type, all frames changed alike."""
        pictures = frames.permute(0, 3, 1, 2)
        if self.shift:
            down, right = (int(rng.integers(-self.shift, self.shift + 1)) for _ in range(2))
            height, width = pictures.shape[-2:]
            padded = functional.pad(pictures, [self.shift] * 4, padding_mode="edge")
            top, left = self.shift - down, self.shift - right
            pictures = padded[..., top : top + height, left : left + width]
        if self.crop:
            height, width = pictures.shape[-2:]
            kept = 1 - float(rng.uniform(0, self.crop))
            rows, columns = max(1, round(kept * height)), max(1, round(kept * width))
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            pictures = functional.resized_crop(pictures, top, left, rows, columns, [height, width], antialias=True)
        for amount, change in (
            (self.brightness, functional.adjust_brightness),
            (self.contrast, functional.adjust_contrast),
            (self.saturation, functional.adjust_saturation),
        ):
            if amount:
                # Contrast is taken about a picture's own mean, which differs a little from frame to frame.
                pictures = change(pictures, float(rng.uniform(max(0.0, 1 - amount), 1 + amount)))
        if self.hue:
            pictures = functional.adjust_hue(pictures, float(rng.uniform(-self.hue, self.hue)))
        return pictures.permute(0, 2, 3, 1).contiguous()


def augmented(frames: Tensor, augment: Augment, seed: int, samples: np.ndarray) -> Tensor:
    """Windows uint8 [B, T, H, W, 3], each changed as its sample number [B] says, whoever computes it."""
    if not augment:
        return frames
    changed = [
        augment.apply(window, np.random.default_rng((seed, 2, int(sample)))) for window, sample in zip(frames, samples)
    ]
    return torch.stack(changed)
