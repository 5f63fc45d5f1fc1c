"""MuJoCo tasks whose goals are pictures. Importing this package registers them with Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from jepa_envs.goal_image import GoalImageTask

__all__ = ["TASKS", "GoalImageTask", "make"]

TASKS: dict[str, str] = {"panda_reach": "jepa_robot/PandaReach-v0"}
"""Short name of a task -> Gymnasium id."""

gym.register(
    id=TASKS["panda_reach"],
    entry_point="jepa_envs.panda_reach:PandaReachEnv",
    max_episode_steps=50,
)


def make(task: str, image_size: int | None = None) -> gym.Env:
    """Make a task's environment.

    Args:
        task: short name or Gymnasium id of a task.
        image_size: height and width of the pictures in pixels; the task's own where None.

    Raises:
        ValueError: the task is unknown; names the known ones.
    """
    name = TASKS.get(task, task)
    if name not in TASKS.values():
        raise ValueError(f"task {task!r} is unknown, expected one of {sorted(TASKS)}")
    return gym.make(name) if image_size is None else gym.make(name, image_size=image_size)
