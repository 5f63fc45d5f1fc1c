"""PandaReach: bring the gripper to where a goal picture shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np

from jepa_envs.demonstrators import ColouredNoise, NoisyExpert
from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import Demonstrator, State
from jepa_envs.panda import CONTROL_PERIOD, HIGH, LOW, SCENE, Panda, pose_dims
from jepa_envs.panda_demonstrators import ReachExpert, WorkspaceExplorer
from jepa_envs.task import MujocoGoalTask
from jepa_envs.variation import load_model

ACTION_HIGH = np.array([0.05, 0.05, 0.05, 0.25], np.float32)  # dx, dy, dz metres; closedness
LEAST_START_DISTANCE = 0.10  # metres between start and goal

_POSE = (("x", "m"), ("y", "m"), ("z", "m"), ("gripper", "1"))
_BOUND = ACTION_HIGH.astype(float)


class PandaReachEnv(MujocoGoalTask):
    """A Panda arm above a table moves its gripper to a goal, at 5 steps a second.

    ``proprio``, float32 [4]: x, y, z of the point between the fingertips (metres, base frame) and the gripper's
    closedness (0 open, 1 closed).

    Action: float32 [4], (dx, dy, dz) metres within 0.05 and a change of closedness within 0.25; what is beyond is
    clipped, and so is motion out of the workspace. The hand points down throughout.

    Success: the gripper is within 2.5 cm of the goal.

    Args: as `jepa_envs.task.MujocoGoalTask`.
    """

    name = "panda_reach"
    cameras = ("front", "left", "top")
    success_distance = 0.025  # metres
    straight = True
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}
    _simulation: Panda

    def _build(self, variation: str | Sequence[str]) -> tuple[Panda, list[Dim], list[Dim]]:
        panda = Panda(load_model(SCENE, variation), self.name)
        panda.place((LOW + HIGH) / 2)
        return panda, *pose_dims(_POSE, ACTION_HIGH, LOW, HIGH)

    def _proprio_space(self) -> gym.spaces.Box:
        reach = np.array([1.0, 1.0, 1.5], np.float32)  # of the arm, in case it overshoots its workspace
        return gym.spaces.Box(np.append(-reach, np.float32(0)), np.append(reach, np.float32(1)))

    def _act(self, action: np.ndarray) -> None:
        self._simulation.step(action)

    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        return self._simulation.pose_of(data)

    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        """Position of the gripper [3]."""
        return self._simulation.pose_of(data)[:3]

    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        return float(np.linalg.norm(judged - goal))

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Two poses drawn evenly from the workspace, at least 10 cm apart."""
        while True:
            start, goal = rng.uniform(LOW, HIGH), rng.uniform(LOW, HIGH)
            if np.linalg.norm(start[:3] - goal[:3]) >= LEAST_START_DISTANCE:
                break
        states = []
        for pose in (start, goal):
            self._simulation.place(pose)
            states.append(self._simulation.state())
        return states[0], states[1]

    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        def noisy(rng: np.random.Generator) -> Demonstrator:
            expert = ReachExpert(_BOUND, gain=rng.uniform(0.3, 0.9))
            return NoisyExpert(expert, ColouredNoise(rng, 0.5 * _BOUND, correlation=0.7), -_BOUND, _BOUND)

        return {
            "expert": lambda rng: ReachExpert(_BOUND),
            "noisy": noisy,
            "explore": lambda rng: WorkspaceExplorer(rng, _BOUND),
        }
