"""The Panda above a mat with one object, where it can touch, hold and push, and be blocked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jepa_envs.gl import mujoco
from jepa_envs.panda import FINGER_TRAVEL, FINGERS, HOME, PandaArm
from jepa_envs.variation import load_model

ObjectName = Literal["cup", "box"]

# Where the point between the fingertips may go: x, y, z (metres, base frame), yaw (radians), closedness (0..1).
LOW = np.array([0.38, -0.20, 0.013, -1.0, 0.0])
HIGH = np.array([0.62, 0.20, 0.30, 1.0, 1.0])
MAT = np.array([(0.34, -0.24), (0.66, 0.24)])
"""Corners of the mat, which the object cannot leave: (x, y) low and high, metres."""

LEAD = np.array([0.02, 0.02, 0.02, 0.1, 0.25])
"""How far the commanded pose may be from the measured one, or from the workspace's part that is nearest to it, when a
step ends. The fingers hold by it: 20 N each."""

TOUCH = 0.001
"""Metres between a finger and the object at which they count as touching."""

_RAMP = 0.7
_SLACK = 0.012  # metres by which an object may seem to be in table or edge
_POSE, _ROTATION = slice(9, 12), slice(12, 16)  # of the object in qpos, after 7 joints and 2 fingers


@dataclass(frozen=True)
class ObjectShape:
    """What there is to know about an object to handle it.

    Attributes:
        half_height: of the standing object, metres: its centre's height.
        half_width: from its axis to its faces, metres.
        grip_height: of the fingertips' point when it is gripped, above its centre, metres.
        turns: after which angle it looks the same to the fingers, radians; 0 where it is round.
    """

    half_height: float
    half_width: float
    grip_height: float
    turns: float


SHAPES: dict[str, ObjectShape] = {
    "cup": ObjectShape(half_height=0.036, half_width=0.029, grip_height=0.012, turns=0.0),
    "box": ObjectShape(half_height=0.032, half_width=0.027, grip_height=0.012, turns=np.pi / 2),
}


class Tabletop(PandaArm):
    """Arm and object, driven by steps of (x, y, z, yaw, closedness). The fingers point down throughout.

    A step moves the commanded pose, as `jepa_envs.panda.Panda` does. Where something blocks arm or fingers, the
    commanded pose stays within `LEAD` of the measured one, so that it does not run away and forces stay bounded.

    Args:
        object_name: which object is there.
        task: short name of the task, for states.
        yaw: whether the hand may turn; otherwise its yaw is 0, the fingers opening along y.
        variation: factors of appearance that will vary, as `jepa_envs.variation.load_model` has them.
    """

    def __init__(self, object_name: ObjectName, task: str, yaw: bool, variation: str | Sequence[str] = ()):
        if object_name not in SHAPES:
            raise ValueError(f"object is {object_name!r}, expected one of {', '.join(SHAPES)}")
        model = load_model(Path(__file__).parent / "assets" / f"panda_{object_name}.xml", variation)
        super().__init__(model, task, np.zeros(5), _RAMP)
        self.shape = SHAPES[object_name]
        can = np.array([1, 1, 1, yaw, 1])
        self.low, self.high = LOW * can, HIGH * can
        self._object = model.geom(object_name).id
        self._fingers = [model.body(name).geomadr[0] for name in FINGERS]

    def pose_of(self, data: mujoco.MjData) -> np.ndarray:
        """Measured (x, y, z, yaw, closedness) float64 [5] of any data of this model with up-to-date positions."""
        along = data.site_xmat[self._tcp]  # its first column is the hand's x axis
        yaw = np.arctan2(along[3], along[0])
        return np.array([*data.site_xpos[self._tcp], yaw, self.closedness_of(data)])

    def is_held(self, data: mujoco.MjData) -> bool:
        """Whether both fingers touch the object, in any data of this model with up-to-date positions."""
        return all(
            mujoco.mj_geomDistance(self.model, data, finger, self._object, 10 * TOUCH, None) <= TOUCH
            for finger in self._fingers
        )

    def place(self, pose: np.ndarray, centre: Sequence[float], yaw: float = 0.0) -> None:
        """Stand still at a pose [5] inside the workspace, with the object upright at ``centre`` [3], at once.

        Raises:
            ValueError: the hand would be outside its workspace, or the object off the mat or in the table.
        """
        pose, centre = np.asarray(pose, float), np.asarray(centre, float)
        self._set(pose, centre, yaw, pose[-1])
        self.update_positions(self.data)

    def hold(self, position: np.ndarray, yaw: float = 0.0, turn: float = 0.0) -> None:
        """Stand still with the fingertips' point at ``position`` [3] and the object upright in the grip.

        The hand is turned by ``yaw``, and the object in it by ``turn``.

        Raises:
            ValueError: the hand would be outside its workspace, or the object off the mat or in the table.
        """
        closedness = 1.0 - self.shape.half_width / FINGER_TRAVEL
        pose = np.array([*position, yaw, closedness + LEAD[4]])
        self._set(pose, pose[:3] - np.array([0.0, 0.0, self.shape.grip_height]), yaw + turn, closedness)
        self.step(np.zeros(5))  # the grip settles
        self.data.time = 0.0

    def step(self, delta: np.ndarray) -> None:
        """Move by delta [5] (metres, radians and closedness), within the workspace, in one control period."""
        target = np.clip(self.target + delta, self.low, self.high)
        self._lead(self._joints_for(target[:3], target[4], self.data.ctrl[:7], downwards(target[3])))
        pose = self.pose_of(self.data)
        self.memory["target"] = np.clip(np.clip(target, pose - LEAD, pose + LEAD), self.low, self.high)

    def check_values(self, values: dict[str, np.ndarray]) -> None:
        """
        Raises:
            ValueError: the object is off the mat or in the table, or the hand is commanded out of its workspace.
        """
        self._check_pose(values["target"])
        self._check_centre(values["qpos"][_POSE])

    def _set(self, pose: np.ndarray, centre: np.ndarray, yaw: float, closedness: float) -> None:
        """Put arm and object in their places; the fingers are as closed as ``closedness`` and go on to ``pose``."""
        self._check_pose(pose)
        self._check_centre(centre)
        data = self.data
        mujoco.mj_resetData(self.model, data)
        data.ctrl[:] = self._joints_for(pose[:3], pose[4], HOME, downwards(pose[3]))
        data.qpos[self._qpos[:7]] = data.ctrl[:7]
        data.qpos[self._qpos[7:]] = FINGER_TRAVEL * (1.0 - closedness)
        data.qpos[_POSE] = centre
        data.qpos[_ROTATION] = np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
        self.memory["target"] = pose.copy()

    def _check_pose(self, pose: np.ndarray) -> None:
        if np.shape(pose) != (5,) or not (np.all(pose >= self.low) and np.all(pose <= self.high)):
            raise ValueError(
                f"pose {np.round(pose, 4).tolist()} (x, y, z, yaw, closedness) is outside the workspace "
                f"{self.low.tolist()}..{self.high.tolist()}"
            )

    def _check_centre(self, centre: np.ndarray) -> None:
        """The object may stand or lie, and gives way a little where the hand presses it against table or edge."""
        room = self.shape.half_width - _SLACK
        low, high = np.append(MAT[0], 0.0) + room, np.append(MAT[1], HIGH[2] + 0.1) - room
        if not (np.all(centre >= low) and np.all(centre <= high)):
            raise ValueError(
                f"the object's centre is at {np.round(centre, 3).tolist()} m, expected over the mat and within reach, "
                f"{np.round(low, 3).tolist()}..{np.round(high, 3).tolist()}"
            )


def downwards(yaw: float) -> np.ndarray:
    """Orientation of the hand w x y z: fingers down, turned by yaw about the vertical."""
    return np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])


def object_position(qpos: np.ndarray) -> np.ndarray:
    """The object's centre [3], metres."""
    return qpos[_POSE].copy()


def object_tilt(qpos: np.ndarray) -> float:
    """Angle between the object's axis and the vertical, radians."""
    _, x, y, _ = qpos[_ROTATION]
    return float(np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0)))


def object_yaw(qpos: np.ndarray) -> float:
    """The object's turn about the vertical, radians."""
    w, x, y, z = qpos[_ROTATION]
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
