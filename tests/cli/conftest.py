"""A real but tiny world model with random weights, for the task as it is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import Outcome

from jepa_robot.spec import Contract


def normalised(contract: Contract) -> Contract:
    """With normalisation, as a model's contract has it."""
    camera = dataclasses.replace(contract.camera, mean=(0.5,) * 3, std=(0.25,) * 3)
    actions = tuple(dataclasses.replace(d, mean=0.0, std=d.high / 2) for d in contract.actions)
    states = tuple(dataclasses.replace(d, mean=(d.low + d.high) / 2, std=(d.high - d.low) / 4) for d in contract.states)
    return dataclasses.replace(contract, cameras=(camera,), actions=actions, states=states)


@functools.cache
def task_contract() -> Contract:
    from jepa_robot.evaluation.tasks import Task

    with Task("panda_reach") as task:
        return task.contract


def write_checkpoint(path: Path, contract: Contract) -> Path:
    from jepa_robot.models import ModelConfig, WorldModel, checkpoint
    from jepa_robot.models.ac_predictor import PredictorConfig
    from jepa_robot.models.encoder import EncoderConfig
    from jepa_robot.models.world_model import MetricConfig

    torch.manual_seed(0)
    encoder = EncoderConfig(image_size=contract.camera.height, patch_size=16, width=24, depth=1, heads=2)
    config = ModelConfig(encoder, PredictorConfig(width=24, depth=1, heads=2, max_frames=4), MetricConfig(16, 4))
    checkpoint.save(path, WorldModel(contract, config), "world_model", contract, [], {})
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors", normalised(task_contract()))


@pytest.fixture(scope="session")
def goal_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Goal 3 of the task, as `jepa-robot goal` draws it."""
    from jepa_robot.cli.main import cli, run

    path = tmp_path_factory.mktemp("goal") / "goal.png"
    assert run(cli, "jepa-robot", ["goal", "--seed", "3", "-o", str(path)]) == 0
    return path


@pytest.fixture
def call(
    jepa_robot: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """Run ``jepa-robot ARGS`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return jepa_robot


@pytest.fixture
def rewrite_contract():
    """Write a tiny checkpoint whose contract differs from the task's: ``(path, change)``."""

    def write(path: Path, change: Callable[[Contract], Contract]) -> None:
        write_checkpoint(path, change(normalised(task_contract())))

    return write


@pytest.fixture
def checkpoint_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Contract], Path]:
    """Write a tiny checkpoint for the contract of any task."""

    def write(contract: Contract) -> Path:
        return write_checkpoint(tmp_path_factory.mktemp("model") / "own.safetensors", normalised(contract))

    return write
