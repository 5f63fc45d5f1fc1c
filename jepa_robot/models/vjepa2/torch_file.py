"""The .pt files of facebookresearch/vjepa2: encoder, and masked or action-conditioned predictor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepa_robot.errors import CheckpointError, ConfigError
from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.encoder import TUBELET, EncoderConfig, VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.vjepa2.files import read_torch
from jepa_robot.models.vjepa2.layout import (
    STALE, bare, depth, plan_action_conditioned, plan_encoder, plan_masked_predictor,
)
from jepa_robot.models.vjepa2.networks import Imported, ImportOptions, convert, shape_text

# Attention heads of the published widths. A file of weights does not say them.
HEADS = {768: 12, 1024: 16, 1280: 16, 1408: 22}
MASKED_HEADS, ACTION_CONDITIONED_HEADS = {384: 12}, {1024: 16}
TRAINED_FRAMES = 7  # V-JEPA 2-AC: windows of 8 frames, the last of which is only a target
_ENCODERS = ("target_encoder", "encoder")
_STALE_WHY = "a position embedding of before the rotary ones"
_POSE_WHY = "the camera's pose: the predictor was trained without"

Shapes = Mapping[str, tuple[int, ...]]


def from_torch(path: Path, options: ImportOptions) -> Imported:
    """The networks of a .pt file, see `jepa_robot.models.vjepa2.read_vjepa2`."""
    content = read_torch(path)
    chosen = options.encoder or next((name for name in _ENCODERS if name in content), None)
    if chosen not in content:
        raise CheckpointError(
            f"has the entries {', '.join(map(str, content)) or 'none'}", where=path,
            expected=chosen or " or ".join(_ENCODERS),
        )
    if options.image_size is None:
        raise ConfigError(
            f"{path} does not say for which size of pictures it is", where="--image-size",
            mend="give it: 256 for V-JEPA 2-AC, 256 or 384 for V-JEPA 2",
        )
    networks = {name: _state_dict(path, name, content[name]) for name in (chosen, "predictor") if name in content}
    shapes = {name: {n: tuple(t.shape) for n, t in tensors.items()} for name, tensors in networks.items()}
    where = f"{path}:{chosen}"
    config = _encoder_sizes(where, shapes[chosen], options)
    part = convert(
        where, networks[chosen], plan_encoder(_fresh(shapes[chosen]), config.heads, config.width // config.heads),
        lambda: VideoEncoder(config),
    )
    found = Imported(config, part, chosen, used=len(_fresh(shapes[chosen])))
    for name, value in content.items():
        if name not in networks and (name in _ENCODERS or _holds_tensors(value)):
            found.left_out[str(name)] = "the other encoder" if name in _ENCODERS else "state of its training"
    _note_stale(found, chosen, shapes[chosen])
    if "predictor" in networks:
        _add_torch_predictor(found, f"{path}:predictor", networks["predictor"], shapes["predictor"], options)
    elif options.extrinsics or options.predictor_heads:
        raise ConfigError("has no predictor", where=path, mend="leave --extrinsics and --predictor-heads out")
    return found


def _state_dict(path: Path, entry: str, value: Any) -> dict[str, Tensor]:
    """The tensors of an entry by their names without prefixes."""
    where = f"{path}:{entry}"
    if not isinstance(value, Mapping) or not value:
        raise CheckpointError(f"is {'empty' if value == {} else type(value).__name__}", where=where, expected="tensors")
    tensors: dict[str, Tensor] = {}
    for name, tensor in value.items():
        short = bare(str(name))
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
            found = f"{tensor.dtype} {tensor.layout}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise CheckpointError(f"{name} is {found}", where=where, expected="a tensor of floating-point numbers")
        if short in tensors:
            raise CheckpointError(f"{short} is there twice, with different prefixes", where=where)
        tensors[short] = tensor
    return tensors


def _holds_tensors(value: Any) -> bool:
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return isinstance(value, Tensor) or any(map(_holds_tensors, values))


def _fresh(shapes: Shapes) -> list[str]:
    return [name for name in shapes if name not in STALE]


def _note_stale(found: Imported, entry: str, shapes: Shapes) -> None:
    found.left_out |= {f"{entry}.{name}": _STALE_WHY for name in shapes if name in STALE}


def _encoder_sizes(where: str, shapes: Shapes, options: ImportOptions) -> EncoderConfig:
    kernel = _shape(where, shapes, "patch_embed.proj.weight", ("width", 3, TUBELET, "patch", "patch"))
    width, hidden = kernel[0], _shape(where, shapes, "blocks.0.mlp.fc1.weight", ("hidden", kernel[0]))[0]
    heads = _heads(where, width, options.heads, HEADS, "--heads")
    try:
        return EncoderConfig(
            options.image_size, kernel[3], width, depth(shapes, "blocks"), heads, hidden / width, tiled_rope=True
        )
    except ValueError as error:
        raise ConfigError(str(error), where="--image-size", expected="a size that the patch divides") from error


def _add_torch_predictor(
    found: Imported, where: str, tensors: dict[str, Tensor], shapes: Shapes, options: ImportOptions
) -> None:
    """Tell the two kinds of predictor apart by their tensors, and take in the one that it is."""
    masked = [name for name in shapes if re.fullmatch(r"mask_tokens\.\d+", name)]
    conditioned = "action_encoder.weight" in shapes
    if bool(masked) == conditioned:
        raise CheckpointError(
            f"has {'both' if masked else 'neither'} mask_tokens.0 and action_encoder.weight"
            if masked else "has neither mask_tokens.0 nor action_encoder.weight",
            where=where, expected="one of them: a masked or an action-conditioned predictor",
        )
    latent = found.encoder.width
    width = _shape(where, shapes, "predictor_embed.weight", ("width", latent))[0]
    hidden = _shape(where, shapes, "predictor_blocks.0.mlp.fc1.weight", ("hidden", width))[0]
    blocks, ratio = depth(shapes, "predictor_blocks"), hidden / width
    known = ACTION_CONDITIONED_HEADS if conditioned else MASKED_HEADS
    heads = _heads(where, width, options.predictor_heads, known, "--predictor-heads")
    names = _fresh(shapes)
    if not conditioned:
        if options.extrinsics:
            raise ConfigError(f"{where} is a masked predictor, without the camera's pose", where="--extrinsics")
        found.predictor = MaskedPredictorConfig(width, blocks, heads, ratio, len(masked), tiled_rope=True)
        plan = plan_masked_predictor(names, heads, width // heads)
        found.predictor_tensors = convert(where, tensors, plan, lambda: MaskedPredictor(latent, found.predictor))
    else:
        found.dims = tuple(
            _shape(where, shapes, f"{name}_encoder.weight", (width, "dims"))[1] for name in ("action", "state")
        )
        found.predictor = PredictorConfig(
            width, blocks, heads, TRAINED_FRAMES, ratio, extrinsics=options.extrinsics, predicts="latents",
            tiled_rope=True,
        )
        plan = plan_action_conditioned(names, heads, width // heads, options.extrinsics)
        if not options.extrinsics:
            poses = [name for name in plan.unused if name.startswith("extrinsics_encoder.")]
            plan.unused = [name for name in plan.unused if name not in poses]
            found.left_out |= {f"predictor.{name}": _POSE_WHY for name in poses}
            names = [name for name in names if name not in poses]
        found.predictor_tensors = convert(
            where, tensors, plan,
            lambda: ActionConditionedPredictor(found.predictor, latent, found.encoder.grid, *found.dims),
        )
    found.used += len(names)
    _note_stale(found, "predictor", shapes)


def _heads(where: str, width: int, given: int | None, known: Mapping[int, int], option: str) -> int:
    if given is None and width not in known:
        raise ConfigError(
            f"{where} is {width} wide, which is no published width, and weights do not say the number of heads",
            where=option, mend=f"give it: {option} N",
        )
    heads = given or known[width]
    if width % (2 * heads):
        raise ConfigError(f"is {heads}", where=option, expected=f"a number whose double divides the width, {width}")
    return heads


def _shape(where: str, shapes: Shapes, name: str, expected: tuple[int | str, ...]) -> tuple[int, ...]:
    """The shape of a tensor that says sizes; names in ``expected`` stand for any length above 0, the same for each."""
    if name not in shapes:
        raise CheckpointError(f"lacks {name}", where=where, expected=f"a tensor {shape_text(expected)}")
    named: dict[str, int] = {}
    fits = len(shapes[name]) == len(expected) and all(
        found > 0 and found == (named.setdefault(length, found) if isinstance(length, str) else length)
        for found, length in zip(shapes[name], expected)
    )
    if not fits:
        raise CheckpointError(f"{name} is {shape_text(shapes[name])}", where=where, expected=shape_text(expected))
    return shapes[name]
