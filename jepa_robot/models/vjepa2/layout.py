"""The public weights of V-JEPA 2 and V-JEPA 2-AC: from their names and layout to those of our modules.

Three layouts are in use: facebookresearch/vjepa2's encoders (``blocks.0.attn.qkv.weight``), its predictors
(``predictor_blocks.0.attn.qkv.weight``), and Hugging Face's (``encoder.layer.0.attention.query.weight``). Every
tensor of a source is read once or named as left out, and every tensor of ours has one origin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jepa_robot.models.encoder import TUBELET
from jepa_robot.models.rope import paired_order

Shape = tuple[int, ...]

PREFIXES = ("module.", "backbone.")  # what training in parallel and wrappers put before a name
STALE = ("pos_embed", "predictor_pos_embed")  # of before the rotary positions; nothing reads them

# Our name <- theirs, of what stands once in a network.
_ENCODER = {"patch_embed": "patch_embed.proj", "norm": "norm"}
_PREDICTOR = {"embed": "predictor_embed", "norm": "predictor_norm", "proj": "predictor_proj"}
_ACTION_CONDITIONED = _PREDICTOR | {
    "action_embed": "action_encoder",
    "state_embed": "state_encoder",
    "extrinsics_embed": "extrinsics_encoder",
}
_HF_ENCODER = {"patch_embed": "encoder.embeddings.patch_embeddings.proj", "norm": "encoder.layernorm"}
_HF_PREDICTOR = {
    "embed": "predictor.embeddings.predictor_embeddings", "norm": "predictor.layernorm", "proj": "predictor.proj",
}
_BLOCK = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "attn.proj", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
_HF_BLOCK = _BLOCK | {"attn.proj": "attention.proj"}


@dataclass(frozen=True)
class Origin:
    """Where one of our tensors comes from.

    Attributes:
        sources: names of the tensors that it is made of.
        make: those tensors, in order -> ours.
        shape: the shape of ours -> that of each of those.
    """

    sources: tuple[str, ...]
    make: Callable[..., Tensor]
    shape: Callable[[Shape], Shape]


@dataclass
class Plan:
    """How one network's tensors are made.

    Attributes:
        origins: by the names of our module's tensors.
        unused: tensors of the source that our module has no use for.
        missing: tensors that the layout has and the source lacks.
    """

    origins: dict[str, Origin] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def tensors(self, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors, float32; those that need no change are the source's memory."""
        return {
            name: origin.make(*(source[s] for s in origin.sources)).float().contiguous()
            for name, origin in self.origins.items()
        }


def bare(name: str) -> str:
    """A tensor's name without `PREFIXES`."""
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    return name


def depth(names: Iterable[str], stem: str) -> int:
    """Number of blocks ``STEM.0``, ``STEM.1``, ...: the highest index and one, at most as many as there are tensors."""
    found = [int(m[1]) for name in names if (m := re.match(rf"{re.escape(stem)}\.(\d{{1,9}})\.", name))]
    return min(max(found, default=-1) + 1, len(found))


def plan_encoder(names: Iterable[str], heads: int, head_dim: int) -> Plan:
    """The encoder of a public ``.pt`` file (names without `PREFIXES`)."""
    return _Planner(names, heads, head_dim).network(_ENCODER, "blocks", _BLOCK).done()


def plan_masked_predictor(names: Iterable[str], heads: int, head_dim: int) -> Plan:
    """The masked predictor of a public ``.pt`` file."""
    names = list(names)
    planner = _Planner(names, heads, head_dim).network(_PREDICTOR, "predictor_blocks", _BLOCK)
    count = max(1, sum(re.fullmatch(r"mask_tokens\.\d+", name) is not None for name in names))
    tokens = [f"mask_tokens.{i}" for i in range(count)]
    planner.take("mask_tokens", tokens, lambda *t: torch.cat(t).flatten(1), lambda shape: (1, 1, shape[1]))
    return planner.done()


def plan_action_conditioned(names: Iterable[str], heads: int, head_dim: int, extrinsics: bool) -> Plan:
    """The action-conditioned predictor of a public ``.pt`` file.

    Every such file has an embedding of the camera's pose; the released model was trained without it.
    """
    parts = dict(_ACTION_CONDITIONED)
    if not extrinsics:
        del parts["extrinsics_embed"]
    return _Planner(names, heads, head_dim).network(parts, "predictor_blocks", _BLOCK).done()


