"""From goal pictures to actions: energies, optimizers, and the receding-horizon planner."""

from jepa_robot.planning.build import build_planner, build_planners
from jepa_robot.planning.goals import Goal, SubGoal
from jepa_robot.planning.planner import Planner, plan_together
from jepa_robot.planning.settings import PlannerSettings, default_settings
from jepa_robot.planning.types import Diagnostics, Observation, Plan

__all__ = [
    "Diagnostics",
    "Goal",
    "Observation",
    "Plan",
    "Planner",
    "PlannerSettings",
    "SubGoal",
    "build_planner",
    "build_planners",
    "default_settings",
    "plan_together",
]
