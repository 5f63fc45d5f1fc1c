"""Hugging Face's folders of V-JEPA 2: encoder and masked predictor, or a classifier's backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jepa_robot.errors import CheckpointError, ConfigError
from jepa_robot.models.encoder import TUBELET, EncoderConfig, VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.vjepa2.files import read_folder
from jepa_robot.models.vjepa2.layout import plan_hf_encoder, plan_hf_predictor
from jepa_robot.models.vjepa2.networks import Imported, ImportOptions, convert

# What our networks have fixed, as config.json says it.
_FIXED = {"tubelet_size": TUBELET, "in_chans": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True}
_INTEGERS = (
    "crop_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "pred_hidden_size",
    "pred_num_hidden_layers", "pred_num_attention_heads", "pred_num_mask_tokens",
)
_CLASSIFIER = "vjepa2."  # before the names of a classifier's backbone


def from_folder(folder: Path, options: ImportOptions) -> Imported:
    """The networks of a folder, see `jepa_robot.models.vjepa2.read_vjepa2`."""
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
    plan = plan_hf_encoder(parts["encoder"], config.heads, config.width // config.heads)
    made = convert(str(folder), parts["encoder"], plan, lambda: VideoEncoder(config))
    found = Imported(config, made, "encoder", left_out=left_out, used=len(own))
    if parts["predictor"]:
        plan = plan_hf_predictor(parts["predictor"], predictor.heads, predictor.width // predictor.heads)
        found.predictor = predictor
        found.predictor_tensors = convert(
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
