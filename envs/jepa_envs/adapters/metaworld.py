"""Metaworld: fifty tasks of a Sawyer arm, whose goal is the last frame of Metaworld's own expert."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from jepa_envs.adapters.goals import by_expert
from jepa_envs.adapters.requirements import require
from jepa_envs.adapters.task import AdaptedTask
from jepa_envs.renderer import FreeCamera
from jepa_envs.task import Dim

MUJOCO_BEFORE = "4.0"
STEPS_PER_ACTION = 5  # of 0.0125 s
_STEP = 0.01 * STEPS_PER_ACTION  # metres; what the environment moves the hand's target by
_LOW, _HIGH = (-0.525, 0.348, -0.0525), (0.525, 1.025, 0.7)  # metres; the environment's bounds of the hand
_EXPERT_STEPS = 100
_WITHOUT_OBJECT = ("reach", "reach_wall")  # there is one, which nobody touches


def make(task: str, render_mode: str | None = None, image_size: int = 64, camera: str | None = None) -> AdaptedTask:
    """The task ``metaworld_TASK``, Metaworld's TASK-v3 with underscores for hyphens.

    ``proprio``, float32 [4]: x, y, z of the hand (metres, world) and how far the fingers are open (0 to 1). Action:
    float32 [4], the motion of the hand's target (metres within 0.05 on each axis) and the fingers' effort (-1 opens,
    1 closes), held for 0.0625 s. Success: the environment's own flag. ``distance`` is that of hand and objects from
    where they are in the goal.

    Raises:
        ImportError: metaworld is not installed, or does not work with this MuJoCo.
    """
    environments = require("metaworld", "metaworld.env_dict", MUJOCO_BEFORE).ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    policies = require("metaworld", "metaworld.policies").ENV_POLICY_MAP
    name = f"{task.replace('_', '-')}-v3"
    env = environments[f"{name}-goal-observable"](seed=0)
    env._freeze_rand_vec, env.seeded_rand_vec = False, True  # each reset draws another goal, from its seed
    env.max_path_length = sys.maxsize  # whoever plans counts steps
    policy = policies[name]()
    return AdaptedTask(
        env,
        name=f"metaworld_{task}",
        actions=[
            *(Dim(f"d{axis}", "m", -_STEP, _STEP, "world", integrates=axis) for axis in "xyz"),
            Dim("gripper", "1", -1.0, 1.0, "gripper"),
        ],
        states=[
            *(Dim(axis, "m", low, high, "world") for axis, low, high in zip("xyz", _LOW, _HIGH, strict=True)),
            Dim("opening", "1", 0.0, 1.0, "gripper"),
        ],
        proprio=lambda env: env._get_curr_obs_combined_no_goal()[:4],
        achieved=lambda env: np.concatenate([env.get_endeff_pos(), env._get_pos_objects()]),
        solved=is_solved,
        goal_attributes=("_target_pos",),
        goal=by_expert(is_solved, _EXPERT_STEPS),
        expert=lambda env: _expert(env, policy),
        object_position=None if task in _WITHOUT_OBJECT else lambda env: env._get_pos_objects(),
        free_cameras={"upright": FreeCamera((0.0, 0.68, 0.12), distance=1.15, azimuth=140.0, elevation=-32.0)},
        cameras=("topview", "corner", "corner2", "corner3", "corner4", "gripperPOV"),
        hidden_sites=("*",),
        steps_per_action=STEPS_PER_ACTION,
        reset_env=_reset,
        render_mode=render_mode,
        image_size=image_size,
        camera=camera,
    )


def is_solved(env: Any) -> bool:
    """The environment's flag where it stands."""
    return bool(env.evaluate_state(_observation(env), np.zeros(4, np.float32))[1]["success"])


def _reset(env: Any, seed: int) -> None:
    env.seed(seed)  # reset ignores its own seed
    env.reset()


def _expert(env: Any, policy: Any) -> np.ndarray:
    with warnings.catch_warnings():  # that it asks for more than the bounds, which is what it does on long ways
        warnings.simplefilter("ignore")
        return policy.get_action(_observation(env))


def _observation(env: Any) -> np.ndarray:
    """What the environment's `step` returns, without what it remembers of it."""
    previous = env._prev_obs
    observation = env._get_obs()
    env._prev_obs = previous
    space = env.sawyer_observation_space
    return np.clip(observation, space.low, space.high)
