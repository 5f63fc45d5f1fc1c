"""From the ``train`` group of the configuration to the settings of pretraining."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np
from omegaconf import DictConfig, OmegaConf

from jepa_robot.cli.ranges import CLIP, possible_clip
from jepa_robot.errors import ConfigError
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.training.masks import MaskConfig, sample_masks
from jepa_robot.training.phases import Phase
from jepa_robot.training.pretrain import PretrainConfig
from jepa_robot.training.summary import SummaryConfig

Settings = TypeVar("Settings", MaskConfig, Phase)
LOOP = ("steps", "evaluate_every", "save_minutes")  # of the loop that every stage runs in


def pretrain_config(config: DictConfig, sizes: EncoderConfig) -> PretrainConfig:
    """Settings that fit each other and the pictures.

    Raises:
        ConfigError: they do not; names the first that is wrong.
    """
    if "masks" not in config.train:
        raise ConfigError("is a recipe of `jepa-robot train`", where="train", expected="one of `jepa-robot pretrain`")
    values = {key: value for key, value in OmegaConf.to_container(config.train).items() if key not in LOOP}
    early = _phases(values.pop("early_phases"), sizes)
    masks = _masks(values.pop("masks"))
    made = PretrainConfig(masks=masks, early_phases=early, summary=SummaryConfig(**values.pop("summary")), **values)
    shortest = min(phase.clip_frames for phase in (*early, made))
    if made.motion > 0 and shortest < 4:
        raise ConfigError(
            f"is {made.motion} with clips of {shortest} frames", where="train.motion",
            expected="0, or clips of 4 frames or more: nothing moves in a single tubelet",
        )
    if made.target == "encoder" and not (made.variance or made.gaussian):
        raise ConfigError(
            "is encoder without a term against collapse", where="train.target",
            expected="train.gaussian or train.variance above 0, or target=teacher",
        )
    grids = {phase.image_size // sizes.patch_size for phase in early} | {sizes.grid}
    for grid in sorted(grids, reverse=True):
        for mask in masks:
            try:
                sample_masks(1, grid, 1, mask, np.random.default_rng(config.seed))
            except ValueError as error:
                raise ConfigError(
                    str(error), where="train.masks", expected=f"blocks that fit {grid}x{grid} patches",
                    mend="lower min_visible or area, or take larger pictures or smaller patches",
                ) from error
    return made


def _masks(given: list[Any]) -> tuple[MaskConfig, ...]:
    where = "train.masks"
    expected = (
        "a list of {blocks, area: [from, to], aspect: [from, to], min_visible}, and context: [from, to]"
        " if each block is to be predicted on its own"
    )
    try:
        made = tuple(_filled(MaskConfig, mask, where, expected) for mask in given)
    except ValueError as error:
        raise ConfigError(str(error), where=where, expected=expected) from error
    if not made:
        raise ConfigError("is empty", where=where, expected="at least one")
    return made


def _filled(kind: type[Settings], given: Any, where: str, expected: str) -> Settings:
    """A settings object from one entry of a list in the configuration."""
    if not isinstance(given, dict):
        raise ConfigError(f"has {given!r}", where=where, expected=expected)
    fields = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(kind)}
    missing = [name for name, needed in fields.items() if needed and name not in given]
    unknown = [str(name) for name in given if name not in fields]
    for problem, names in (("lacks", missing), ("does not take", unknown)):
        if names:
            raise ConfigError(f"{given} {problem} {', '.join(names)}", where=where, expected=expected)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _phases(given: list[Any], sizes: EncoderConfig) -> tuple[Phase, ...]:
    where = "train.early_phases"
    phases = tuple(_filled(Phase, phase, where, "a list of {share, clip_frames, image_size}") for phase in given)
    for phase in phases:
        if not _number(phase.share) or not 0 < phase.share < 1:
            raise ConfigError(f"has share {phase.share!r}", where=where, expected="a number above 0 and below 1")
        if not isinstance(phase.clip_frames, int) or not possible_clip(phase.clip_frames):
            raise ConfigError(f"has clip_frames {phase.clip_frames!r}", where=where, expected=CLIP)
        size = phase.image_size
        if not isinstance(size, int) or size % sizes.patch_size or not 0 < size <= sizes.image_size:
            raise ConfigError(
                f"has image_size {size!r}", where=where,
                expected=f"a multiple of the patch size {sizes.patch_size}, at most the data's {sizes.image_size} px",
            )
    total = sum(phase.share for phase in phases)
    if total >= 1:
        raise ConfigError(f"take a share of {total:g} of the steps", where=where, expected="less than 1 in all")
    return phases


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
