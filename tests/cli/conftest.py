"""A real but tiny world model with random weights, for the task as it is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome
from tiny_model import normalised, write_checkpoint

from jepa_robot.spec import Contract


@functools.cache
def task_contract() -> Contract:
    from jepa_robot.evaluation.tasks import Task

    with Task("panda_reach") as task:
        return task.contract


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
