"""PointMaze of gymnasium-robotics: a ball that is pushed through a maze, to where a goal picture shows it."""

from __future__ import annotations

import collections
from typing import Any

import gymnasium as gym
import numpy as np

from jepa_envs.adapters.goals import GoalMaking
from jepa_envs.adapters.requirements import require
from jepa_envs.adapters.task import AdaptedTask
from jepa_envs.gl import mujoco
from jepa_envs.renderer import FreeCamera
from jepa_envs.task import Dim

MAZES = {"umaze": "UMaze", "open": "Open", "medium": "Medium", "large": "Large"}
STEPS_PER_ACTION = 5  # of 0.01 s
SUCCESS_DISTANCE = 0.5  # metres

# Limits of the environment: N, and m/s, which one of its steps may exceed by what the force adds.
_FORCE, _SPEED = 100.0, 5.25
_STIFFNESS, _DAMPING = 0.6, 0.25  # the expert's, in shares of the full force a metre and a metre/s


def make(maze: str, render_mode: str | None = None, image_size: int = 64, camera: str | None = None) -> AdaptedTask:
    """The task ``point_maze_MAZE``.

    ``proprio``, float32 [4]: position x, y (metres) and velocity (metres/s). Action: float32 [2], the force on the ball
    (N within 100), held for 0.05 s. Success: the ball is within 0.5 m of the goal, which is the environment's own.

    Raises:
        ImportError: gymnasium-robotics is not installed.
    """
    gym.register_envs(require("pointmaze", "gymnasium_robotics"))
    env = gym.make(f"PointMaze_{MAZES[maze]}-v3", disable_env_checker=True).unwrapped
    height, width = env.maze.map_length, env.maze.map_width
    return AdaptedTask(
        env,
        name=f"point_maze_{maze}",
        actions=[Dim(f"force_{axis}", "N", -_FORCE, _FORCE, "maze") for axis in "xy"],
        states=[
            Dim("x", "m", -width / 2, width / 2, "maze"),
            Dim("y", "m", -height / 2, height / 2, "maze"),
            *(Dim(f"velocity_{axis}", "m/s", -_SPEED, _SPEED, "maze") for axis in "xy"),
        ],
        proprio=lambda env: np.concatenate([env.data.qpos, env.data.qvel]),
        achieved=lambda env: env.data.qpos,
        success_distance=SUCCESS_DISTANCE,
        goal_attributes=("goal",),
        goal=at_own_goal,
        expert=expert,
        free_cameras={
            "top": FreeCamera((0.0, 0.0, 0.0), distance=1.25 * max(height, width), azimuth=90.0, elevation=-90.0),
            "tilted": FreeCamera((0.0, 0.0, 0.0), distance=1.3 * max(height, width), azimuth=90.0, elevation=-50.0),
        },
        hidden_sites=("target",),
        steps_per_action=STEPS_PER_ACTION,
        render_mode=render_mode,
        image_size=image_size,
        camera=camera,
    )


def at_own_goal(task: GoalMaking, rng: np.random.Generator) -> bool:
    """The ball lies still where the environment has its goal."""
    env = task.env
    env.data.qpos[:], env.data.qvel[:] = env.goal, 0.0
    mujoco.mj_forward(env.model, env.data)
    return True


def expert(env: Any) -> np.ndarray:
    """The force, in shares of the full one [2], towards the next cell on the shortest way to the goal."""
    here, goal = (tuple(int(i) for i in env.maze.cell_xy_to_rowcol(xy)) for xy in (env.data.qpos, env.goal))
    following = next_cell(env.maze.maze_map, here, goal)
    place = env.goal if here == goal else env.maze.cell_rowcol_to_xy(np.array(following))
    force = _STIFFNESS * (place - env.data.qpos) - _DAMPING * env.data.qvel
    return np.clip(force, -1.0, 1.0)


def next_cell(maze: list[list], here: tuple[int, int], goal: tuple[int, int]) -> tuple[int, int]:
    """The cell (row, column) after ``here`` on the shortest way to ``goal``, which is also that to stay at there."""
    distance, queue = {goal: 0}, collections.deque([goal])
    while queue:
        row, column = queue.popleft()
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if maze[cell[0]][cell[1]] != 1 and cell not in distance:
                distance[cell] = distance[row, column] + 1
                queue.append(cell)
    row, column = here
    beside = [here, (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return min((cell for cell in beside if cell in distance), key=distance.__getitem__)
