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
from torch import nn

from jepa_robot.cli.data.progress import opening
from jepa_robot.cli.data.source_options import read_contract
from jepa_robot.data.augment import Augment
from jepa_robot.data.dataset import open_trajectories
from jepa_robot.data.loader import LoaderConfig
from jepa_robot.data.memory import TrajectoryArrays
from jepa_robot.data.normalisation import statistics
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.splits import split_by_role
from jepa_robot.data.streamed import SourceSpec
from jepa_robot.data.windows import Trajectories, repeated_contract
from jepa_robot.errors import ConfigError
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.attention import compile_blocks, set_checkpointing
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.spec import Contract

logger = logging.getLogger(__name__)

_MEANS = ("out", "threads", "device", "weights", "compile", "checkpointing")  # where and how fast, not what
_HASHED_BYTES = 2**30  # reading more than this again would take longer than a look at it is worth


@dataclass(frozen=True)
class Data:
    """A data set, split by episode.

    Attributes:
        train, valid: episode numbers.
        recorded: the contract of what the model is trained on, frame skip included, without normalisation.
        contract: the same with the training split's normalisation.
        loader: how windows are drawn.
    """

    trajectories: Trajectories
    train: np.ndarray
    valid: np.ndarray
    recorded: Contract
    contract: Contract
    loader: LoaderConfig


def prepare(config: DictConfig) -> Data:
    """Threads, progress lines on standard error, and the data.

    Raises:
        DataError: the file cannot be used.
        ConfigError: fewer than two episodes, so that none can be held out.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if config.weights not in ("fp32", "fp16"):
        raise ConfigError(f"is {config.weights!r}", where="weights", expected="fp32 or fp16")
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    specs = source_specs(config)
    with opening() as report:
        trajectories = open_trajectories(specs, config.loader.memory_gb, torch.get_num_threads(), report)
    train, valid = split_by_role(trajectories.roles, config.valid_fraction, config.seed)
    if not len(train) or not len(valid):
        raise ConfigError(
            f"{len(trajectories)} episodes leave none to train on or none to hold out", where=specs[0].path,
            expected="at least 2 episodes and 0 < valid_fraction < 1",
        )
    unused = len(trajectories) - len(train) - len(valid)
    if unused:
        logger.warning("%d of %d episodes are in neither of the declared splits, and not used", unused, len(trajectories))
    given = OmegaConf.to_container(config.loader)
    loader = LoaderConfig(
        skip=given["skip"],
        weights=None if given["weights"] is None else tuple(_weight(w) for w in given["weights"]),
        workers=0 if isinstance(trajectories, TrajectoryArrays) else given["workers"],
        augment=Augment(**given["augment"]),
    )
    recorded = repeated_contract(trajectories.contract, loader.skip)
    return Data(trajectories, train, valid, recorded, statistics(trajectories, train, loader.skip), loader)


def data_paths(config: DictConfig) -> list[str]:
    """``data``, one path or several, as a list."""
    return [config.data] if isinstance(config.data, str) else list(config.data)


def source_specs(config: DictConfig) -> list[SourceSpec]:
    """How to open each of ``data``, from the ``source`` group.

    Raises:
        ConfigError: a value is of the wrong type, or there is no data at all.
        ContractError: the given contract is none.
    """
    given = OmegaConf.to_container(config.source)
    form, state, contract = given.pop("format"), given.pop("state"), given.pop("contract")
    for key, kind, expected in (
        ("camera", str, "a name"), ("fps", (int, float), "a number"), ("image_size", int, "an integer"),
        ("task", str, "a name"),
    ):
        if given[key] is not None and not isinstance(given[key], kind):
            raise ConfigError(f"is {given[key]!r}", where=f"source.{key}", expected=expected)
    names = None if state is None else tuple(map(str, state if isinstance(state, list) else [state]))
    given_contract = None if contract is None else read_contract(Path(contract))
    options = SourceOptions(state=names, contract=given_contract, **given)
    paths = data_paths(config)
    if not paths:
        raise ConfigError("is empty", where="data", expected="a path, or several: [A,B]")
    return [SourceSpec(Path(path), form, options) for path in paths]


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ConfigError(f"has {value!r}", where="loader.weights", expected="numbers, 0 or more")
    return float(value)


def encoder_config(config: DictConfig, contract: Contract) -> EncoderConfig:
    """Sizes from the ``model`` group, the picture's from the data.

    Raises:
        ConfigError: they do not fit each other, or the group is for pictures of another size.
    """
    camera = contract.camera
    if camera.height != camera.width:
        raise ConfigError(f"pictures are {camera.height}x{camera.width}", where=config.data, expected="square pictures")
    if config.model.image_size not in (0, camera.height):
        raise ConfigError(
            f"pictures are {camera.height}x{camera.width}", where=", ".join(data_paths(config)),
            expected=f"{config.model.image_size}x{config.model.image_size}, model.image_size",
            mend=f"scale them, source.image_size={config.model.image_size}, or let the data decide, model.image_size=0",
        )
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


def accelerate(config: DictConfig, *modules: nn.Module) -> None:
    """Compile the modules' blocks, and let them keep fewer activations, as the configuration says."""
    for module in modules:
        set_checkpointing(module, config.checkpointing)
        if config.compile:
            compile_blocks(module)


def settings(config: DictConfig, **inputs: str | Path) -> dict[str, Any]:
    """What a run must agree in to be resumed, and what a checkpoint tells of it: plain data.

    ``data`` and ``inputs`` are told apart by their content: what was made anew under its old name is another.
    """
    plain = OmegaConf.to_container(config)
    kept = {k: v for k, v in plain.items() if k not in _MEANS}
    # Neither changes what is trained on.
    kept["loader"] = {k: v for k, v in kept["loader"].items() if k not in ("workers", "memory_gb")}
    digests = {f"{name}_sha256": _digest(Path(path)) for name, path in inputs.items()}
    data = [_digest(Path(path)) for path in data_paths(config)]
    return kept | {"data_sha256": _one_or_all(data)} | digests


def _digest(path: Path) -> str:
    """SHA-256 of a file; of a folder or a large file, of names, sizes and times of change."""
    if path.is_file() and path.stat().st_size <= _HASHED_BYTES:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    stats = [(str(file.relative_to(path.parent)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def recipe_entry(
    stage: str, config: DictConfig, kept: dict[str, Any], data: Data, outcome: dict[str, Any]
) -> dict[str, Any]:
    """One stage of the recipe for a checkpoint's header; files are named without their folders."""
    frames = int(data.trajectories.lengths.sum())
    names: dict[str, Any] = {key: Path(kept[key]).name for key in ("encoder", "start") if kept.get(key)}
    names["data"] = _one_or_all([Path(path).name for path in data_paths(config)])
    if kept["source"]["contract"] is not None:
        names["source"] = kept["source"] | {"contract": Path(kept["source"]["contract"]).name}
    return {
        "stage": stage,
        "settings": kept | names,
        "data": {**data.trajectories.recipe, "episodes": len(data.trajectories), "frames": frames},
        "seed": config.seed,
        "steps": config.train.steps,
        "seconds": outcome["seconds"],
        "threads": torch.get_num_threads(),
        "figures": outcome["figures"],
        "versions": {"jepa_robot": importlib.metadata.version("jepa-robot"), "torch": torch.__version__},
    }
