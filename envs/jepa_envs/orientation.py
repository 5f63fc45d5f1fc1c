"""How a hand is turned away from pointing straight down.

Angles are radians about the axes of the base frame: none at all of a hand that cannot turn, its yaw, or its roll, pitch
and yaw. They are those of the rotation R that turns a hand which points straight down, its fingers opening along y,
into the one that is meant: Euler angles xyz about fixed axes, R = Rz(yaw) Ry(pitch) Rx(roll), as V-JEPA 2-AC and DROID
have them. Only the reference differs: DROID's hand with all angles 0 points straight up, so that its roll is this roll
plus pi, and wraps around +-pi in the midst of all that a hand over a table does. Here nothing wraps. The rotation
R(t+1) R(t)^T from one orientation to another does not depend on the reference.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

NAMES = ("roll", "pitch", "yaw")
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # w x y z: fingers down, opening along y
_UP = np.array([0.0, 0.0, 1.0])


def quaternion(angles: np.ndarray) -> np.ndarray:
    """Orientation of the hand, w x y z, of 0, 1 or 3 angles."""
    if len(angles) == 0:
        return DOWN
    if len(angles) == 1:
        yaw = angles[0]
        return np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])
    return (_rotation(angles) * Rotation.from_quat(DOWN, scalar_first=True)).as_quat(scalar_first=True)


def angles_of(matrix: np.ndarray, count: int) -> np.ndarray:
    """0, 1 or 3 angles of a hand whose axes are the columns of ``matrix`` [3, 3]."""
    if count == 0:
        return np.zeros(0)
    if count == 1:
        return np.array([np.arctan2(matrix[1, 0], matrix[0, 0])])
    return Rotation.from_matrix(matrix * (1.0, -1.0, -1.0)).as_euler("xyz")


def turned(angles: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Angles after a turn, whose angles [0, 1 or 3] are those of R(t+1) R(t)^T."""
    if len(angles) < 3:
        return angles + turn
    return (_rotation(turn) * _rotation(angles)).as_euler("xyz")


def turn_between(angles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The turn that leads from some angles to others: the inverse of `turned`."""
    if len(angles) < 3:
        return others - angles
    return (_rotation(others) * _rotation(angles).inv()).as_euler("xyz")


def size_of(turn: np.ndarray) -> float:
    """By how much a turn turns in all, about whatever axis."""
    return float(np.linalg.norm(turn) if len(turn) < 3 else _rotation(turn).magnitude())


def near(angles: np.ndarray, centre: np.ndarray, most: float) -> np.ndarray:
    """The angles, or those on the way to them that are turned away from ``centre`` by no more than ``most``."""
    if len(angles) < 3:
        return np.clip(angles, centre - most, centre + most)
    way = _rotation(angles) * _rotation(centre).inv()
    size = way.magnitude()
    if size <= most:
        return angles
    return (Rotation.from_rotvec(way.as_rotvec() * (most / size)) * _rotation(centre)).as_euler("xyz")


def tilt_of(angles: np.ndarray) -> float:
    """How far a hand of 3 angles is tilted away from pointing straight down."""
    return float(np.arccos(np.clip(np.cos(angles[0]) * np.cos(angles[1]), -1.0, 1.0)))


def upright(angles: np.ndarray, most: float) -> np.ndarray:
    """3 angles after the least turn by which the hand is tilted by no more than ``most``."""
    x, y, z = _rotation(angles).apply(_UP)
    across = np.hypot(x, y)
    excess = np.arctan2(across, z) - most
    if excess <= 0:
        return angles
    back = Rotation.from_rotvec(np.array([y, -x, 0.0]) * (excess / across))
    return (back * _rotation(angles)).as_euler("xyz")


def _rotation(angles: np.ndarray) -> Rotation:
    return Rotation.from_euler("xyz", angles)
