"""PointMaze as a goal-image task."""

from __future__ import annotations

import functools

import jepa_envs
import numpy as np
import pytest
from jepa_envs.adapter_names import NAMES
from jepa_envs.adapters import AdaptedTask, check_task

from jepa_robot.spec import Contract

pytestmark = pytest.mark.pointmaze
TASKS = [name.short_name for name in NAMES if name.short_name.startswith("point_maze_")]


@functools.cache
def task(name: str) -> AdaptedTask:
    return jepa_envs.make(name).unwrapped


@pytest.mark.parametrize("name", TASKS)
def test_states_hold_everything_and_the_expert_arrives(name: str) -> None:
    env = jepa_envs.make(name, image_size=16).unwrapped
    check_task(env)
    limit = next(n.max_episode_steps for n in NAMES if n.short_name == name)
    for seed in range(4):
        start, goal = env.sample_start_and_goal(np.random.default_rng(seed))
        env.reset(options={"state": start, "goal_state": goal})
        expert = env.make_demonstrator("expert", np.random.default_rng(0))
        info = {"success": False}
        steps = 0
        while not info["success"] and steps < limit:
            *_, info = env.step(expert.act(env.state(), goal))
            steps += 1
        assert info["success"], f"seed {seed}: {info}"


def test_contract_and_proprioception() -> None:
    env = task("point_maze_umaze")
    contract = Contract.from_dict(env.contract())
    assert contract.fps == 20.0 and [d.unit for d in contract.states] == ["m", "m", "m/s", "m/s"]
    env.reset(seed=0)
    env.env.data.qpos[:], env.env.data.qvel[:] = (0.5, -1.0), (0.1, 0.2)
    np.testing.assert_allclose(env.observe()["proprio"], [0.5, -1.0, 0.1, 0.2])


def test_success_is_half_a_metre_from_the_environments_own_goal() -> None:
    env = task("point_maze_open")
    start, goal = env.sample_start_and_goal(np.random.default_rng(1))
    env.restore(goal)
    own = env.env.goal.copy()
    np.testing.assert_array_equal(env.env.data.qpos, own)
    for distance, success in ((0.499, True), (0.501, False)):
        env.env.data.qpos[:] = own + [0.6 * distance, -0.8 * distance]
        assert env.is_success(env.state(), goal) is success
    assert env.distance(start, goal) > 0.5


def test_the_picture_shows_the_ball_in_every_corner_and_no_mark_of_the_goal() -> None:
    env = task("point_maze_umaze")
    env.reset(seed=0)
    for cell in ((1, 1), (1, 3), (3, 3), (3, 1)):
        place = env.env.maze.cell_rowcol_to_xy(np.array(cell))
        env.env.data.qpos[:] = place
        env.restore(env.state())
        red, green, blue = np.moveaxis(env.observe()["top"].astype(int), -1, 0)
        ball = (green > red + 25) & (green > blue + 15)
        assert ball.sum() >= 5 and not ((red > 150) & (green < 60)).any()
        rows, columns = np.nonzero(ball)
        # From above, x to the right and y up; the picture is 5 x 1.25 m of the floor, up to the view's perspective.
        metres_a_pixel = (columns.mean() - 31.5) / place[0], (31.5 - rows.mean()) / place[1]
        np.testing.assert_allclose(metres_a_pixel, metres_a_pixel[0], rtol=0.1)
        assert 8 < metres_a_pixel[0] < 16


def test_the_shortest_way_is_the_one_through_the_opening() -> None:
    from jepa_envs.adapters.point_maze import next_cell

    maze = [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    way, cell = [], (1, 1)
    while cell != (3, 1):
        cell = next_cell(maze, cell, (3, 1))
        way.append(cell)
    assert way == [(1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
    assert next_cell(maze, (3, 1), (3, 1)) == (3, 1)
