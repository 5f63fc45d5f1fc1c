"""PandaReach: bring the gripper to where a goal picture shows it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.panda import CONTROL_PERIOD, HIGH, LOW, Panda
from jepa_envs.renderer import Renderer

CAMERA = "front"
ACTION_HIGH = np.array([0.05, 0.05, 0.05, 0.25], np.float32)  # dx, dy, dz metres; closedness
SUCCESS_DISTANCE = 0.025  # metres
LEAST_START_DISTANCE = 0.10  # metres between start and goal

_POSE_NAMES = ("x", "y", "z", "gripper")


class PandaReachEnv(gym.Env[dict[str, np.ndarray], np.ndarray]):
    """A Panda arm above a table moves its gripper to a goal, at 5 steps a second.

    Observation: ``front``, uint8 [image_size, image_size, 3] RGB, and ``proprio``, float32 [4]: x, y, z of the point
    between the fingertips (metres, base frame) and the gripper's closedness (0 open, 1 closed).

    Action: float32 [4], (dx, dy, dz) metres within 0.05 and a change of closedness within 0.25; what is beyond is
    clipped, and so is motion out of the workspace. The hand points down throughout.

    Reward: 1 where the gripper is within 2.5 cm of the goal, else 0. Episodes only end by their time limit: whoever
    plans decides when it has arrived, and ``info["success"]`` and ``info["distance_m"]`` say how well.

    Args:
        render_mode: None or ``"rgb_array"`` (`render` returns the camera's picture).
        image_size: height and width of the pictures in pixels.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}

    def __init__(self, render_mode: str | None = None, image_size: int = 64):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}, expected None or 'rgb_array'")
        if not 16 <= image_size <= 2048:
            raise ValueError(f"image_size is {image_size}, expected 16 to 2048 pixels")
        self.render_mode = render_mode
        self.image_size = int(image_size)
        self._panda = Panda()
        self._renderer = Renderer(self._panda.model, CAMERA, self.image_size)
        reach = np.array([1.0, 1.0, 1.5], np.float32)
        self.observation_space = gym.spaces.Dict(
            {
                CAMERA: gym.spaces.Box(0, 255, (self.image_size, self.image_size, 3), np.uint8),
                "proprio": gym.spaces.Box(np.append(-reach, np.float32(0)), np.append(reach, np.float32(1))),
            }
        )
        self.action_space = gym.spaces.Box(-ACTION_HIGH, ACTION_HIGH)
        self._panda.place((LOW + HIGH) / 2)
        self._goal_position = self._panda.pose[:3]

    # -- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode at a drawn start with a drawn goal.

        Options ``state`` and ``goal_state`` (from `state` or `sample_start_and_goal`) replace either.

        Raises:
            ValueError: an unknown option, or a state that is not one of this environment.
        """
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - {"state", "goal_state"}
        if unknown:
            raise ValueError(f"reset option {sorted(unknown)[0]!r} is unknown, expected 'state' and 'goal_state'")
        start, goal = self.sample_start_and_goal(self.np_random)
        goal_position = self._position(options.get("goal_state", goal))
        self.restore(options.get("state", start))
        self._goal_position = goal_position
        return self.observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control period of 0.2 s.

        Raises:
            ValueError: the action has the wrong shape or is not finite.
        """
        action = np.asarray(action, np.float32)
        if action.shape != self.action_space.shape:
            raise ValueError(f"action has shape {action.shape}, expected {self.action_space.shape}")
        if not np.all(np.isfinite(action)):
            raise ValueError(f"action is {action.tolist()}, expected finite numbers")
        self._panda.step(np.clip(action, -ACTION_HIGH, ACTION_HIGH).astype(float))
        info = self._info()
        return self.observe(), float(info["success"]), False, False, info

    def render(self) -> np.ndarray | None:
        """The camera's picture uint8 [H, W, 3], or None without a render mode."""
        return self._renderer.render(self._panda.data) if self.render_mode else None

    def close(self) -> None:
        self._renderer.close()

    # -- GoalImageTask --------------------------------------------------------------------------------------------

    def contract(self) -> dict[str, Any]:
        """See `jepa_envs.goal_image.GoalImageTask`; the schema is that of ``jepa_robot.spec.Contract.to_dict``."""

        def dim(name: str, index: int, low: float, high: float, integrates: str | None) -> dict[str, Any]:
            unit = "1" if _POSE_NAMES[index] == "gripper" else "m"
            bounds = {"low": round(float(low), 6), "high": round(float(high), 6)}
            normalisation = {"mean": None, "std": None}
            return {"name": name, "unit": unit, "frame": "base", **bounds, "integrates": integrates, **normalisation}

        camera = {"name": CAMERA, "height": self.image_size, "width": self.image_size}
        return {
            "task": "panda_reach",
            "cameras": [camera | {"crop": None, "mean": None, "std": None}],
            "fps": 1 / CONTROL_PERIOD,
            "actions": [
                dim(name, i, -ACTION_HIGH[i], ACTION_HIGH[i], _POSE_NAMES[i])
                for i, name in enumerate(("dx", "dy", "dz", "gripper"))
            ],
            "states": [dim(name, i, LOW[i], HIGH[i], None) for i, name in enumerate(_POSE_NAMES)],
            "action_repeat": 1,
            "format": "jepa_robot.contract/1",
        }

    def observe(self) -> dict[str, np.ndarray]:
        """The present observation."""
        return {CAMERA: self._renderer.render(self._panda.data), "proprio": self._panda.pose.astype(np.float32)}

    def state(self) -> State:
        """The full present state."""
        return self._panda.state()

    def restore(self, state: State) -> None:
        """Go to a state, exactly.

        Raises:
            ValueError: the state is not one of this environment.
        """
        self._panda.restore(state)

    def sample_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Two poses drawn evenly from the workspace, at least 10 cm apart, standing still."""
        while True:
            start, goal = rng.uniform(LOW, HIGH), rng.uniform(LOW, HIGH)
            if np.linalg.norm(start[:3] - goal[:3]) >= LEAST_START_DISTANCE:
                break
        present = self.state()
        states = []
        for pose in (start, goal):
            self._panda.place(pose)
            states.append(self.state())
        self.restore(present)
        return states[0], states[1]

    def render_goal(self, state: State) -> np.ndarray:
        """The camera's picture uint8 [H, W, 3] of a state; the simulation is left as it was."""
        return self._renderer.render(self._panda.data_of(state))

    def distance(self, state: State, goal_state: State) -> float:
        """Distance between the two gripper positions, metres."""
        return float(np.linalg.norm(self._position(state) - self._position(goal_state)))

    def is_success(self, state: State, goal_state: State) -> bool:
        """Whether the gripper is within 2.5 cm of the goal's."""
        return self.distance(state, goal_state) <= SUCCESS_DISTANCE

    # -------------------------------------------------------------------------------------------------------------

    def _position(self, state: State) -> np.ndarray:
        return self._panda.pose_of(self._panda.data_of(state))[:3]

    def _info(self) -> dict[str, Any]:
        distance = float(np.linalg.norm(self._panda.pose[:3] - self._goal_position))
        return {"success": distance <= SUCCESS_DISTANCE, "distance_m": distance}
