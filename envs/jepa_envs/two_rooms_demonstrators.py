"""Demonstrators for TwoRooms: an expert that knows the door, and an explorer that finds walls and door alike."""

from __future__ import annotations

import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.two_rooms_layout import DOOR, GRAZE, INSIDE, MAX_STEP, RADIUS, UNIT, WALL, is_free

_DOOR_Y = DOOR.mean()
_KNOWING = 0.6  # share of an explorer's places to which it goes as one who knows the door
_TOUCH = RADIUS - 1.5 * GRAZE  # an agent outside of the doorway is farther from the wall than this
_SLACK = (DOOR[1] - DOOR[0]) / 2 - RADIUS  # units off the door's middle at which the agent still fits through


class DoorExpert:
    """Goes straight where that is free, else through the door.

    Args:
        haste: its longest step as a share of the bound.
    """

    def __init__(self, haste: float = 1.0):
        self._haste = haste

    def act(self, state: State, goal_state: State) -> np.ndarray:
        here, goal = (np.asarray(s["qpos"]) / UNIT for s in (state, goal_state))
        return towards(here, next_place(here, goal), self._haste)


class RoomsExplorer:
    """Walks to places drawn evenly from both rooms, some through the door and some straight into the wall.

    Args:
        rng: source of randomness.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._haste = rng.uniform(0.4, 1.0)
        self._new_place()

    def act(self, state: State, goal_state: State) -> np.ndarray:
        here = np.asarray(state["qpos"]) / UNIT
        gives_up = self._rng.random() < (0.02 if self._knows else 0.1)  # who does not know the door gets stuck
        if gives_up or np.linalg.norm(self._place - here) < MAX_STEP:
            self._new_place()
        way = towards(here, next_place(here, self._place) if self._knows else self._place, self._haste)
        noisy = way + self._rng.normal(0.0, 0.25 * MAX_STEP, 2)
        return np.clip(noisy, -MAX_STEP, MAX_STEP).astype(np.float32)

    def _new_place(self) -> None:
        self._place = self._rng.uniform(*INSIDE, 2)
        while not is_free(self._place):
            self._place = self._rng.uniform(*INSIDE, 2)
        self._knows = self._rng.random() < _KNOWING


def next_place(here: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Where to go first [2]: the goal itself, or the near or the far end of the doorway."""
    near, far = WALL[0] - _TOUCH, WALL[1] + _TOUCH  # x of the agent at either end
    if goal[0] < here[0]:
        near, far = far, near
    sign = np.sign(far - near)
    beyond_wall = sign * (here[0] - far) >= 0 or sign * (goal[0] - near) <= 0
    if beyond_wall:  # both are on one side of the wall
        return goal
    in_line = abs(here[1] - _DOOR_Y) <= 0.9 * _SLACK
    if sign * (here[0] - near) < -1e-6 and not in_line:
        return np.array([near - sign * 1.0, _DOOR_Y])
    if sign * (goal[0] - far) <= 0:  # in the doorway
        return goal
    return np.array([far + sign * 0.5, _DOOR_Y])


def towards(here: np.ndarray, place: np.ndarray, haste: float) -> np.ndarray:
    """The action float32 [2] that goes straight to a place, as far as the bounds and ``haste`` allow."""
    way = place - here
    return (way / max(1.0, np.abs(way).max() / (haste * MAX_STEP))).astype(np.float32)
