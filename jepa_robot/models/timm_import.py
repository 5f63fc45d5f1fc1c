"""Weights of timm's backbones as a checkpoint of an encoder for any task."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pickle
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from jepa_robot.errors import CheckpointError, ConfigError
from jepa_robot.models.checkpoint import save
from jepa_robot.models.timm_encoder import TimmEncoder, TimmEncoderConfig, timm_config
from jepa_robot.spec import ANY_CAMERA, Camera, Contract

FPS = 1.0  # frames are encoded on their own
SOURCES = ("published", "random")


def import_timm(
    path: str | os.PathLike[str], name: str, image_size: int, input_size: int | None, weights: str
) -> TimmEncoderConfig:
    """Write the checkpoint.

    Args:
        name: timm's, with the tag of its weights.
        image_size: of the camera's pictures, in pixels.
        input_size: that they are scaled to; None: not at all.
        weights: ``published``, timm's own, which are downloaded once; ``random``, to compare with; or a file
            of them, safetensors or a .pth of tensors.

    Raises:
        ConfigError: timm has no such backbone, or it cannot see pictures of this size.
        CheckpointError: the weights cannot be read or downloaded, or do not fit.
        OutputError: the checkpoint cannot be written.
    """
    try:
        config = timm_config(name, image_size, input_size)
    except ValueError as error:
        raise ConfigError(str(error), where="import timm") from error
    encoder = TimmEncoder(config, (0.5,) * 3, (0.25,) * 3)
    if weights != "random":
        _load(encoder.backbone, None if weights == "published" else Path(weights))
    cfg = encoder.backbone.pretrained_cfg
    mean, std = (tuple(float(v) for v in cfg[key]) for key in ("mean", "std"))
    contract = Contract(None, (Camera(ANY_CAMERA, image_size, image_size, mean=mean, std=std),), FPS, (), ())
    recipe = [{
        "stage": "import", "source": f"timm {name}", "weights": Path(weights).name,
        "versions": {package: importlib.metadata.version(package) for package in ("timm", "jepa_robot")},
    }]
    save(path, encoder, "encoder", contract, recipe, {})
    return config


def _load(backbone: nn.Module, file: Path | None) -> None:
    """Fill the backbone with timm's weights, or a file's, as timm does: positions are resampled to its pictures.

    Raises:
        CheckpointError: see `import_timm`.
    """
    from timm.models import load_pretrained

    where = file if file is not None else f"timm {backbone.pretrained_cfg.get('architecture')}"
    if file is not None and not file.is_file():
        raise CheckpointError("no such file", where=file, expected="published, random, or a file of weights")
    with torch.no_grad():  # what nothing was loaded into stays this way: timm only logs it
        for value in backbone.state_dict().values():
            if value.is_floating_point():
                value.fill_(torch.nan)
    cfg = dict(backbone.pretrained_cfg) | ({} if file is None else {"file": str(file)})
    filtered = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    try:
        load_pretrained(backbone, cfg, num_classes=0, filter_fn=filtered, strict=False)
    except (pickle.UnpicklingError, SafetensorError, EOFError, KeyError, RuntimeError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"cannot be loaded ({first})", where=where, expected="weights of this backbone, and nothing else",
            mend="copy them again" if file is not None else "give a file of them: --weights FILE",
        ) from error
    except OSError as error:  # no network, among others
        raise CheckpointError(
            f"cannot be downloaded or read ({str(error).splitlines()[0]})", where=where,
            mend="give a file of them: --weights FILE",
        ) from error
    loaded = backbone.state_dict()
    empty = [name for name, value in loaded.items() if not torch.isfinite(value).all()]
    if empty:
        raise CheckpointError(
            f"lacks {empty[0]}" + (f" and {len(empty) - 1} more" if len(empty) > 1 else ""), where=where,
            expected=f"all {len(loaded)} tensors of the backbone",
        )
