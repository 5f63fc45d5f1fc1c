"""Tiny models with large random weights, so that every weight and every token matters to the output."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.models.world_model import ModelConfig, WorldModel
from jepa_robot.spec import Camera, Contract, Dim

ENCODER = EncoderConfig(image_size=8, patch_size=4, width=12, depth=2, heads=2, mlp_ratio=2.0)
PREDICTOR = PredictorConfig(width=16, depth=2, heads=2, max_frames=6)


def scramble(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and statistic far from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 0.5 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
        if isinstance(module, WorldModel):
            module.standardise.mean.copy_(torch.randn(module.standardise.mean.shape, generator=generator) * 0.3)
            module.standardise.variance.copy_(torch.rand(module.standardise.variance.shape, generator=generator) + 0.2)
    return module.eval()


@pytest.fixture
def contract() -> Contract:
    """8 px pictures; two actions that move two of three states."""
    return Contract(
        task="toy",
        cameras=(Camera("front", 8, 8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)),),
        fps=5.0,
        actions=(
            Dim("dx", "m", "base", -0.05, 0.05, "x", mean=0.01, std=0.02),
            Dim("gripper", "1", "base", -0.25, 0.25, "closed", mean=-0.02, std=0.1),
        ),
        states=(
            Dim("x", "m", "base", -0.2, 0.2, mean=0.02, std=0.1),
            Dim("y", "m", "base", -1.0, 1.0, mean=0.3, std=0.5),
            Dim("closed", "1", "base", 0.0, 1.0, mean=0.5, std=0.3),
        ),
    )


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig(ENCODER, PREDICTOR, MetricConfig(hidden=8, dims=2))


@pytest.fixture
def encoder() -> VideoEncoder:
    return scramble(VideoEncoder(ENCODER, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))


@pytest.fixture
def predictor() -> ActionConditionedPredictor:
    """Latents [.., 4, 12], actions [.., 2], states [.., 3]."""
    return scramble(ActionConditionedPredictor(PREDICTOR, latent_width=12, grid=2, action_dims=2, state_dims=3))


@pytest.fixture
def model(contract: Contract, config: ModelConfig) -> WorldModel:
    return scramble(WorldModel(contract, config))


@pytest.fixture
def random_model(config: ModelConfig) -> Callable[[Contract], WorldModel]:
    """A model for another contract."""
    return lambda contract: scramble(WorldModel(contract, config))


@pytest.fixture
def scrambled() -> Callable[[nn.Module], nn.Module]:
    """`scramble`, for models that a test makes itself."""
    return scramble
