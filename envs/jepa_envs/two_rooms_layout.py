"""Where walls and door of TwoRooms are, in units of its board (65 x 65, y down, here 1 cm each)."""

from __future__ import annotations

import numpy as np

UNIT = 0.01  # metres
BOARD = 65.0
RADIUS = 2.0  # of the agent
INSIDE = np.array([5.0, 60.0])  # the outer walls, x and y
WALL = np.array([29.0, 35.0])  # the inner wall, x
DOOR = np.array([26.0, 34.0])  # the opening in it, y
MAX_STEP = 3.6  # each axis

GRAZE = 0.3  # by which the agent may have been pressed into a wall


def is_free(position: np.ndarray, margin: float = RADIUS) -> bool:
    """Whether no wall is nearer to (x, y) than ``margin``."""
    if np.any(position < INSIDE[0] + margin) or np.any(position > INSIDE[1] - margin):
        return False
    (x, y), (left, right), (top, bottom) = position, WALL, DOOR
    across = max(left - x, x - right, 0.0)  # distance from the wall in x, and from its two parts in y
    return all(np.hypot(across, along) >= margin for along in (max(y - top, 0.0), max(bottom - y, 0.0)))
