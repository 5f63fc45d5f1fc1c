"""From a goal picture to actions: energies, optimizers, and the receding-horizon planner."""

from jepa_robot.planning.build import build_planner
from jepa_robot.planning.planner import Planner
from jepa_robot.planning.settings import PlannerSettings, default_settings
from jepa_robot.planning.types import Diagnostics, Observation, Plan

__all__ = [
    "Diagnostics",
    "Observation",
    "Plan",
    "Planner",
    "PlannerSettings",
    "build_planner",
    "default_settings",
]
