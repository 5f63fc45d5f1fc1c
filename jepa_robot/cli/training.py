"""What `pretrain` and `train` share: data, model sizes, the recipe's entry in a checkpoint."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from jepa_robot.data.dataset import TrajectoryArrays, load_arrays, split_episodes, statistics
from jepa_robot.errors import ConfigError
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.spec import Contract


@dataclass(frozen=True)
class Data:
    """A data set, split by episode, and the contract with the training split's normalisation."""

    arrays: TrajectoryArrays
    train: np.ndarray
    valid: np.ndarray
    contract: Contract


def prepare(config: DictConfig) -> Data:
    """Threads, progress lines on standard error, and the data.

    Raises:
        DataError: the file cannot be used.
        ConfigError: fewer than two episodes, so that none can be held out.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    arrays = load_arrays(config.data)
    train, valid = split_episodes(len(arrays), config.valid_fraction, config.seed)
    if not len(train) or not len(valid):
        raise ConfigError(
            f"{len(arrays)} episodes leave none to train on or none to hold out", where=config.data,
            expected="at least 2 episodes and 0 < valid_fraction < 1",
        )
    return Data(arrays, train, valid, statistics(arrays, train))


def encoder_config(config: DictConfig, contract: Contract) -> EncoderConfig:
    """Sizes from the ``model`` group, the picture's from the data.

    Raises:
        ConfigError: they do not fit each other.
    """
    camera = contract.camera
    if camera.height != camera.width:
        raise ConfigError(f"pictures are {camera.height}x{camera.width}", where=config.data, expected="square pictures")
    try:
        return EncoderConfig(image_size=camera.height, **OmegaConf.to_container(config.model.encoder))
    except ValueError as error:
        raise ConfigError(str(error), where="model.encoder") from error


def check_effect(overrides: Sequence[str], without: Mapping[str, str]) -> None:
    """Refuse overrides that would change nothing.

    Args:
        without: why each section, such as ``model.encoder``, has no effect in this run.

    Raises:
        ConfigError: names the first override of such a section.
    """
    for text in overrides:
        for section, reason in without.items():
            if text.partition("=")[0] == section or text.startswith(f"{section}."):
                raise ConfigError(f"has no effect here: {reason}", where=f"override {text!r}", mend="leave it out")


def check_heads(config: DictConfig, *parts: str) -> None:
    """Check that the width of these parts of the ``model`` group can be split into heads with rotary positions.

    Raises:
        ConfigError: names the first part that cannot.
    """
    for part in parts:
        width, heads = config.model[part].width, config.model[part].heads
        if heads < 1 or width < 1 or width % (2 * heads):
            raise ConfigError(
                f"has width {width} and {heads} heads", where=f"model.{part}",
                expected="a width that is a multiple of 2 x heads",
            )


def settings(config: DictConfig, **inputs: str | Path) -> dict[str, Any]:
    """What a run must agree in to be resumed, and what a checkpoint tells of it: plain data.

    ``inputs`` are files, told apart by their content: one that was made anew under its old name is another.
    """
    plain = OmegaConf.to_container(config)
    kept = {k: v for k, v in plain.items() if k not in ("out", "threads", "device")}
    return kept | {f"{name}_sha256": _digest(path) for name, path in inputs.items()}


def _digest(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recipe_entry(
    stage: str, config: DictConfig, kept: dict[str, Any], data: Data, outcome: dict[str, Any]
) -> dict[str, Any]:
    """One stage of the recipe for a checkpoint's header; files are named without their folders."""
    frames = int(data.arrays.lengths.sum())
    names = {key: Path(kept[key]).name for key in ("data", "encoder", "start") if kept.get(key)}
    return {
        "stage": stage,
        "settings": kept | names,
        "data": {**data.arrays.recipe, "episodes": len(data.arrays), "frames": frames},
        "seed": config.seed,
        "steps": config.train.steps,
        "seconds": outcome["seconds"],
        "threads": torch.get_num_threads(),
        "figures": outcome["figures"],
        "versions": {"jepa_robot": importlib.metadata.version("jepa-robot"), "torch": torch.__version__},
    }
