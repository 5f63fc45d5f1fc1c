"""What values of the configuration are possible, beyond their type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from jepa_robot.errors import ConfigError

Range = tuple[Callable[[Any], bool], str]

_POSITIVE: Range = (lambda v: v > 0, "a number above 0")
_NOT_NEGATIVE: Range = (lambda v: v >= 0, "0 or more")
_SHARE: Range = (lambda v: 0 <= v <= 1, "a number from 0 to 1")
_INSIDE: Range = (lambda v: 0 < v < 1, "a number above 0 and below 1")
CLIP = "1 (single frames), or an even number, 4 or more: two tubelets"


def possible_clip(frames: int) -> bool:
    """Whether clips of so many frames can be pretrained on."""
    return frames == 1 or (frames >= 4 and frames % 2 == 0)


def _one_of(*names: str) -> Range:
    return (lambda v: v in names, " or ".join(names))


RANGES: dict[str, Range] = {
    "seed": (lambda v: 0 <= v < 2**63, "0 to 2^63 - 1"),
    "threads": (lambda v: 0 <= v <= 1024, "0 or more, and at most 1024"),
    "valid_fraction": _INSIDE,
    "task.max_steps": (lambda v: 1 <= v <= 100_000, "1 to 100000"),
    "task.image_size": (lambda v: isinstance(v, int) and v >= 16, "16 pixels or more"),
    "source.fps": _POSITIVE,
    "source.image_size": (lambda v: v >= 8, "8 or more"),
    "loader.skip": _POSITIVE,
    "loader.workers": _NOT_NEGATIVE,
    "loader.memory_gb": _NOT_NEGATIVE,
    "loader.augment.shift": _NOT_NEGATIVE,
    "loader.augment.crop": (lambda v: 0 <= v < 1, "from 0 to below 1"),
    "loader.augment.hue": (lambda v: 0 <= v <= 0.5, "from 0 to 0.5"),
    "loader.augment.brightness": _NOT_NEGATIVE,
    "loader.augment.contrast": _NOT_NEGATIVE,
    "loader.augment.saturation": _NOT_NEGATIVE,
    "train.steps": _POSITIVE,
    "train.batch_size": _POSITIVE,
    "train.clip_frames": (possible_clip, CLIP),
    "train.frames": (lambda v: v >= 3, "3 or more"),
    "train.masks_per_step": _one_of("turn", "all"),
    "train.target": _one_of("teacher", "encoder"),
    "train.exponent": _POSITIVE,
    "train.motion": _SHARE,
    "train.summary.of": _one_of("flattened", "pooled"),
    "train.summary.head": _one_of("fixed", "learned"),
    "train.variance": _NOT_NEGATIVE,
    "train.covariance": _NOT_NEGATIVE,
    "train.gaussian": _NOT_NEGATIVE,
    "train.momentum": _SHARE,
    "train.momentum_end": _SHARE,
    "train.lr": _POSITIVE,
    "train.encoder_lr": _NOT_NEGATIVE,
    "train.weight_decay": _NOT_NEGATIVE,
    "train.weight_decay_end": _NOT_NEGATIVE,
    "train.warmup": _SHARE,
    "train.decay": _SHARE,
    "train.decay_shape": _one_of("linear", "cosine"),
    "train.evaluate_every": _POSITIVE,
    "train.save_minutes": _NOT_NEGATIVE,
    "train.dynamics.exponent": _POSITIVE,
    "train.dynamics.rollout": _NOT_NEGATIVE,
    "train.dynamics.displacement": _NOT_NEGATIVE,
    "train.dynamics.metric": _NOT_NEGATIVE,
    "actions": _POSITIVE,
    "states": _POSITIVE,
    "model.image_size": _NOT_NEGATIVE,
    "model.encoder.mlp_ratio": _POSITIVE,
    "model.encoder.depth": _POSITIVE,
    "model.masked_predictor.depth": _POSITIVE,
    "model.masked_predictor.mask_tokens": _POSITIVE,
    "model.predictor.depth": _POSITIVE,
    "model.metric.hidden": _POSITIVE,
    "pooling.width": _POSITIVE,
}


def check_ranges(config: DictConfig) -> None:
    """Check every value of the configuration that `RANGES` knows.

    Raises:
        ConfigError: names the first that is impossible.
    """
    for key, (possible, expected) in RANGES.items():
        value = OmegaConf.select(config, key)
        if value is not None and not possible(value):
            raise ConfigError(f"is {value}", where=key, expected=expected)
