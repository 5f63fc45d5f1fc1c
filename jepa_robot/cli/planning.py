"""What `plan` and `evaluate` have in common: from a configuration to a task and a planner for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium
import jepa_envs
import torch
from omegaconf import DictConfig, OmegaConf

from jepa_robot.cli.config import compose
from jepa_robot.errors import ConfigError
from jepa_robot.evaluation.tasks import Task
from jepa_robot.models import load
from jepa_robot.planning import Planner, PlannerSettings, build_planner
from jepa_robot.runtime import device_of


@dataclass(frozen=True)
class Setup:
    """A task, and a planner whose model was trained for it.

    Attributes:
        checkpoint: as given, or the task's name, which is that of the shipped checkpoint.
        max_steps: actions before an episode ends.
    """

    task: Task
    planner: Planner
    settings: PlannerSettings
    checkpoint: str
    max_steps: int


def configuration(name: str, task: str | None, overrides: Sequence[str]) -> DictConfig:
    """``configs/<name>.yaml`` for a task, with overrides.

    Raises:
        ConfigError: the task has no configuration, or an override is wrong.
    """
    return compose(name, [*([] if task is None else _task_overrides(task)), *overrides])


def _task_overrides(task: str) -> list[str]:
    """What chooses a task: its own file, or for those of other packages the one that they share."""
    if task not in jepa_envs.ADAPTED_TASKS:
        return [f"task={task}"]
    steps = gymnasium.spec(jepa_envs.ADAPTED_TASKS[task]).max_episode_steps
    return ["task=adapted", f"task.name={task}", f"task.max_steps={steps}"]


def prepare(config: DictConfig, checkpoint: str | None, max_steps: int | None) -> Setup:
    """Load the checkpoint and open the task.

    Raises:
        CheckpointError: it cannot be read.
        ContractError: it was trained for other frames, actions or states than the task's.
        ConfigError, TaskError: a setting is wrong, or the simulator cannot run here.
    """
    settings = PlannerSettings.from_dict(OmegaConf.to_container(config.planner))
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    max_steps = config.task.max_steps if max_steps is None else max_steps
    checkpoint = config.task.name if checkpoint is None else checkpoint
    model = load(checkpoint, device_of(config.device))
    frames = model.config.predictor.max_frames
    if settings.context_frames + settings.horizon > frames:
        raise ConfigError(
            f"context_frames + horizon is {settings.context_frames + settings.horizon}",
            where="planner",
            expected=f"at most {frames}, the longest sequence that checkpoint {checkpoint} was trained on",
        )
    task = Task(config.task.name, config.task.image_size)
    model.contract.require(
        task.contract,
        mine=f"checkpoint {checkpoint}",
        theirs=f"task {task.name}",
        mend="choose a checkpoint that was trained for this task and image size",
    )
    return Setup(task, build_planner(model, settings), settings, checkpoint, max_steps)
