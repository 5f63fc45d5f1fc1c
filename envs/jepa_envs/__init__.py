"""MuJoCo tasks whose goals are pictures. Importing this package registers them with Gymnasium."""

from __future__ import annotations

from jepa_envs.goal_image import Demonstrator, GoalImageTask
from jepa_envs.making import make
from jepa_envs.registration import ADAPTED_TASKS, TASKS, known_tasks, task_id, task_spec

__all__ = [
    "ADAPTED_TASKS",
    "TASKS",
    "Demonstrator",
    "GoalImageTask",
    "known_tasks",
    "make",
    "task_id",
    "task_spec",
]
