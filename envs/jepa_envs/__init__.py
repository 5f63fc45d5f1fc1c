"""MuJoCo tasks whose goals are pictures. Importing this package registers them with Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from jepa_envs.adapter_names import NAMES
from jepa_envs.goal_image import Demonstrator, GoalImageTask

__all__ = ["ADAPTED_TASKS", "TASKS", "Demonstrator", "GoalImageTask", "known_tasks", "make", "task_id"]

TASKS: dict[str, str] = {}
"""Short name of a task of this package -> Gymnasium id."""

ADAPTED_TASKS: dict[str, str] = {}
"""Short name of a task of another package, which an extra brings -> Gymnasium id."""


def _register(short_name: str, entry_point: str, max_episode_steps: int) -> None:
    """Register ``jepa_robot/NAME-v0``, NAME being the entry point's class without ``Env``."""
    TASKS[short_name] = f"jepa_robot/{entry_point.partition(':')[2].removesuffix('Env')}-v0"
    gym.register(id=TASKS[short_name], entry_point=entry_point, max_episode_steps=max_episode_steps)


def _register_with_object(task: str, other: str) -> None:
    """Register a registered task again with its other object, as ``TASK_OBJECT`` and ``jepa_robot/TaskObject-v0``."""
    spec = gym.spec(TASKS[task])
    TASKS[f"{task}_{other}"] = f"jepa_robot/{spec.name}{other.title()}-v0"
    gym.register(
        id=TASKS[f"{task}_{other}"],
        entry_point=spec.entry_point,
        max_episode_steps=spec.max_episode_steps,
        kwargs={"object": other},
    )


_register("panda_reach", "jepa_envs.panda_reach:PandaReachEnv", 50)
_register("panda_grasp", "jepa_envs.panda_grasp:PandaGraspEnv", 50)
_register("panda_reach_with_object", "jepa_envs.panda_reach_with_object:PandaReachWithObjectEnv", 50)
_register("panda_pick_place", "jepa_envs.panda_pick_place:PandaPickPlaceEnv", 80)
_register("panda_push", "jepa_envs.panda_push:PandaPushEnv", 80)
_register_with_object("panda_grasp", "box")
_register_with_object("panda_reach_with_object", "box")
_register_with_object("panda_pick_place", "box")
_register_with_object("panda_push", "cup")
_register("push_t", "jepa_envs.push_t:PushTEnv", 300)
_register("two_rooms", "jepa_envs.two_rooms:TwoRoomsEnv", 100)
for _name in NAMES:
    ADAPTED_TASKS[_name.short_name] = f"jepa_robot/{_name.gymnasium_name}-v0"
    gym.register(
        id=ADAPTED_TASKS[_name.short_name],
        entry_point=_name.entry_point,
        max_episode_steps=_name.max_episode_steps,
        kwargs=_name.kwargs,
    )


def task_id(task: str) -> str:
    """The Gymnasium id of a task, given by short name or id.

    Raises:
        ValueError: the task is unknown; names the known ones.
    """
    ids = TASKS | ADAPTED_TASKS
    found = ids.get(task, task)
    if found not in ids.values():
        raise ValueError(f"there is no task {task!r}, expected one of {known_tasks()}")
    return found


def known_tasks() -> str:
    """Short names of all tasks in a line, Metaworld's fifty by an example."""
    few = [name for name in ADAPTED_TASKS if not name.startswith("metaworld_")]
    return ", ".join([*TASKS, *few, "metaworld_reach and the others of Metaworld"])


def make(
    task: str,
    image_size: int | None = None,
    camera: str | None = None,
    variation: str | Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> gym.Env:
    """Make a task's environment.

    Args:
        task: short name or Gymnasium id of a task.
        image_size: height and width of the pictures in pixels; the task's own where None.
        camera: name of the camera of observations and goal pictures; the task's first where None.
        variation: factors of appearance drawn for each episode: ``"all"``, or some of `jepa_envs.variation.KINDS`.
        options: further arguments of the task's own, such as ``rotation``.

    Raises:
        ValueError: the task, the camera or a factor is unknown, and names the known ones; or its look does not vary.
        ImportError: it is of another package, which is not installed; names the extra that brings it.
    """
    name = task_id(task)
    if variation and name in ADAPTED_TASKS.values():
        raise ValueError(f"the look of {task} does not vary, as it is another package's; leave variation out")
    common = {"image_size": image_size, "camera": camera, "variation": variation or None}
    return gym.make(name, **{key: value for key, value in common.items() if value is not None}, **(options or {}))
