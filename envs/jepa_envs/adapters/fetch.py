"""Fetch of gymnasium-robotics: an arm that reaches, pushes and lifts, to what a goal picture shows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from jepa_envs.adapters.fetch_experts import EXPERTS
from jepa_envs.adapters.goals import by_expert
from jepa_envs.adapters.requirements import require
from jepa_envs.adapters.task import AdaptedTask
from jepa_envs.renderer import FreeCamera
from jepa_envs.task import Dim

TASKS = {"reach": "FetchReach", "push": "FetchPush", "pick_and_place": "FetchPickAndPlace"}
MUJOCO_BEFORE = "3.12"
SUCCESS_DISTANCE = 0.05  # metres, the environment's own

# The environment asks for 0.05 m a step, of which the arm does two thirds.
_STEP = 0.033
_LOW, _HIGH = np.array([1.05, 0.4, 0.4]), np.array([1.55, 1.1, 0.9])  # metres; where goals are, and some more
_FINGER = 0.05  # metres that each finger opens
_GRIPPER = 3  # index in the environment's action
_EXPERT_STEPS, _SETTLE = 60, 5


def make(task: str, render_mode: str | None = None, image_size: int = 64, camera: str | None = None) -> AdaptedTask:
    """The task ``fetch_TASK``.

    ``proprio``, float32 [4]: x, y, z of the point between the fingertips (metres, world) and how far the fingers are
    open (metres). Action: float32 [3], the motion of the gripper (metres within 0.033 on each axis) at 25 steps a
    second; for ``pick_and_place`` also the fingers' (1 opens, -1 closes). Success: what the environment judges by (the
    gripper of ``reach``, else the object) is within 5 cm of where it is in the goal. The goal is the expert's last
    frame.

    Raises:
        ImportError: gymnasium-robotics is not installed, or does not work with this MuJoCo.
    """
    gym.register_envs(require("fetch", "gymnasium_robotics", MUJOCO_BEFORE))
    env = gym.make(f"{TASKS[task]}-v4", disable_env_checker=True).unwrapped
    actions = [Dim(f"d{axis}", "m", -_STEP, _STEP, "world", integrates=axis) for axis in "xyz"]
    if not env.block_gripper:
        actions.append(Dim("gripper", "1", -1.0, 1.0, "gripper"))
    return AdaptedTask(
        env,
        name=f"fetch_{task}",
        actions=actions,
        states=[
            *(Dim(axis, "m", low, high, "world") for axis, low, high in zip("xyz", _LOW, _HIGH, strict=True)),
            Dim("opening", "m", 0.0, 2 * _FINGER, "gripper"),
        ],
        proprio=_proprio,
        achieved=lambda env: env._get_obs()["achieved_goal"],
        success_distance=SUCCESS_DISTANCE,
        goal_attributes=("goal",),
        goal=by_expert(is_solved, _EXPERT_STEPS, _SETTLE),
        expert=EXPERTS[task],
        object_position=(lambda env: env.data.site("object0").xpos) if env.has_object else None,
        free_cameras={
            "front": FreeCamera((1.3, 0.75, 0.5), distance=1.2, azimuth=140.0, elevation=-30.0),
            "opposite": FreeCamera((1.25, 0.75, 0.5), distance=1.0, azimuth=180.0, elevation=-40.0),
        },
        hidden_sites=("*",),
        straight=task == "reach",
        fixed={_GRIPPER: 0.0} if env.block_gripper else {},
        render_mode=render_mode,
        image_size=image_size,
        camera=camera,
    )


def is_solved(env: Any) -> bool:
    """Whether the environment's own goal is reached."""
    return bool(env._is_success(env._get_obs()["achieved_goal"], env.goal))


def _proprio(env: Any) -> np.ndarray:
    fingers = [env.data.joint(f"robot0:{side}_gripper_finger_joint").qpos[0] for side in ("l", "r")]
    return np.array([*env.data.site("robot0:grip").xpos, sum(fingers)])
