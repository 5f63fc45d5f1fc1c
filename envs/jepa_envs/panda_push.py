"""PandaPush: push the object over the mat to where a goal picture shows it."""

from __future__ import annotations

import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.panda_object_demonstrators import PushExpert, reach
from jepa_envs.panda_object_task import UPRIGHT, PandaObjectTask

PUSHES = 0.08, 0.18  # metres from the object's start to its goal
_GAP = 0.002  # metres between fingers and object when a push begins, at least
_BACK, _RAISED = 0.08, 0.20  # of the hand in the goal picture: from where it pushed, and above the table, metres


class PandaPushEnv(PandaObjectTask):
    """A Panda arm pushes a box or a cup over the mat. Observation and action: `PandaObjectTask`.

    The hand starts closed and above the mat, away from the object, whose goal is 8 to 18 cm away. In the goal picture
    the closed hand has withdrawn from having pushed the object there, back and up, so that it does not hide it.

    Success: the object's centre is within 3 cm of the goal's and it stands (within 15 degrees of upright). How it is
    turned, and where the hand is, does not count. `distance` is between the object's centres.
    """

    name = "panda_push"
    default_object = "box"
    success_distance = 0.03  # metres
    expert = PushExpert

    def _meets(self, judged: np.ndarray, goal: np.ndarray) -> bool:
        return self._distance(judged, goal) <= self.success_distance and judged[4] <= UPRIGHT

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        workspace = self._simulation.workspace
        low, high = workspace.low, workspace.high
        while True:
            (place, yaw), (goal_place, _) = self._draw_object(rng), self._draw_object(rng)
            way = goal_place - place
            length = float(np.linalg.norm(way))
            if not PUSHES[0] <= length <= PUSHES[1]:
                continue
            along = way / length
            behind = [centre - (reach(self._shape, yaw, along) + _GAP) * along for centre in (place, goal_place)]
            if all(np.all((low[:2] <= at) & (at <= high[:2])) for at in behind):
                break
        start = self.state_with(self._draw_hand(rng, place, closedness=1.0), place, yaw)
        withdrawn = behind[1] - _BACK * along  # inside the workspace, as the shortest push begins no nearer
        return start, self.state_with(np.array([*withdrawn, _RAISED, *workspace.upright(0.0), 1.0]), goal_place, yaw)
