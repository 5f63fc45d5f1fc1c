"""Differential inverse kinematics: damped least squares, with a posture in the null space."""

from __future__ import annotations

import numpy as np

from jepa_envs.gl import mujoco


class DifferentialIK:
    """Joint angles that bring a site of a MuJoCo model to a pose.

    Each iteration moves along the damped pseudo-inverse of the site's Jacobian, and along the Jacobian's null space
    towards ``posture``. Joints that would leave their ranges stay, and the others do without them. As it goes on until
    the null-space motion has died down too, the result depends on the pose alone and hardly on where the search began:
    a redundant arm looks the same however it came to a place.

    Args:
        model: the MuJoCo model.
        site: name of the site to place.
        joints: names of the J hinge joints to move; their ranges are respected.
        posture: preferred joint angles [J], radians.
    """

    def __init__(self, model: mujoco.MjModel, site: str, joints: list[str], posture: np.ndarray):
        self._model = model
        self._data = mujoco.MjData(model)  # scratch: the simulation's own data is never touched
        self._site = model.site(site).id
        ids = [model.joint(name).id for name in joints]
        self._qpos = model.jnt_qposadr[ids]
        self._dof = model.jnt_dofadr[ids]
        self._low, self._high = model.jnt_range[ids].T
        self._posture = np.asarray(posture, float)
        self._jacobian = np.zeros((6, model.nv))

    def solve(
        self,
        position: np.ndarray,
        quaternion: np.ndarray,
        start: np.ndarray,
        *,
        iterations: int = 60,
        damping: float = 0.02,
        posture_gain: float = 0.7,
        tolerance: float = 1e-5,
        posture_tolerance: float = 2e-3,
    ) -> tuple[np.ndarray, float]:
        """Search from the joint angles ``start`` [J] for a pose.

        Args:
            position: wanted position of the site [3], metres, world frame.
            quaternion: wanted orientation of the site [4], w x y z.
            start: joint angles [J] from which to search, radians.
            iterations: most iterations spent.
            damping: of the least squares, so that steps stay short near singular poses.
            posture_gain: share of the posture error removed per iteration.
            tolerance: position (metres) and orientation (radians) error at which the pose counts as reached.
            posture_tolerance: null-space step (radians) below which the posture counts as settled.

        Returns:
            The joint angles [J], inside their ranges, and the remaining error (metres and radians, added).
        """
        model, data = self._model, self._data
        q = np.clip(start, self._low, self._high)
        error, current, inverse = np.zeros(6), np.zeros(4), np.zeros(4)
        for iteration in range(iterations + 1):
            data.qpos[self._qpos] = q
            mujoco.mj_kinematics(model, data)
            error[:3] = position - data.site_xpos[self._site]
            mujoco.mju_mat2Quat(current, data.site_xmat[self._site])
            mujoco.mju_negQuat(inverse, current)
            mujoco.mju_mulQuat(current, quaternion, inverse)
            mujoco.mju_quat2Vel(error[3:], current, 1.0)
            residual = float(np.linalg.norm(error[:3]) + np.linalg.norm(error[3:]))
            if iteration == iterations:
                break
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, self._jacobian[:3], self._jacobian[3:], self._site)
            free = np.ones(len(q), bool)
            step, null_step = self._step(error, q, free, damping, posture_gain)
            while (stuck := free & (((q <= self._low) & (step < 0)) | ((q >= self._high) & (step > 0)))).any():
                free &= ~stuck
                step, null_step = self._step(error, q, free, damping, posture_gain)
            if residual < tolerance and np.abs(null_step).max() < posture_tolerance:
                break
            step *= min(1.0, 0.5 / max(np.abs(step).max(), 1e-9))  # at most 0.5 rad: the Jacobian is a local truth
            q = np.clip(q + step, self._low, self._high)
        return q, residual

    def _step(
        self, error: np.ndarray, q: np.ndarray, free: np.ndarray, damping: float, posture_gain: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The next step [J], in which only joints that are ``free``, bool [J], move, and its part in the null space."""
        u, s, vt = np.linalg.svd(self._jacobian[:, self._dof] * free)
        null = vt[6:]
        null_step = posture_gain * (null.T @ (null @ np.where(free, self._posture - q, 0.0)))
        step = vt[:6].T @ (s / (s * s + damping * damping) * (u.T @ error)) + null_step
        return np.where(free, step, 0.0), null_step
