"""PandaPickPlace: pick the object up and put it down where a goal picture shows it."""

from __future__ import annotations

import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.panda_object_demonstrators import PlaceExpert
from jepa_envs.panda_object_task import UPRIGHT, PandaObjectTask
from jepa_envs.panda_tabletop import object_yaw
from jepa_envs.workspace import angles_in

LEAST_START_DISTANCE = 0.12  # metres between the object's places
LIFT = 0.06  # metres of the object above the table in the first two sub-goals
_RETREAT = 0.10  # metres that the open hand is above the grip in the end


class PandaPickPlaceEnv(PandaObjectTask):
    """A Panda arm picks a cup or a box up and puts it down elsewhere. Observation and action: `PandaObjectTask`.

    The hand starts open and away from the object. The goal picture shows the object standing at its goal, at least
    12 cm from where it was, and the open hand above it. `subgoals` gives the pictures between, as V-JEPA 2-AC's.

    Success: the object's centre is within 3 cm of the goal's, it stands (within 15 degrees of upright) and it has been
    let go: not both fingers touch it. Where the hand is does not count. `distance` is between the object's centres.
    """

    name = "panda_pick_place"
    success_distance = 0.03  # metres
    expert = PlaceExpert

    def subgoals(self, start: State, goal: State) -> list[State]:
        """Three states on the way from a start to a goal, each to be reached in turn: [grasped, near, placed].

        The object in the hand, 6 cm above where it stands in ``start``; in the hand, 6 cm above where it stands in
        ``goal``; and ``goal`` itself. All look as ``goal`` does.

        Raises:
            ValueError: a state is not one of this environment, or the object cannot be held above it.
        """
        for state in (start, goal):
            self._simulation.data_of(state)  # checks it
        lift = np.array([0.0, 0.0, self._shape.grip_height + LIFT])
        angles, turn = self._grip_of(object_yaw(np.asarray(start["qpos"], float)))
        there = angles_in(np.asarray(goal["target"], float))
        look = {name: value for name, value in goal.items() if name == "appearance"}
        return [
            self.state_holding(self.object_position(start) + lift, angles, turn) | look,
            self.state_holding(self.object_position(goal) + lift, there, turn) | look,
            goal,
        ]

    def _meets(self, judged: np.ndarray, goal: np.ndarray) -> bool:
        near = self._distance(judged, goal) <= self.success_distance
        return near and judged[4] <= UPRIGHT and not judged[3]

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        while True:
            (place, yaw), (goal_place, goal_yaw) = self._draw_object(rng), self._draw_object(rng)
            if np.linalg.norm(goal_place - place) >= LEAST_START_DISTANCE:
                break
        start = self.state_with(self._draw_hand(rng, place, closedness=0.0), place, yaw)
        turn = self._grip_of(yaw)[1]
        angles = self._grip_of(goal_yaw)[0]
        height = self._shape.half_height + self._shape.grip_height + _RETREAT
        hand = np.array([*goal_place, height, *angles, 0.0])
        return start, self.state_with(hand, goal_place, angles[-1] + turn)
