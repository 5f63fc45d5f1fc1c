"""The simulated Panda: end-effector steps turned into joint motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jepa_envs.gl import mujoco
from jepa_envs.ik import DifferentialIK
from jepa_envs.orientation import angles_of, quaternion
from jepa_envs.simulation import Simulation
from jepa_envs.variation import load_model
from jepa_envs.workspace import RotationName, Workspace, angles_in

SCENE = Path(__file__).parent / "assets" / "panda_scene.xml"
JOINTS = [f"joint{i}" for i in range(1, 8)]
FINGERS = ["left_finger", "right_finger"]
FINGER_TRAVEL = 0.04  # metres, each
HOME = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])

# Where the point between the fingertips may go, and the gripper's closedness: x, y, z (metres, base frame), 0..1.
LOW = np.array([0.35, -0.25, 0.12, 0.0])
HIGH = np.array([0.65, 0.25, 0.42, 1.0])
BOUND = np.array([0.05, 0.05, 0.05, 0.25], np.float32).astype(float)  # largest action: metres, closedness
_TILTING_X = (0.42, 0.60)  # of x where the hand may tilt: elsewhere joints come to their ends

CONTROL_PERIOD = 0.2  # seconds a step: 5 Hz
_RAMP = 0.6  # share of a step in which the joint targets move; in the rest the arm settles


def workspace(rotation: RotationName = "none") -> Workspace:
    """Where the hand may go where it touches nothing, with the angles of a rotation.

    Raises:
        ValueError: the rotation is unknown.
    """
    return Workspace.of(rotation, LOW, HIGH, BOUND, _TILTING_X)


class PandaArm(Simulation):
    """The arm in a scene, led by joint targets that move smoothly from step to step.

    Args:
        model: the scene's model.
        task: short name of the task, for states.
        workspace: of the commanded pose.
        ramp: share of a step in which the joint targets move; in the rest the arm settles.
    """

    def __init__(self, model: mujoco.MjModel, task: str, workspace: Workspace, ramp: float):
        super().__init__(model, task, {"target": np.zeros_like(workspace.low)})
        self.workspace = workspace
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
        """Commanded pose, float64 [P]."""
        return self.memory["target"]

    @property
    def pose(self) -> np.ndarray:
        """Measured pose, float64 [P]."""
        return self.pose_of(self.data)

    def pose_of(self, data: mujoco.MjData) -> np.ndarray:
        """Pose float64 [P] of any data of this model with up-to-date positions, see `jepa_envs.workspace.Workspace`."""
        angles = angles_of(data.site_xmat[self._tcp].reshape(3, 3), len(self.workspace.low) - 4)
        return np.array([*data.site_xpos[self._tcp], *angles, self.closedness_of(data)])

    def closedness_of(self, data: mujoco.MjData) -> float:
        """The gripper's closedness in any data of this model, 0 open to 1 closed."""
        opening = data.qpos[self._qpos[7:]].mean() / FINGER_TRAVEL
        return float(np.clip(1.0 - opening, 0.0, 1.0))

    def update_positions(self, data: mujoco.MjData) -> None:
        """Bring positions up to the joint angles, and the hand's shadow below the hand."""
        super().update_positions(data)
        data.geom_xpos[self._shadow, :2] = data.site_xpos[self._tcp, :2]

    def _joints_for(self, pose: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Joint angles and finger openings [9] for a pose [P], searched from joint angles ``start`` [7]."""
        joints, _ = self._ik.solve(pose[:3], quaternion(angles_in(pose)), start)
        opening = FINGER_TRAVEL * (1.0 - pose[-1])
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
    """The arm in a scene where it touches nothing, driven by changes of its pose.

    A step moves a *commanded* target, not the measured pose: the servos' small tracking error is then never added up,
    and standing still means standing still. Nothing can block the arm inside the workspace, so that the target
    cannot run away from it.

    Args:
        model: the scene's model; loaded from the scene file where None.
        task: short name of the task, for states.
        rotation: which angles a pose has.
    """

    def __init__(
        self, model: mujoco.MjModel | None = None, task: str = "panda_reach", rotation: RotationName = "none"
    ):
        super().__init__(load_model(SCENE) if model is None else model, task, workspace(rotation), _RAMP)

    def place(self, pose: np.ndarray) -> None:
        """Stand still at a pose [P] inside the workspace, at once.

        Raises:
            ValueError: the pose is outside the workspace.
        """
        pose = np.asarray(pose, float)
        self.workspace.require(pose)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._qpos] = self.data.ctrl[:] = self._joints_for(pose, HOME)
        self.memory["target"] = pose.copy()
        self.update_positions(self.data)

    def step(self, delta: np.ndarray) -> None:
        """Change the pose by delta [P], within the workspace, in one control period."""
        self.memory["target"] = self.workspace.moved(self.target, delta)
        self._lead(self._joints_for(self.target, self.data.ctrl[:7]))
