"""Where the hand of an arm may be, how it may be turned, and how far an action moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jepa_envs import orientation
from jepa_envs.dim import Dim

RotationName = Literal["none", "yaw", "xyz"]
"""What of its orientation an action changes: nothing, its turn about the vertical, or all of it."""

MOST_TILT, MOST_YAW = 0.3, 1.0  # radians from pointing straight down, and about the vertical
MOST_TURN = 0.2  # radians by which an action turns each angle
_ENDS = {"none": (), "yaw": (MOST_YAW,), "xyz": (MOST_TILT, MOST_TILT, MOST_YAW)}
_ROUNDING = 1e-9  # radians
_ANGLES = slice(3, -1)  # of a pose


@dataclass(frozen=True)
class Workspace:
    """Poses [P] that a hand may have: x, y, z, angles, closedness.

    x, y and z are those of the point between the fingertips (metres, base frame), the angles (radians) 0, 1 or 3 of
    `jepa_envs.orientation`, closedness is 0 where the gripper is open and 1 where it is closed. A change of a pose [P]
    is added to it, but for the angles of a hand that may tilt: those of R(t+1) R(t)^T are composed with it.

    A hand with 3 angles may be tilted by no more than ``high[3]`` in any direction.

    Attributes:
        low, high: ends of the poses [P].
        bound: largest change by an action [P].
    """

    low: np.ndarray
    high: np.ndarray
    bound: np.ndarray

    @classmethod
    def of(
        cls,
        rotation: RotationName,
        low: np.ndarray,
        high: np.ndarray,
        bound: np.ndarray,
        tilting_x: tuple[float, float],
    ) -> Workspace:
        """The workspace with the angles of ``rotation``.

        Args:
            rotation: see `RotationName`.
            low, high, bound: as the attributes, of x, y, z and closedness [4].
            tilting_x: ends of x where the hand may tilt.

        Raises:
            ValueError: the rotation is unknown.
        """
        require_rotation(rotation)
        ends = np.array(_ENDS[rotation])
        low, high = np.insert(low, 3, -ends), np.insert(high, 3, ends)
        if rotation == "xyz":
            low[0], high[0] = tilting_x
        return cls(low, high, np.insert(bound, 3, np.full(len(ends), MOST_TURN)))

    @property
    def tilts(self) -> bool:
        """Whether the hand has all three angles."""
        return len(self.low) == 7

    @property
    def turns(self) -> bool:
        """Whether the hand may turn at all."""
        return bool(np.any(self.high[_ANGLES] > 0))

    def dims(self) -> tuple[list[Dim], list[Dim]]:
        """Dimensions of the actions that change a pose, and of the pose itself.

        Where the hand may tilt, its angles are not what the actions' angles add up to.
        """
        places = [(name, "m") for name in "xyz"]
        angles = [(name, "rad") for name in orientation.NAMES[4 - len(self.low) :]] if len(self.low) > 4 else []
        actions, poses = [], []
        for (name, unit), low, high, most in zip(
            [*places, *angles, ("gripper", "1")], self.low, self.high, self.bound, strict=True
        ):
            changed = name if unit == "1" else f"d{name}"
            effect = {"composes" if unit == "rad" and self.tilts else "integrates": name}
            actions.append(Dim(changed, unit, -most, most, "base", **effect))
            poses.append(Dim(name, unit, low, high, "base"))
        return actions, poses

    def measured_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends float32 [P] that no measured pose passes, wherever the arm overshoots to or is pushed."""
        high = np.array([1.0, 1.0, 1.5, *[np.pi] * (len(self.low) - 4), 1.0], np.float32)
        low = -high
        low[-1] = 0.0
        return low, high

    def holds(self, pose: np.ndarray) -> bool:
        """Whether a pose is inside."""
        if np.shape(pose) != self.low.shape or not (np.all(pose >= self.low) and np.all(pose <= self.high)):
            return False
        return not self.tilts or orientation.tilt_of(pose[_ANGLES]) <= self.high[3] + _ROUNDING

    def require(self, pose: np.ndarray) -> None:
        """
        Raises:
            ValueError: the pose is outside.
        """
        if not self.holds(pose):
            names = ", ".join(dim.name for dim in self.dims()[1])
            tilt = f", tilted by no more than {self.high[3]:g}" if self.tilts else ""
            raise ValueError(
                f"pose {np.round(pose, 4).tolist()} ({names}) is outside the workspace "
                f"{self.low.tolist()}..{self.high.tolist()}{tilt}"
            )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A pose drawn evenly."""
        while not self.holds(pose := rng.uniform(self.low, self.high)):
            pass
        return pose

    def clip(self, pose: np.ndarray) -> np.ndarray:
        """The nearest pose inside: where the hand may tilt, it is turned back to upright first, then its yaw."""
        if self.tilts:
            pose = _with_angles(pose, orientation.upright(pose[_ANGLES], self.high[3]))
        return np.clip(pose, self.low, self.high)

    def moved(self, pose: np.ndarray, change: np.ndarray) -> np.ndarray:
        """A pose after a change, inside."""
        return self.clip(_with_angles(pose + change, orientation.turned(pose[_ANGLES], change[_ANGLES])))

    def change(self, pose: np.ndarray, other: np.ndarray) -> np.ndarray:
        """What leads from a pose to another, [P]."""
        return _with_angles(other - pose, orientation.turn_between(pose[_ANGLES], other[_ANGLES]))

    def near(self, pose: np.ndarray, centre: np.ndarray, lead: np.ndarray) -> np.ndarray:
        """The part of the way to a pose inside that is no farther from ``centre`` than ``lead``, then moved inside.

        Args:
            lead: of x, y, z, of the angle by which the hand is turned, and of closedness [5].
        """
        angles = orientation.near(pose[_ANGLES], centre[_ANGLES], lead[3])
        most = np.insert(lead[[0, 1, 2, 4]], 3, np.zeros(len(angles)))
        return self.clip(_with_angles(np.clip(pose, centre - most, centre + most), angles))

    def leaves(self, pose: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Which dimensions of a change lead out, bool [P]; roll and pitch together where they tilt the hand too far."""
        after = _with_angles(pose + change, orientation.turned(pose[_ANGLES], change[_ANGLES]))
        out = (after < self.low) | (after > self.high)
        if self.tilts:
            out[3:5] = orientation.tilt_of(after[_ANGLES]) > self.high[3] + _ROUNDING
        return out

    def upright(self, yaw: float) -> np.ndarray:
        """Angles of the hand that points straight down, turned by a yaw."""
        angles = np.zeros(len(self.low) - 4)
        angles[-1:] = yaw
        return angles


def require_rotation(rotation: object) -> None:
    """
    Raises:
        ValueError: it is not a `RotationName`.
    """
    if rotation not in tuple(_ENDS):
        raise ValueError(f"rotation is {rotation!r}, expected one of {', '.join(_ENDS)}")


def angles_in(pose: np.ndarray) -> np.ndarray:
    """The angles [0, 1 or 3] in a pose, or in a change of one."""
    return pose[_ANGLES]


def _with_angles(pose: np.ndarray, angles: np.ndarray) -> np.ndarray:
    pose = pose.copy()
    pose[_ANGLES] = angles
    return pose
