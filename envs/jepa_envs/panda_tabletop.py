"""The Panda above a mat with one object, where it can touch, hold and push, and be blocked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from jepa_envs.gl import mujoco
from jepa_envs.panda import FINGER_TRAVEL, FINGERS, HOME, PandaArm
from jepa_envs.variation import load_model
from jepa_envs.workspace import RotationName, Workspace, require_rotation

ObjectName = Literal["cup", "box"]

# Where the point between the fingertips may go, x, y, z (metres, base frame), the gripper's closedness (0..1), and the
# largest action.
LOWEST = 0.013
_LOW, _HIGH, _BOUND = [0.38, -0.20, LOWEST, 0.0], [0.62, 0.20, 0.30, 1.0], [0.05, 0.05, 0.05, 0.25]
_TILTING_X = (0.42, 0.62)  # of x where the hand may tilt: nearer to the base joints come to their ends
MAT = np.array([(0.34, -0.24), (0.66, 0.24)])
"""Corners of the mat, which the object cannot leave: (x, y) low and high, metres."""

LEAD = np.array([0.02, 0.02, 0.02, 0.1, 0.25])
"""How far the commanded pose may be from the measured one, or from the workspace's part that is nearest to it, when a
step ends: x, y, z, turn, closedness. The fingers hold by it: 20 N each."""

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


def workspace(rotation: RotationName) -> Workspace:
    """Where the hand may go above the mat. Its poses have a yaw, 0, where the hand cannot turn, too.

    Raises:
        ValueError: the rotation is unknown.
    """
    require_rotation(rotation)
    space = Workspace.of("xyz" if rotation == "xyz" else "yaw", _LOW, _HIGH, _BOUND, _TILTING_X)
    if rotation != "none":
        return space
    straight = np.array([1, 1, 1, 0, 1])
    return Workspace(space.low * straight, space.high * straight, space.bound)


class Tabletop(PandaArm):
    """Arm and object, driven by changes of the hand's pose.

    A step moves the commanded pose, as `jepa_envs.panda.Panda` does. Where something blocks arm or fingers, the
    commanded pose stays within `LEAD` of the measured one, so that it does not run away and forces stay bounded.

    Args:
        object_name: which object is there.
        task: short name of the task, for states.
        rotation: how the hand may turn, see `workspace`.
        variation: factors of appearance that will vary, as `jepa_envs.variation.load_model` has them.
    """

    def __init__(self, object_name: ObjectName, task: str, rotation: RotationName, variation: str | Sequence[str] = ()):
        if object_name not in SHAPES:
            raise ValueError(f"object is {object_name!r}, expected one of {', '.join(SHAPES)}")
        model = load_model(Path(__file__).parent / "assets" / f"panda_{object_name}.xml", variation)
        super().__init__(model, task, workspace(rotation), _RAMP)
        self.shape = SHAPES[object_name]
        self._object = model.geom(object_name).id
        self._fingers = [model.body(name).geomadr[0] for name in FINGERS]

    def is_held(self, data: mujoco.MjData) -> bool:
        """Whether both fingers touch the object, in any data of this model with up-to-date positions."""
        return all(
            mujoco.mj_geomDistance(self.model, data, finger, self._object, 10 * TOUCH, None) <= TOUCH
            for finger in self._fingers
        )

    def place(self, pose: np.ndarray, centre: Sequence[float], yaw: float = 0.0) -> None:
        """Stand still at a pose [P] inside the workspace, with the object upright at ``centre`` [3], at once.

        Raises:
            ValueError: the hand would be outside its workspace, or the object off the mat or in the table.
        """
        pose, centre = np.asarray(pose, float), np.asarray(centre, float)
        self._set(pose, centre, _about_vertical(yaw), pose[-1])
        self.update_positions(self.data)

    def hold(self, position: np.ndarray, angles: np.ndarray, turn: float = 0.0) -> None:
        """Stand still with the fingertips' point at ``position`` [3] and the object in the grip.

        The hand has the ``angles`` [1 or 3]; the object is turned in it by ``turn``, and as upright as the hand is.

        Raises:
            ValueError: the hand would be outside its workspace, or the object off the mat or in the table.
        """
        closedness = 1.0 - self.shape.half_width / FINGER_TRAVEL
        pose = np.array([*position, *angles, closedness + LEAD[4]])
        below = np.array([0.0, 0.0, self.shape.grip_height])
        if self.workspace.tilts:
            hand = Rotation.from_euler("xyz", angles)
            x, y, z, w = (hand * Rotation.from_euler("z", turn)).as_quat()
            self._set(pose, pose[:3] - hand.apply(below), np.array([w, x, y, z]), closedness)
        else:
            self._set(pose, pose[:3] - below, _about_vertical(angles[0] + turn), closedness)
        self.step(np.zeros_like(pose))  # the grip settles
        self.data.time = 0.0

    def step(self, delta: np.ndarray) -> None:
        """Change the pose by delta [P], within the workspace, in one control period."""
        target = self.workspace.moved(self.target, delta)
        self._lead(self._joints_for(target, self.data.ctrl[:7]))
        self.memory["target"] = self.workspace.near(target, self.pose, LEAD)

    def check_values(self, values: dict[str, np.ndarray]) -> None:
        """
        Raises:
            ValueError: the object is off the mat or in the table, or the hand is commanded out of its workspace.
        """
        self.workspace.require(values["target"])
        self._check_centre(values["qpos"][_POSE])

    def _set(self, pose: np.ndarray, centre: np.ndarray, rotation: np.ndarray, closedness: float) -> None:
        """Put arm and object in their places, the object's orientation being the quaternion ``rotation`` w x y z.

        The fingers are as closed as ``closedness`` and go on to ``pose``.
        """
        self.workspace.require(pose)
        self._check_centre(centre)
        data = self.data
        mujoco.mj_resetData(self.model, data)
        data.ctrl[:] = self._joints_for(pose, HOME)
        data.qpos[self._qpos[:7]] = data.ctrl[:7]
        data.qpos[self._qpos[7:]] = FINGER_TRAVEL * (1.0 - closedness)
        data.qpos[_POSE] = centre
        data.qpos[_ROTATION] = rotation
        self.memory["target"] = pose.copy()

    def _check_centre(self, centre: np.ndarray) -> None:
        """The object may stand or lie, and gives way a little where the hand presses it against table or edge."""
        room = self.shape.half_width - _SLACK
        low, high = np.append(MAT[0], 0.0) + room, np.append(MAT[1], _HIGH[2] + 0.1) - room
        if not (np.all(centre >= low) and np.all(centre <= high)):
            raise ValueError(
                f"the object's centre is at {np.round(centre, 3).tolist()} m, expected over the mat and within reach, "
                f"{np.round(low, 3).tolist()}..{np.round(high, 3).tolist()}"
            )


def _about_vertical(yaw: float) -> np.ndarray:
    """The quaternion w x y z of a turn about the vertical."""
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


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
