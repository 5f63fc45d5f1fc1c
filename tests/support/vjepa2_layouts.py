"""Files in the layouts that V-JEPA 2's weights are published in, with random weights at small sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]

PATCH, SIZE, WIDTH, HEADS, PREDICTOR_WIDTH, PREDICTOR_HEADS = 4, 16, 64, 2, 48, 2
AC_WIDTH, AC_DEPTH, AC_HEADS = 40, 2, 2


def hugging_face_model(seed: int = 0) -> Any:
    """A small `VJEPA2Model` in which every weight matters."""
    import transformers

    transformers.logging.disable_progress_bar()  # of writing; it would stand in what is checked
    torch.manual_seed(seed)
    model = transformers.VJEPA2Model(transformers.VJEPA2Config(
        patch_size=PATCH, crop_size=SIZE, frames_per_clip=4, hidden_size=WIDTH, num_attention_heads=HEADS,
        num_hidden_layers=2, mlp_ratio=3.0, pred_hidden_size=PREDICTOR_WIDTH, pred_num_hidden_layers=2,
        pred_num_attention_heads=PREDICTOR_HEADS, pred_num_mask_tokens=3, pred_mlp_ratio=4.0,
    )).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, 1.0 if value.ndim == 1 else 0.0, 0.15)
    return model


def _meta_blocks(weights: Weights, theirs: str, ours: str) -> Weights:
    made: Weights = {}
    for name, tensor in weights.items():
        if not name.startswith(f"{theirs}."):
            continue
        block = name.removeprefix(f"{theirs}.").replace("attention.", "attn.")
        if "attn.query." in block:
            parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
            made[f"{ours}.{block.replace('query', 'qkv')}"] = torch.cat(parts)
        elif "attn.key." not in block and "attn.value." not in block:
            made[f"{ours}.{block}"] = tensor
    return made


def meta_encoder(weights: Weights) -> Weights:
    """Hugging Face's encoder in the names of facebookresearch/vjepa2."""
    made = _meta_blocks(weights, "encoder.layer", "blocks")
    for kind in ("weight", "bias"):
        made[f"patch_embed.proj.{kind}"] = weights[f"encoder.embeddings.patch_embeddings.proj.{kind}"]
        made[f"norm.{kind}"] = weights[f"encoder.layernorm.{kind}"]
    return made


def meta_predictor(weights: Weights) -> Weights:
    """Hugging Face's masked predictor in the names of facebookresearch/vjepa2."""
    made = _meta_blocks(weights, "predictor.layer", "predictor_blocks")
    for kind in ("weight", "bias"):
        made[f"predictor_embed.{kind}"] = weights[f"predictor.embeddings.predictor_embeddings.{kind}"]
        made[f"predictor_norm.{kind}"] = weights[f"predictor.layernorm.{kind}"]
        made[f"predictor_proj.{kind}"] = weights[f"predictor.proj.{kind}"]
    for index, token in enumerate(weights["predictor.embeddings.mask_tokens"]):
        made[f"mask_tokens.{index}"] = token
    return made


def action_conditioned(latent: int = WIDTH, dims: int = 7) -> Weights:
    """Random weights of an action-conditioned predictor in the names of facebookresearch/vjepa2."""
    generator = torch.Generator().manual_seed(3)
    linear = {
        "predictor_embed": (latent, AC_WIDTH), "action_encoder": (dims, AC_WIDTH), "state_encoder": (dims, AC_WIDTH),
        "extrinsics_encoder": (dims - 1, AC_WIDTH), "predictor_proj": (AC_WIDTH, latent),
    }
    norms = ["predictor_norm"]
    for block in (f"predictor_blocks.{i}" for i in range(AC_DEPTH)):
        linear |= {
            f"{block}.attn.qkv": (AC_WIDTH, 3 * AC_WIDTH), f"{block}.attn.proj": (AC_WIDTH, AC_WIDTH),
            f"{block}.mlp.fc1": (AC_WIDTH, 4 * AC_WIDTH), f"{block}.mlp.fc2": (4 * AC_WIDTH, AC_WIDTH),
        }
        norms += [f"{block}.norm1", f"{block}.norm2"]
    shapes = {f"{name}.weight": (outputs, inputs) for name, (inputs, outputs) in linear.items()}
    shapes |= {f"{name}.bias": (outputs,) for name, (_, outputs) in linear.items()}
    shapes |= {f"{name}.{kind}": (AC_WIDTH,) for name in norms for kind in ("weight", "bias")}
    return {name: 0.15 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def training_state(encoder: Weights, target: Weights | None, predictor: Weights | None) -> dict[str, Any]:
    """The outer dictionary as its training writes it, with prefixes, an optimizer and a stale position embedding."""
    stale = {"module.backbone.pos_embed": torch.zeros(1, 32, WIDTH)}
    content: dict[str, Any] = {"encoder": prefixed(encoder, "module.backbone.") | stale}
    if predictor is not None:
        content["predictor"] = prefixed(predictor, "module.")
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}
    content["opt"] = {"state": {0: moments}, "param_groups": [{"lr": 0.1}]}
    content["scaler"] = None
    if target is not None:
        content["target_encoder"] = prefixed(target, "module.backbone.") | stale
    return content | {"epoch": 3, "loss": 0.5, "batch_size": 8, "world_size": 64, "lr": 4e-4}


def write_pt(path: Path, content: dict[str, Any]) -> Path:
    torch.save(content, path)
    return path
