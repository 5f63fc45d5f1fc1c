"""What is read from a public file: networks of ours, every tensor of the source accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from jepa_robot.errors import CheckpointError
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.masked_predictor import MaskedPredictorConfig
from jepa_robot.models.vjepa2.layout import Plan


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


def convert(
    where: str, source: Mapping[str, Tensor], plan: Plan, build: Callable[[], nn.Module]
) -> dict[str, Tensor]:
    """Check names, shapes and numbers of a network's tensors against the module of its sizes; make ours.

    Args:
        where: the network's place, for errors.
        source: all tensors of the network.
        build: makes our module.

    Raises:
        CheckpointError: names the first tensor that is missing, too many, of another shape or not finite.
    """
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
                raise CheckpointError(f"{name} is {shape_text(tensor.shape)}", where=where, expected=shape_text(shape))
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{name} has numbers that are not finite", where=where, mend="download it again")
    return plan.tensors(source)


def shape_text(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
