"""PandaGrasp: take hold of the object and lift it."""

from __future__ import annotations

import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.panda_object_demonstrators import HoldExpert
from jepa_envs.panda_object_task import PandaObjectTask

LEAST_LIFT = 0.02  # metres
_GOAL_LIFT = 0.06


class PandaGraspEnv(PandaObjectTask):
    """A Panda arm takes hold of a cup or a box and lifts it a little. Observation and action: `PandaObjectTask`.

    The hand starts open and away from the object. The goal picture shows the object in the hand, 6 cm above where it
    stood.

    Success: both fingers touch the object, and its centre is at least 2 cm higher than where it stands on the table;
    where does not count. `distance` is between the object's centre and where the goal has it.
    """

    name = "panda_grasp"
    success_distance = LEAST_LIFT  # upwards
    expert = HoldExpert

    def _meets(self, judged: np.ndarray, goal: np.ndarray) -> bool:
        return bool(judged[3]) and judged[2] >= self._shape.half_height + LEAST_LIFT

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        place, yaw = self._draw_object(rng)
        start = self.state_with(self._draw_hand(rng, place, closedness=0.0), place, yaw)
        grip = self._standing(place) + np.array([0.0, 0.0, self._shape.grip_height + _GOAL_LIFT])
        return start, self.state_holding(grip, *self._grip_of(yaw))
