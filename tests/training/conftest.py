"""Made-up trajectories with a point that actions move, and models small enough to train in a blink."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from jepa_robot.data.memory import TrajectoryArrays
from jepa_robot.data.normalisation import statistics
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.masked_predictor import MaskedPredictorConfig
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.models.world_model import ModelConfig, WorldModel
from jepa_robot.spec import Camera, Contract, Dim
from jepa_robot.training.dynamics import DynamicsConfig
from jepa_robot.training.latents import LatentStore
from jepa_robot.training.masks import MaskConfig
from jepa_robot.training.pretrain import PretrainConfig, PretrainStage
from jepa_robot.training.summary import SummaryConfig
from jepa_robot.training.world import WorldConfig, WorldStage

SIZE = 16
ENCODER = EncoderConfig(image_size=SIZE, patch_size=4, width=12, depth=1, heads=2, mlp_ratio=2.0)
CPU = torch.device("cpu")


@pytest.fixture
def contract() -> Contract:
    return Contract(
        task="point",
        cameras=(Camera("front", SIZE, SIZE),),
        fps=5.0,
        actions=tuple(Dim(f"d{name}", "m", "table", -0.1, 0.1, name) for name in "xy"),
        states=tuple(Dim(name, "m", "table", 0.0, 1.0) for name in "xy"),
    )


@pytest.fixture
def arrays(contract: Contract) -> TrajectoryArrays:
    """Six episodes of 8 frames: a spot at (x, y) on a textured ground."""
    rng = np.random.default_rng(0)
    episodes, length = 6, 8
    actions = rng.uniform(-0.1, 0.1, (episodes, length, 2)).astype(np.float32)
    actions[:, -1] = 0
    states = np.empty((episodes, length, 2), np.float32)
    states[:, 0] = rng.uniform(0.2, 0.8, (episodes, 2))
    for t in range(length - 1):
        states[:, t + 1] = np.clip(states[:, t] + actions[:, t], 0, 1)
    states, actions = states.reshape(-1, 2), actions.reshape(-1, 2)
    axis = (np.arange(SIZE) + 0.5) / SIZE
    right, down = axis - states[:, 0, None, None], axis[None, :, None] - states[:, 1, None, None]
    spot = np.exp(-(down**2 + right**2) / 0.02)
    ground = rng.uniform(0, 100, (SIZE, SIZE, 3))
    frames = (ground + 155 * spot[..., None]).astype(np.uint8)
    return TrajectoryArrays(
        contract, frames, states, actions, np.arange(episodes) * length, np.full(episodes, length),
        np.zeros(episodes, int), ("expert",) * episodes, {}, np.zeros(episodes, np.int8),
    )


@pytest.fixture
def world_model(arrays: TrajectoryArrays) -> Callable[..., WorldModel]:
    """A new model with weights of a seed."""

    def make(seed: int = 0) -> WorldModel:
        torch.manual_seed(seed)
        predictor = PredictorConfig(width=12, depth=1, heads=2, max_frames=4)
        config = ModelConfig(ENCODER, predictor, MetricConfig(hidden=8, dims=2))
        return WorldModel(statistics(arrays, np.arange(5)), config)

    return make


@pytest.fixture
def dynamics() -> DynamicsConfig:
    return DynamicsConfig(
        exponent=1.0, rollout_steps=2, rollout=1.0, displacement=1.0, metric=1.0, stop_gradient=True
    )


@pytest.fixture
def pretrain_config() -> PretrainConfig:
    masks = (
        MaskConfig(blocks=2, area=(0.15, 0.15), aspect=(0.75, 1.5), min_visible=4),
        MaskConfig(blocks=1, area=(0.5, 0.5), aspect=(0.75, 1.5), min_visible=4),
    )
    return PretrainConfig(
        batch_size=4, clip_frames=4, masks=masks, masks_per_step="turn", target="teacher", exponent=1.0, motion=0.5,
        summary=SummaryConfig(of="flattened", head="fixed"), variance=0.5, covariance=0.02, gaussian=0.0,
        momentum=0.9, momentum_end=0.9, lr=1e-3, weight_decay=0.04, weight_decay_end=0.04, warmup=0.1, decay=0.5,
        decay_shape="linear", early_phases=(),
    )


@pytest.fixture
def pretrain_stage(arrays: TrajectoryArrays, pretrain_config: PretrainConfig) -> Callable[..., PretrainStage]:
    """A new stage, the same every time."""

    def make(seed: int = 3, dtype: str = "fp32", **changes: object) -> PretrainStage:
        train, valid = np.arange(5), np.array([5])
        return PretrainStage(
            arrays, train, valid, statistics(arrays, train), ENCODER, MaskedPredictorConfig(width=12, depth=1, heads=2),
            dataclasses.replace(pretrain_config, **changes), seed, CPU, dtype,
        )

    return make


@pytest.fixture
def world_stage(
    arrays: TrajectoryArrays, world_model: Callable[..., WorldModel], dynamics: DynamicsConfig
) -> Callable[..., WorldStage]:
    """A new stage, the same every time."""

    def make(
        joint: bool = False, seed: int = 3, dtype: str = "fp32", model: WorldModel | None = None,
        stop_gradient: bool | None = None, store: LatentStore = LatentStore(), **changed: Any,
    ) -> WorldStage:
        held = not joint if stop_gradient is None else stop_gradient  # as in configs/train
        config = WorldConfig(
            dynamics=dataclasses.replace(dynamics, stop_gradient=held), joint=joint, batch_size=4, frames=4,
            summary=SummaryConfig("flattened", "fixed"), variance=0.5, covariance=0.02, gaussian=0.0, encoder_lr=0.5,
            lr=1e-3, weight_decay=0.04, warmup=0.1, decay=0.5,
        )
        config = dataclasses.replace(config, **changed)
        train, valid = np.arange(5), np.array([5])
        return WorldStage(arrays, train, valid, model or world_model(), config, seed, CPU, dtype, store=store)

    return make
