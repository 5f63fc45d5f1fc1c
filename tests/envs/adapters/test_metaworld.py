"""Metaworld as goal-image tasks."""

from __future__ import annotations

import functools
import json

import jepa_envs
import numpy as np
import pytest
from jepa_envs.adapter_names import METAWORLD
from jepa_envs.adapters import AdaptedTask, check_task

from jepa_robot.spec import Contract

pytestmark = pytest.mark.metaworld
FEW = ["metaworld_reach", "metaworld_push", "metaworld_reach_wall", "metaworld_door_open"]


@functools.cache
def task(name: str) -> AdaptedTask:
    return jepa_envs.make(name).unwrapped


def test_the_names_are_metaworlds() -> None:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert sorted(f"{name.replace('_', '-')}-v3" for name in METAWORLD) == sorted(ALL_V3_ENVIRONMENTS)


@pytest.mark.parametrize("name", FEW)
def test_states_hold_everything(name: str) -> None:
    check_task(task(name))


@pytest.mark.parametrize("name", [f"metaworld_{name}" for name in METAWORLD])
def test_the_expert_reaches_a_goal_that_it_made(name: str) -> None:
    env = jepa_envs.make(name).unwrapped
    start, goal = env.sample_start_and_goal(np.random.default_rng(1))
    assert env.is_success(goal, goal) and not env.is_success(start, goal)
    env.restore(start)
    expert, steps = env.make_demonstrator("expert", np.random.default_rng(0)), 0
    while not env.is_success(env.state(), goal) and steps < 100:
        env._act(expert.act(env.state(), goal).astype(float))  # a step without its picture
        steps += 1
    assert steps < 100


@pytest.mark.parametrize(
    ("name", "moved"), [("metaworld_reach", None), ("metaworld_reach_wall", None), ("metaworld_door_open", True)]
)
def test_the_object_moves_where_one_is_to_be_moved(name: str, moved: bool | None) -> None:
    env = task(name)
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    assert env.object_moved(start, goal) is moved
    assert not env.object_moved(goal, goal)


def test_the_flag_is_the_environments_own_where_its_target_is_that_of_the_goal() -> None:
    env = task("metaworld_reach")
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    _, other = env.sample_start_and_goal(np.random.default_rng(1))
    target = np.array(goal["attributes"]["_target_pos"]["__array__"])
    verdicts = set()
    for state in (start, goal, other):
        env.restore(state)
        near = bool(np.linalg.norm(env.env.tcp_center - target) <= 0.05)
        assert env.is_success(state, goal) is near
        verdicts.add(near)
    assert verdicts == {True, False}


def test_the_goal_of_door_opening_is_an_open_door_at_the_same_place() -> None:
    env = task("metaworld_door_open")
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    doors, angles = [], []
    for state in (start, goal):
        env.restore(state)
        doors.append(env.env.model.body("door").pos.copy())
        angles.append(env.env.data.joint("doorjoint").qpos.item())
    np.testing.assert_array_equal(doors[0], doors[1])
    assert abs(angles[0]) < 0.05 < 0.5 < abs(angles[1])
    other, _ = env.sample_start_and_goal(np.random.default_rng(1))
    env.restore(other)
    assert not np.array_equal(env.env.model.body("door").pos, doors[0])


def test_the_contract_and_how_far_an_action_moves_the_hand() -> None:
    env = task("metaworld_reach")
    contract = Contract.from_dict(env.contract())
    assert contract.fps == 16.0 and [d.name for d in contract.actions] == ["dx", "dy", "dz", "gripper"]
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    env.reset(options={"state": start, "goal_state": goal})
    action = np.array([0.0, 0.0, 0.03, 0.0], np.float32)
    heights = [env.step(action)[0]["proprio"][2] for _ in range(5)]
    np.testing.assert_allclose(np.diff(heights)[1:], 0.03, rtol=0.2)


def test_episodes_may_be_longer_than_metaworlds() -> None:
    env = jepa_envs.make("metaworld_reach", image_size=16).unwrapped
    env.reset(seed=0)
    for _ in range(110):  # 550 of its steps
        env.step(env.action_space.sample())


def test_a_goal_picture_is_the_same_in_another_process() -> None:
    env, other = task("metaworld_push"), jepa_envs.make("metaworld_push").unwrapped
    start, goal = env.sample_start_and_goal(np.random.default_rng(2))
    picture = other.render_goal(json.loads(json.dumps(goal)))
    np.testing.assert_array_equal(picture, env.render_goal(goal))
    assert not np.array_equal(picture, env.render_goal(start))
