"""The physics of Push-T: a disc steered by a PD controller, and a T that only moves while it is pushed.

Geometry and control are those of the task that Chi et al., Diffusion Policy (2023, arXiv 2303.04137) and gym-pusht
made common. Places are in units of its board (512 x 512, y down, here 1 mm each), angles in radians, clockwise in the
picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jepa_envs.gl import mujoco
from jepa_envs.simulation import Simulation
from jepa_envs.variation import load_model

SCENE = Path(__file__).parent / "assets" / "push_t.xml"
BOARD = 512.0
UNIT = 0.001  # metres
AGENT_RADIUS = 15.0
CONTROL_PERIOD = 0.1  # seconds a step: 10 Hz
CENTRE_OF_MASS = np.array([0.0, 45.0])  # of the block, in its own frame
BAR, STEM = (
    np.array([(-60.0, 0.0), (60.0, 0.0), (60.0, 30.0), (-60.0, 30.0)]),
    np.array([(-15.0, 30.0), (15.0, 30.0), (15.0, 120.0), (-15.0, 120.0)]),
)
"""Corners [4, 2] of the block's two rectangles, in its own frame: the origin is the middle of the bar's edge."""

_STIFFNESS, _DAMPING = 100.0, 20.0  # of the agent's controller, 1/s^2 and 1/s
_HELD = 30.0 * UNIT, (BOARD - 30.0) * UNIT  # the agent may squeeze the block into a wall, but no farther than this
_AGENT, _BLOCK, _ANGLE = slice(3, 5), slice(0, 2), 2  # places in qpos


class PushTBoard(Simulation):
    """Agent and block on their board.

    As in the original, the agent is stopped by nothing, and the block slides without friction against what touches
    it but stands still at once when nothing does: its velocity is taken away before every time step.
    """

    def __init__(self, model: mujoco.MjModel | None = None, task: str = "push_t"):
        super().__init__(load_model(SCENE) if model is None else model, task)
        self._substeps = round(CONTROL_PERIOD / self.model.opt.timestep)

    def place(self, agent: np.ndarray, block: np.ndarray) -> None:
        """Stand still with the agent at (x, y) and the block at (x, y, angle), at once."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[_AGENT] = np.asarray(agent, float) * UNIT
        self.data.qpos[_BLOCK] = (np.asarray(block, float)[:2] + rotation(block[2]) @ CENTRE_OF_MASS) * UNIT
        self.data.qpos[_ANGLE] = block[2]
        self.update_positions(self.data)

    def step(self, target: np.ndarray) -> None:
        """Steer the agent towards (x, y) for one control period."""
        model, data = self.model, self.data
        step, target = model.opt.timestep, target * UNIT
        place, velocity = data.qpos[_AGENT].copy(), data.qvel[_AGENT].copy()
        for _ in range(self._substeps):
            velocity += step * (_STIFFNESS * (target - place) - _DAMPING * velocity)
            place += step * velocity
            data.qvel[:] = 0.0
            data.qvel[_AGENT] = velocity
            mujoco.mj_step(model, data)
            data.qpos[_AGENT], data.qvel[_AGENT] = place, velocity
            data.qpos[_BLOCK] = np.clip(data.qpos[_BLOCK], *_HELD)
        self.update_positions(data)

    def check_values(self, values: dict[str, np.ndarray]) -> None:
        """
        Raises:
            ValueError: agent or block are not on the board.
        """
        for name, place in (("agent", _AGENT), ("block", _BLOCK)):
            x, y = values["qpos"][place] / UNIT
            if not (-1 <= x <= BOARD + 1 and -1 <= y <= BOARD + 1):
                raise ValueError(f"the {name} is at ({x:.0f}, {y:.0f}), expected on the board, 0 to {BOARD:.0f}")


def agent_of(qpos: np.ndarray) -> np.ndarray:
    """The agent's (x, y) float64 [2]."""
    return qpos[_AGENT] / UNIT


def block_of(qpos: np.ndarray) -> np.ndarray:
    """The block's (x, y, angle) float64 [3], the angle within [0, 2 pi)."""
    angle = qpos[_ANGLE] % (2 * np.pi)
    return np.append(qpos[_BLOCK] / UNIT - rotation(angle) @ CENTRE_OF_MASS, angle)


def rotation(angle: float) -> np.ndarray:
    """Matrix [2, 2] that turns a vector by an angle."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([(cosine, -sine), (sine, cosine)])


def coverage(block: np.ndarray, goal: np.ndarray) -> float:
    """Share of the T at pose ``goal`` that the T at pose ``block`` covers; poses are (x, y, angle)."""
    first, second = (
        [(corners @ rotation(pose[2]).T + pose[:2]).tolist() for corners in (BAR, STEM)] for pose in (block, goal)
    )
    whole = sum(_area(corners.tolist()) for corners in (BAR, STEM))
    return sum(_area(_clip(a, b)) for a in first for b in second) / whole


def _area(corners: list[list[float]]) -> float:
    """Area of a polygon (shoelace formula)."""
    return abs(sum(x * v - y * u for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1]))) / 2


def _clip(polygon: list[list[float]], window: list[list[float]]) -> list[list[float]]:
    """Intersection of two convex polygons of the same sense (Sutherland and Hodgman, 1974)."""
    for (x, y), (u, v) in zip(window, window[1:] + window[:1]):
        inside = [(u - x) * (q - y) - (v - y) * (p - x) for p, q in polygon]
        kept = []
        for i, (p, q) in enumerate(polygon):
            before = inside[i - 1]
            if (before >= 0) != (inside[i] >= 0):
                r, s = polygon[i - 1]
                share = before / (before - inside[i])
                kept.append([r + share * (p - r), s + share * (q - s)])
            if inside[i] >= 0:
                kept.append([p, q])
        polygon = kept
    return polygon


def clearance(points: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Distance of points [..., 2] from the T at pose ``block`` (x, y, angle); 0 inside it."""
    local = (np.asarray(points, float) - block[:2]) @ rotation(block[2])
    return np.linalg.norm(local - nearest_of_block(local), axis=-1)


def nearest_of_block(points: np.ndarray) -> np.ndarray:
    """The places in the T, in its own frame, that are nearest to points [..., 2]."""
    bar, stem = (np.clip(points, corners.min(0), corners.max(0)) for corners in (BAR, STEM))
    to_bar, to_stem = (np.linalg.norm(points - place, axis=-1, keepdims=True) for place in (bar, stem))
    return np.where(to_bar <= to_stem, bar, stem)
