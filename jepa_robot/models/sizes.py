"""What a model of given sizes takes: parameters, tokens, arithmetic and memory, without making its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.attention import hidden_units
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.metric_head import MetricConfig, MetricHead

FP32_BYTES, BF16_BYTES = 4, 2
TRAINING_BYTES = 4 * FP32_BYTES  # weight, gradient, and AdamW's two moments


@dataclass(frozen=True)
class Part:
    """One network of a model.

    Attributes:
        flops: a frame, forward; None where it is not worked frame by frame.
    """

    name: str
    parameters: int
    flops: int | None = None

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of the weights in both formats, and of weights, gradients and AdamW's state in training.

        What a training step keeps of its activations comes on top, and depends on the batch.
        """
        per_parameter = {"fp32": FP32_BYTES, "bf16": BF16_BYTES, "training": TRAINING_BYTES}
        return {name: size * self.parameters for name, size in per_parameter.items()}


def parts(
    encoder: EncoderConfig,
    masked: MaskedPredictorConfig,
    predictor: PredictorConfig,
    metric: MetricConfig,
    actions: int,
    states: int,
) -> list[Part]:
    """The networks of these sizes, built on the meta device.

    Raises:
        ValueError: the sizes make no network.
    """
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            "encoder": VideoEncoder(encoder),
            "masked predictor": MaskedPredictor(encoder.width, masked),
            "predictor": ActionConditionedPredictor(predictor, encoder.width, encoder.grid, actions, states),
            "metric head": MetricHead(encoder.tokens, encoder.width, metric),
        }
    flops = {"encoder": encoder_flops(encoder), "predictor": predictor_flops(predictor, encoder, actions, states)}
    return [
        Part(name, sum(p.numel() for p in network.parameters()), flops.get(name)) for name, network in networks.items()
    ]


def encoder_flops(config: EncoderConfig) -> int:
    """Floating-point operations of one frame encoded on its own, a multiplication and an addition being two.

    N (3 p p) D for the patches, and for each block N (4 D D + 2 D M) of its matrices and 2 N N D of attention, all
    twice; N tokens, patches of p pixels, D wide, M hidden units. Norms and activation functions are left out.
    """
    patches = config.tokens * 3 * config.patch_size**2 * config.width
    return 2 * patches + config.depth * _block_flops(config.tokens, config.width, config.mlp_ratio)


def predictor_flops(config: PredictorConfig, encoder: EncoderConfig, actions: int, states: int) -> int:
    """The same for one frame of the action-conditioned predictor, after no other frame.

    The blocks' as in `encoder_flops` over the frame's patches and condition tokens, and the linear layers around them:
    N D W in, N W D out, (A + P) W of action and state; with AdaLN 6 W W for each block.
    """
    tokens, width = encoder.tokens, config.width
    around = 2 * tokens * encoder.width * width + (actions + states) * width
    blocks = config.depth * _block_flops(tokens + config.condition_tokens, width, config.mlp_ratio)
    modulation = 6 * config.depth * width**2 if config.conditioning == "adaln" else 0
    return 2 * (around + modulation) + blocks


def _block_flops(tokens: int, width: int, mlp_ratio: float) -> int:
    hidden = hidden_units(width, mlp_ratio)
    return 2 * (tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width)