def plan_hf_encoder(names: Iterable[str], heads: int, head_dim: int) -> Plan:
    """The encoder of a Hugging Face folder, of names that start with ``encoder.``."""
    return _Planner(names, heads, head_dim).network(_HF_ENCODER, "encoder.layer", _HF_BLOCK).done()


def plan_hf_predictor(names: Iterable[str], heads: int, head_dim: int) -> Plan:
    """The masked predictor of a Hugging Face folder, of names that start with ``predictor.``."""
    planner = _Planner(names, heads, head_dim).network(_HF_PREDICTOR, "predictor.layer", _HF_BLOCK)
    planner.take("mask_tokens", ["predictor.embeddings.mask_tokens"], lambda t: t.flatten(1), _mask_tokens)
    return planner.done()


class _Planner:
    """Collects a `Plan`.

    Args:
        names: all tensors of the source network.
        heads, head_dim: of its attention.
    """

    def __init__(self, names: Iterable[str], heads: int, head_dim: int):
        self.names = list(names)
        self.left = dict.fromkeys(self.names)
        self.heads, self.order = heads, paired_order(head_dim)
        self.plan = Plan()

    def take(
        self,
        ours: str,
        theirs: list[str],
        make: Callable[..., Tensor] = lambda t: t,
        shape: Callable[[Shape], Shape] = lambda s: s,
    ) -> None:
        self.plan.missing += [name for name in theirs if name not in self.left]
        for name in theirs:
            self.left.pop(name, None)
        self.plan.origins[ours] = Origin(tuple(theirs), make, shape)

    def network(self, parts: dict[str, str], stem: str, block: dict[str, str]) -> _Planner:
        """Parts that stand once, and the blocks ``STEM.i``."""
        for ours, theirs in parts.items():
            how = (_matrix, _kernel) if ours == "patch_embed" else ()
            self.take(f"{ours}.weight", [f"{theirs}.weight"], *how)
            self.take(f"{ours}.bias", [f"{theirs}.bias"])
        for i in range(max(1, depth(self.names, stem))):
            for kind in ("weight", "bias"):
                for ours, theirs in block.items():
                    self.take(f"blocks.{i}.{ours}.{kind}", [f"{stem}.{i}.{theirs}.{kind}"])
                theirs = f"{stem}.{i}.attn.qkv.{kind}"
                split = [f"{stem}.{i}.attention.{part}.{kind}" for part in ("query", "key", "value")]
                if block is _HF_BLOCK:
                    self.take(f"blocks.{i}.attn.qkv.{kind}", split, self._joined, _third)
                else:
                    self.take(f"blocks.{i}.attn.qkv.{kind}", [theirs], self._reordered)
        return self

    def done(self) -> Plan:
        self.plan.unused = list(self.left)
        return self.plan

    def _reordered(self, qkv: Tensor) -> Tensor:
        """[3 * width, ...] with every head's queries and keys in the order that our rotation has."""
        parts = qkv.unflatten(0, (3, self.heads, -1))
        return torch.cat([parts[:2][:, :, self.order], parts[2:]]).flatten(0, 2)


    def _joined(self, *qkv: Tensor) -> Tensor:
        return self._reordered(torch.cat(qkv))


def _third(shape: Shape) -> Shape:
    return shape[0] // 3, *shape[1:]


def _mask_tokens(shape: Shape) -> Shape:
    """[n, width] -> [n, 1, 1, width]."""
    return shape[0], 1, 1, shape[1]


def _kernel(shape: Shape) -> Shape:
    """[width, 3 * 2 * p * p] -> [width, 3, 2, p, p]."""
    patch = math.isqrt(shape[1] // (3 * TUBELET))
    return shape[0], 3, TUBELET, patch, patch


def _matrix(kernel: Tensor) -> Tensor:
    """A convolution's kernel [width, 3, 2, p, p] as the matrix that a patch's pixels are multiplied by."""
    return kernel.flatten(1)
