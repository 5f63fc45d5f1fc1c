"""PandaReachWithObject: move the object in the hand to where a goal picture shows it."""

from __future__ import annotations

import dataclasses

import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.panda_object_demonstrators import HoldExpert
from jepa_envs.panda_object_task import PandaObjectTask
from jepa_envs.workspace import angles_in

LEAST_START_DISTANCE = 0.10  # metres between start and goal
_LOWEST = 0.02  # of the held object's lower end above the table


class PandaReachWithObjectEnv(PandaObjectTask):
    """A Panda arm moves the cup or the box in its hand. Observation and action: `PandaObjectTask`.

    Start and goal are drawn evenly from the workspace, at least 10 cm apart, with the object gripped alike.

    Success: the object's centre is within 2.5 cm of the goal's and both fingers still touch it. `distance` is between
    the object's centres.
    """

    name = "panda_reach_with_object"
    success_distance = 0.025  # metres
    expert = HoldExpert

    def _meets(self, judged: np.ndarray, goal: np.ndarray) -> bool:
        return bool(judged[3]) and self._distance(judged, goal) <= self.success_distance

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        turn = self._grip_of(rng.uniform(-np.pi, np.pi))[1] if not self._shape.turns else 0.0
        workspace = self._simulation.workspace
        low = workspace.low.copy()
        low[2] = self._shape.half_height + self._shape.grip_height + _LOWEST
        workspace = dataclasses.replace(workspace, low=low)
        while True:
            start, goal = workspace.draw(rng), workspace.draw(rng)
            if np.linalg.norm(start[:3] - goal[:3]) >= LEAST_START_DISTANCE:
                return tuple(self.state_holding(pose[:3], angles_in(pose), turn) for pose in (start, goal))
