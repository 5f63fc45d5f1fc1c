"""What `plan` and `evaluate` have in common: from a configuration to a task and a planner for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jepa_envs
import torch
from omegaconf import DictConfig, OmegaConf

from jepa_robot.cli.checkpoints import checkpoint_for
from jepa_robot.cli.config import compose
from jepa_robot.cli.options import Option
from jepa_robot.errors import ConfigError
from jepa_robot.evaluation.tasks import Task, registered
from jepa_robot.models import load
from jepa_robot.planning import Planner, PlannerSettings, build_planner
from jepa_robot.planning.presets import overrides as preset_overrides
from jepa_robot.planning.presets import read_preset
from jepa_robot.runtime import device_of


@dataclass(frozen=True)
class Setup:
    """A task, and a planner whose model was trained for it.

    Attributes:
        variation: factors of appearance drawn for each episode; none unless given.
        checkpoint: as given, or the task's name, which is that of the shipped checkpoint.
        max_steps: actions before an episode ends.
    """

    task: Task
    planner: Planner
    settings: PlannerSettings
    variation: tuple[str, ...]
    checkpoint: str
    max_steps: int


def configuration(
    name: str,
    overrides: Sequence[str],
    task: str | None = None,
    camera: str | None = None,
    options: Mapping[str, Option] | None = None,
    variation: Sequence[str] = (),
    max_steps: int | None = None,
    planner: Path | None = None,
) -> DictConfig:
    """``configs/<name>.yaml`` with what the command line's options say, and with overrides.

    Args:
        planner: a file of the planner's settings, see `jepa_robot.planning.presets`; overrides go before it.

    Raises:
        ConfigError: the task has no configuration, an override is wrong, or says again what an option says.
        TaskError: the task is unknown.
    """
    chosen = [] if task is None else _task_overrides(task, max_steps)
    said = {} if task is None else {"task": "--task", "task.name": "--task"}
    if camera is not None:
        chosen.append(f"task.camera={_quoted(camera, '--camera')}")
        said["task.camera"] = "--camera"
    for option, value in (options or {}).items():
        said[f"task.options.{option}"] = named = f"--task-option {option}"
        chosen.append(f"task.options.{option}={_quoted(value, named)}")
    if variation:
        chosen.append(f"task.variation=[{','.join(variation)}]")
        said["task.variation"] = "--variation"
    if max_steps is not None:
        chosen.append(f"task.max_steps={max_steps}")
        said["task.max_steps"] = "--max-steps"
    for text in overrides:
        if (option := said.get(text.partition("=")[0].strip())) is not None:
            raise ConfigError(f"is given with {option}", where=f"override {text!r}", mend="leave one of them out")
    preset = [] if planner is None else preset_overrides(read_preset(planner))
    return compose(name, [*chosen, *preset, *overrides])


def _task_overrides(task: str, max_steps: int | None) -> list[str]:
    """What chooses a task: its own file, or for those of other packages and users the one that they share."""
    spec = registered(task)
    for own, name in jepa_envs.TASKS.items():
        if spec.id == name:
            return [f"task={own}"]
    steps = max_steps or spec.max_episode_steps
    if steps is None:
        raise ConfigError("is registered without max_episode_steps", where=f"task {task}", mend="give --max-steps")
    return ["task=adapted", f"task.name={_quoted(task, '--task')}", f"task.max_steps={steps}"]


def _quoted(value: Option, where: str) -> str:
    """A value as Hydra reads it: in quotes a backslash stands for itself, except before a quote.

    Raises:
        ConfigError: Hydra would put something else in its place.
    """
    if not isinstance(value, str):
        return json.dumps(value)
    if "${" in value:
        raise ConfigError(f"is {value!r}", where=where, expected="a text without ${")
    escaped = re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


def prepare(config: DictConfig, checkpoint: str | None) -> Setup:
    """Load the checkpoint and open the task.

    Raises:
        CheckpointError: it cannot be read, or none is given and the task has no shipped one.
        ContractError: it was trained for other frames, actions or states than the task's.
        ConfigError, TaskError: a setting is wrong, or the simulator cannot run here.
    """
    settings = PlannerSettings.from_dict(OmegaConf.to_container(config.planner))
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    checkpoint = checkpoint_for(config.task.name, checkpoint)
    model = load(checkpoint, device_of(config.device))
    frames = model.config.predictor.max_frames
    if settings.context_frames > frames:
        raise ConfigError(
            f"is {settings.context_frames}",
            where="planner.context_frames",
            expected=f"at most {frames}, the longest sequence that checkpoint {checkpoint} was trained on",
        )
    made = OmegaConf.to_container(config.task)
    task = Task(made["name"], made["image_size"], made["variation"], made["camera"], made["options"])
    model.contract.require(
        task.contract,
        mine=f"checkpoint {checkpoint}",
        theirs=f"task {task.name}",
        mend="choose a checkpoint that was trained for this task, camera, image size and options",
    )
    planner, variation = build_planner(model, settings), tuple(made["variation"])
    return Setup(task, planner, settings, variation, checkpoint, config.task.max_steps)
