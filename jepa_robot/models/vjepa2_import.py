"""From a public V-JEPA 2 or V-JEPA 2-AC file to sizes and tensors of ours, every tensor of it accounted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jepa_robot.errors import CheckpointError, ConfigError
from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.encoder import TUBELET, EncoderConfig, VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.vjepa2 import (
    STALE, Plan, bare, depth, plan_action_conditioned, plan_encoder, plan_hf_encoder, plan_hf_predictor,
    plan_masked_predictor,
)
from jepa_robot.models.vjepa2_files import read_folder, read_torch

# Attention heads of the published widths. A file of weights does not say them.
HEADS = {768: 12, 1024: 16, 1280: 16, 1408: 22}
MASKED_HEADS, ACTION_CONDITIONED_HEADS = {384: 12}, {1024: 16}
TRAINED_FRAMES = 7  # V-JEPA 2-AC: windows of 8 frames, the last of which is only a target
_ENCODERS = ("target_encoder", "encoder")
_NETWORKS = (*_ENCODERS, "predictor")
_STALE_WHY = "a position embedding of before the rotary ones"
_POSE_WHY = "the camera's pose: the predictor was trained without"

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ImportOptions:
    """What a public file does not say, or leaves to choose; see `jepa-robot import vjepa2 --help`."""

    image_size: int | None = None
    heads: int | None = None
    predictor_heads: int | None = None
    encoder: str | None = None
    extrinsics: bool = False


@dataclass
class Imported:
    """An encoder, and a predictor if there is one.

    Attributes:
        encoder_tensors, predictor_tensors: by the names of our modules' weights, float32.
        dims: number of actions and of states of an action-conditioned predictor.
        chosen: the network that the encoder was taken from.
        left_out: tensors (or whole entries) of the file that are not used, and why.
        used: number of tensors of the file that are.
    """

    encoder: EncoderConfig
    encoder_tensors: dict[str, Tensor]
    chosen: str
    predictor: MaskedPredictorConfig | PredictorConfig | None = None
    predictor_tensors: dict[str, Tensor] = field(default_factory=dict)
    dims: tuple[int, int] = (0, 0)
    left_out: dict[str, str] = field(default_factory=dict)
    used: int = 0


def read_vjepa2(path: Path, options: ImportOptions = ImportOptions()) -> Imported:
    """The networks of a public ``.pt`` file or Hugging Face folder. Nothing of it is run.

    Raises:
        CheckpointError: the file cannot be read, or a tensor is missing, too many or of the wrong shape.
        ConfigError: something has to be said that the file does not say.
    """
    return _from_folder(path, options) if path.is_dir() else _from_torch(path, options)


# -- facebookresearch/vjepa2's files -----------------------------------------------------------------------


def _from_torch(path: Path, options: ImportOptions) -> Imported:
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
    part = _convert(
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
        found.predictor_tensors = _convert(where, tensors, plan, lambda: MaskedPredictor(latent, found.predictor))
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
        found.predictor_tensors = _convert(
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
        raise CheckpointError(f"lacks {name}", where=where, expected=f"a tensor {_text(expected)}")
    named: dict[str, int] = {}
    fits = len(shapes[name]) == len(expected) and all(
        found > 0 and found == (named.setdefault(length, found) if isinstance(length, str) else length)
        for found, length in zip(shapes[name], expected)
    )
    if not fits:
        raise CheckpointError(f"{name} is {_text(shapes[name])}", where=where, expected=_text(expected))
    return shapes[name]


# -- Hugging Face's folders --------------------------------------------------------------------------------

# What our networks have fixed, as config.json says it.
_FIXED = {"tubelet_size": TUBELET, "in_chans": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True}
_INTEGERS = (
    "crop_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "pred_hidden_size",
    "pred_num_hidden_layers", "pred_num_attention_heads", "pred_num_mask_tokens",
)
_CLASSIFIER = "vjepa2."  # before the names of a classifier's backbone


def _from_folder(folder: Path, options: ImportOptions) -> Imported:
    settings, tensors = read_folder(folder)
    for option in ("heads", "predictor_heads", "encoder"):
        if getattr(options, option) is not None:
            raise ConfigError(
                "config.json says it" if "heads" in option else "this folder has one encoder",
                where=f"--{option.replace('_', '-')}", mend="leave it out",
            )
    where = folder / "config.json"
    _check_settings(where, settings)
    if options.extrinsics or options.image_size not in (None, settings["crop_size"]):
        given = "--extrinsics" if options.extrinsics else "--image-size"
        expected = "a V-JEPA 2-AC file" if options.extrinsics else f"{settings['crop_size']}, as {where} says"
        raise ConfigError("does not fit this folder", where=given, expected=expected)
    try:
        config = EncoderConfig(
            settings["crop_size"], settings["patch_size"], settings["hidden_size"], settings["num_hidden_layers"],
            settings["num_attention_heads"], settings["mlp_ratio"], tiled_rope=True,
        )
        _head_width(config.width, config.heads)
        predictor = MaskedPredictorConfig(
            settings["pred_hidden_size"], settings["pred_num_hidden_layers"], settings["pred_num_attention_heads"],
            settings["pred_mlp_ratio"], settings["pred_num_mask_tokens"], tiled_rope=True,
        )
        _head_width(predictor.width, predictor.heads)
    except ValueError as error:
        raise CheckpointError(str(error), where=where) from error
    classifier = any(name.startswith(_CLASSIFIER) for name in tensors)
    own = {name: tensor for name, tensor in tensors.items() if not classifier or name.startswith(_CLASSIFIER)}
    left_out = dict.fromkeys((name for name in tensors if name not in own), "a classifier's head")
    own = {name.removeprefix(_CLASSIFIER): tensor for name, tensor in own.items()}
    parts = {part: {n: t for n, t in own.items() if n.startswith(f"{part}.")} for part in ("encoder", "predictor")}
    if odd := [name for name in own if not name.startswith(("encoder.", "predictor."))]:
        raise CheckpointError(f"has {odd[0]}", where=folder, expected="tensors of encoder and predictor")
    found = Imported(
        config,
        _convert(
            str(folder), parts["encoder"], plan_hf_encoder(parts["encoder"], config.heads, config.width // config.heads),
            lambda: VideoEncoder(config),
        ),
        "encoder", left_out=left_out, used=len(own),
    )
    if parts["predictor"]:
        plan = plan_hf_predictor(parts["predictor"], predictor.heads, predictor.width // predictor.heads)
        found.predictor = predictor
        found.predictor_tensors = _convert(
            str(folder), parts["predictor"], plan, lambda: MaskedPredictor(config.width, predictor)
        )
    return found


def _check_settings(where: Path, settings: dict[str, Any]) -> None:
    for name, value in _FIXED.items():
        if settings.get(name) != value:
            raise CheckpointError(f"{name} is {settings.get(name)!r}", where=where, expected=repr(value))
    for name in (*_INTEGERS, "mlp_ratio", "pred_mlp_ratio"):
        value = settings.get(name)
        kinds = (int,) if name in _INTEGERS else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not value > 0:
            kind = "an integer" if name in _INTEGERS else "a number"
            raise CheckpointError(f"{name} is {value!r}", where=where, expected=f"{kind} above 0")


def _head_width(width: int, heads: int) -> None:
    if width % (2 * heads):
        raise ValueError(f"{heads} heads do not divide a width of {width} into even parts")


# -- both --------------------------------------------------------------------------------------------------


def _convert(
    where: str, source: Mapping[str, Tensor], plan: Plan, build: Callable[[], nn.Module]
) -> dict[str, Tensor]:
    """Check names, shapes and numbers of a network's tensors against the module of its sizes; make ours."""
    if plan.missing:
        more = f" and {len(plan.missing) - 1} more" if len(plan.missing) > 1 else ""
        raise CheckpointError(f"lacks {plan.missing[0]}{more}", where=where, expected="a complete network")
    if plan.unused:
        more = f" and {len(plan.unused) - 1} more" if len(plan.unused) > 1 else ""
        raise CheckpointError(
            f"has {plan.unused[0]}{more}", where=where, expected="only tensors that V-JEPA 2's networks have"
        )
    try:
        with torch.device("meta"):
            wanted = build().state_dict()
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"sizes make no network ({error})", where=where) from error
    if odd := sorted(wanted.keys() ^ plan.origins.keys()):
        raise CheckpointError(
            f"{'lacks' if odd[0] in wanted else 'has'} {odd[0]}, as it is called here", where=where,
            expected="as many blocks as config.json says",
        )
    for ours, origin in plan.origins.items():
        shape = origin.shape(tuple(wanted[ours].shape))
        for name in origin.sources:
            tensor = source[name]
            if tuple(tensor.shape) != shape:
                raise CheckpointError(f"{name} is {_text(tensor.shape)}", where=where, expected=_text(shape))
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{name} has numbers that are not finite", where=where, mend="download it again")
    return plan.tensors(source)


def _text(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
