"""Gymnasium MuJoCo environments of other packages, and of yours, as goal-image tasks."""

from jepa_envs.adapters.checks import check_task
from jepa_envs.adapters.goals import another_reset, by_expert
from jepa_envs.adapters.task import AdaptedTask
from jepa_envs.renderer import FreeCamera
from jepa_envs.task import Dim

__all__ = ["AdaptedTask", "Dim", "FreeCamera", "another_reset", "by_expert", "check_task"]
