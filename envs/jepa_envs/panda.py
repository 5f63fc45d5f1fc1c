"""The simulated Panda: end-effector steps turned into joint motion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco
from jepa_envs.ik import DifferentialIK
from jepa_envs.simulation import Simulation
from jepa_envs.variation import load_model

SCENE = Path(__file__).parent / "assets" / "panda_scene.xml"
JOINTS = [f"joint{i}" for i in range(1, 8)]
FINGERS = ["left_finger", "right_finger"]
FINGER_TRAVEL = 0.04  # metres, each
HOME = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # hand orientation w x y z: fingers down, opening along y

# Where the point between the fingertips may go, and the gripper's closedness: x, y, z (metres, base frame), 0..1.
LOW = np.array([0.35, -0.25, 0.12, 0.0])
HIGH = np.array([0.65, 0.25, 0.42, 1.0])

CONTROL_PERIOD = 0.2  # seconds a step: 5 Hz
_RAMP = 0.6  # share of a step in which the joint targets move; in the rest the arm settles


def pose_dims(
    names: Sequence[tuple[str, str]], bound: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[list[Dim], list[Dim]]:
    """Dimensions of the actions that move a pose, and of the pose itself.

    Args:
        names: name and unit of each of the pose's P dimensions.
        bound: how far an action moves each at most, [P].
        low, high: ends of the workspace, [P].
    """
    actions = [
        Dim(name if unit == "1" else f"d{name}", unit, -most, most, "base", integrates=name)
        for (name, unit), most in zip(names, bound, strict=True)
    ]
    places = [Dim(name, unit, *ends, "base") for (name, unit), *ends in zip(names, low, high, strict=True)]
    return actions, places


class PandaArm(Simulation):
    """The arm in a scene, led by joint targets that move smoothly from step to step.

    Args:
        model: the scene's model.
        task: short name of the task, for states.
        target: initial commanded pose, as the subclass has it.
        ramp: share of a step in which the joint targets move; in the rest the arm settles.
    """

    def __init__(self, model: mujoco.MjModel, task: str, target: np.ndarray, ramp: float):
        super().__init__(model, task, {"target": target})
        self._ik = DifferentialIK(model, "tcp", JOINTS, HOME)
        self._tcp = model.site("tcp").id
        self._shadow = model.geom("hand_shadow").id
        self._qpos = model.jnt_qposadr[[model.joint(j).id for j in JOINTS + FINGERS]]
        self._substeps = round(CONTROL_PERIOD / model.opt.timestep)
        # Smooth from 0 to 1 with no velocity at either end, then flat.
        phase = np.minimum(np.arange(1, self._substeps + 1) / (ramp * self._substeps), 1.0)
        self._profile = phase * phase * (3 - 2 * phase)

    @property
    def target(self) -> np.ndarray:
        """Commanded pose, as float64."""
        return self.memory["target"]

    def closedness_of(self, data: mujoco.MjData) -> float:
        """The gripper's closedness in any data of this model, 0 open to 1 closed."""
        opening = data.qpos[self._qpos[7:]].mean() / FINGER_TRAVEL
        return float(np.clip(1.0 - opening, 0.0, 1.0))

    def update_positions(self, data: mujoco.MjData) -> None:
        """Bring positions up to the joint angles, and the hand's shadow below the hand."""
        super().update_positions(data)
        data.geom_xpos[self._shadow, :2] = data.site_xpos[self._tcp, :2]

    def _joints_for(
        self, position: np.ndarray, closedness: float, start: np.ndarray, quaternion: np.ndarray = DOWN
    ) -> np.ndarray:
        """Joint angles and finger openings [9] for a place of the hand, searched from joint angles ``start`` [7]."""
        joints, _ = self._ik.solve(position, quaternion, start)
        opening = FINGER_TRAVEL * (1.0 - closedness)
        return np.append(joints, [opening, opening])

    def _lead(self, joints: np.ndarray) -> None:
        """Simulate one control period in which the targets of joints and fingers go to ``joints`` [9]."""
        model, data, control = self.model, self.data, self.data.ctrl
        start = control.copy()
        for target in start + self._profile[:, None] * (joints - start):
            control[:] = target
            mujoco.mj_step(model, data)
        self.update_positions(self.data)


class Panda(PandaArm):
    """The arm in a scene where it touches nothing, driven by steps of (x, y, z, closedness).

    A step moves a *commanded* target, not the measured pose: the servos' small tracking error is then never added up,
    and standing still means standing still. Nothing can block the arm inside the workspace, so that the target
    cannot run away from it.

    Args:
        model: the scene's model; loaded from the scene file where None.
        task: short name of the task, for states.
    """

    def __init__(self, model: mujoco.MjModel | None = None, task: str = "panda_reach"):
        super().__init__(load_model(SCENE) if model is None else model, task, np.zeros(4), _RAMP)

    @property
    def pose(self) -> np.ndarray:
        """Measured (x, y, z, closedness) float64 [4]."""
        return self.pose_of(self.data)

    def pose_of(self, data: mujoco.MjData) -> np.ndarray:
        """(x, y, z, closedness) float64 [4] of any data of this model with up-to-date positions."""
        return np.append(data.site_xpos[self._tcp], self.closedness_of(data))

    def place(self, pose: np.ndarray) -> None:
        """Stand still at a pose [4] inside the workspace, at once.

        Raises:
            ValueError: the pose is outside the workspace.
        """
        pose = np.asarray(pose, float)
        if pose.shape != (4,) or not (np.all(pose >= LOW) and np.all(pose <= HIGH)):
            raise ValueError(f"pose {pose.tolist()} is outside the workspace {LOW.tolist()}..{HIGH.tolist()}")
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._qpos] = self.data.ctrl[:] = self._joints_for(pose[:3], pose[3], HOME)
        self.memory["target"] = pose.copy()
        self.update_positions(self.data)

    def step(self, delta: np.ndarray) -> None:
        """Move by delta [4] (metres and closedness), within the workspace, in one control period."""
        self.memory["target"] = np.clip(self.target + delta, LOW, HIGH)
        self._lead(self._joints_for(self.target[:3], self.target[3], self.data.ctrl[:7]))
