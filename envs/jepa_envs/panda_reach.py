"""PandaReach: bring the gripper to where a goal picture shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np

from jepa_envs.demonstrators import ColouredNoise, NoisyExpert
from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import Demonstrator, State
from jepa_envs.orientation import size_of, turn_between
from jepa_envs.panda import CONTROL_PERIOD, SCENE, Panda
from jepa_envs.panda_demonstrators import ReachExpert, WorkspaceExplorer
from jepa_envs.task import MujocoGoalTask
from jepa_envs.variation import load_model
from jepa_envs.workspace import RotationName

LEAST_START_DISTANCE = 0.10  # metres between start and goal


class PandaReachEnv(MujocoGoalTask):
    """A Panda arm above a table moves its gripper to a goal, at 5 steps a second.

    ``proprio``, float32 [4]: x, y, z of the point between the fingertips (metres, base frame) and the gripper's
    closedness (0 open, 1 closed).

    Action: float32 [4], (dx, dy, dz) metres within 0.05 and a change of closedness within 0.25; what is beyond is
    clipped, and so is motion out of the workspace (0.35..0.65, -0.25..0.25, 0.12..0.42). The hand points down
    throughout.

    With ``rotation="yaw"`` it may also turn about the vertical, within 1 radian: ``proprio`` and the action are
    float32 [5], with the yaw (radians) and its change, within 0.2, before the gripper's. With ``rotation="xyz"`` they
    are V-JEPA 2-AC's in full, float32 [7]: roll, pitch and yaw, Euler angles xyz about the base frame's axes, of
    R(t+1) R(t)^T in the action, each within 0.2, and of R in ``proprio``. There all angles are 0 where the hand points
    straight down (see `jepa_envs.orientation`), and it may be tilted from that by 0.3 radians at most; x is within
    0.42..0.60. Of the orientation the tilt is limited first, then the yaw. Goals have turned and tilted hands, too.

    Success: the gripper is within 2.5 cm of the goal's place, and the hand, where it turns, within 0.2 radians of the
    goal's orientation, about whatever axis. `distance` is that of the places alone.

    Args:
        rotation: ``"none"``, ``"yaw"`` or ``"xyz"``.
        others: as `jepa_envs.task.MujocoGoalTask`.
    """

    name = "panda_reach"
    cameras = ("front", "left", "top")
    success_distance = 0.025  # metres
    success_turn = 0.2  # radians
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}
    _simulation: Panda

    def __init__(
        self,
        render_mode: str | None = None,
        image_size: int = 64,
        camera: str | None = None,
        variation: str | Sequence[str] = (),
        rotation: RotationName = "none",
    ):
        self.rotation = rotation
        self.straight = rotation == "none"  # a path straight to the place is not all where the hand turns, too
        super().__init__(render_mode, image_size, camera, variation)

    def _build(self, variation: str | Sequence[str]) -> tuple[Panda, list[Dim], list[Dim]]:
        panda = Panda(load_model(SCENE, variation), self.name, self.rotation)
        panda.place((panda.workspace.low + panda.workspace.high) / 2)
        return panda, *panda.workspace.dims()

    def _proprio_space(self) -> gym.spaces.Box:
        return gym.spaces.Box(*self._simulation.workspace.measured_ends())

    def _act(self, action: np.ndarray) -> None:
        self._simulation.step(action)

    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        return self._simulation.pose_of(data)

    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        """Position of the gripper [3] and the hand's angles [0, 1 or 3]."""
        return self._simulation.pose_of(data)[:-1]

    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        return float(np.linalg.norm(judged[:3] - goal[:3]))

    def _meets(self, judged: np.ndarray, goal: np.ndarray) -> bool:
        near = self._distance(judged, goal) <= self.success_distance
        return near and size_of(turn_between(judged[3:], goal[3:])) <= self.success_turn

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Two poses drawn evenly from the workspace, at least 10 cm apart."""
        workspace = self._simulation.workspace
        while True:
            start, goal = workspace.draw(rng), workspace.draw(rng)
            if np.linalg.norm(start[:3] - goal[:3]) >= LEAST_START_DISTANCE:
                break
        states = []
        for pose in (start, goal):
            self._simulation.place(pose)
            states.append(self._simulation.state())
        return states[0], states[1]

    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        workspace = self._simulation.workspace
        bound = workspace.bound

        def noisy(rng: np.random.Generator) -> Demonstrator:
            expert = ReachExpert(workspace, gain=rng.uniform(0.3, 0.9))
            return NoisyExpert(expert, ColouredNoise(rng, 0.5 * bound, correlation=0.7), -bound, bound)

        return {
            "expert": lambda rng: ReachExpert(workspace),
            "noisy": noisy,
            "explore": lambda rng: WorkspaceExplorer(rng, workspace),
        }
