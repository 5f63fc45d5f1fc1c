"""Fetch as goal-image tasks."""

from __future__ import annotations

import functools
import json

import jepa_envs
import numpy as np
import pytest
from jepa_envs.adapters import AdaptedTask, check_task

from jepa_robot.spec import Contract

pytestmark = pytest.mark.fetch
TASKS = ["fetch_reach", "fetch_push", "fetch_pick_and_place"]


@functools.cache
def task(name: str) -> AdaptedTask:
    return jepa_envs.make(name).unwrapped


@pytest.mark.parametrize("name", TASKS)
def test_states_hold_everything(name: str) -> None:
    check_task(task(name))


@pytest.mark.parametrize("name", TASKS)
def test_the_expert_reaches_the_goals_that_it_made(name: str) -> None:
    env, solved = jepa_envs.make(name, image_size=16).unwrapped, 0
    for seed in range(20):
        start, goal = env.sample_start_and_goal(np.random.default_rng(seed))
        _, info = env.reset(options={"state": start, "goal_state": goal})
        expert, steps = env.make_demonstrator("expert", np.random.default_rng(0)), 0
        while not info["success"] and steps < 50:
            *_, info = env.step(expert.act(env.state(), goal))
            steps += 1
        assert steps > 0
        solved += info["success"]
    assert solved >= 19


@pytest.mark.parametrize("name", TASKS)
def test_the_contract_has_what_moves(name: str) -> None:
    contract = Contract.from_dict(task(name).contract())
    assert contract.fps == 25.0 and contract.task == name
    gripper = ["gripper"] if name == "fetch_pick_and_place" else []
    assert [d.name for d in contract.actions] == ["dx", "dy", "dz", *gripper]
    assert [d.integrates for d in contract.actions][:3] == ["x", "y", "z"]


def test_the_gripper_moves_by_what_an_action_says() -> None:
    env = task("fetch_reach")
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    for axis in range(3):
        env.reset(options={"state": start, "goal_state": goal})
        action = np.zeros(3, np.float32)
        action[axis] = 0.02
        places = [env.step(action)[0]["proprio"][:3] for _ in range(4)]
        moved = np.diff(places, axis=0)[1:]
        np.testing.assert_allclose(moved[:, axis], 0.02, rtol=0.15)
        assert np.abs(np.delete(moved, axis, 1)).max() < 0.004


def test_fingers_close_around_the_object_in_the_goal_picture_of_lifting() -> None:
    env = task("fetch_pick_and_place")
    lifted = 0
    for seed in range(6):
        _, goal = env.sample_start_and_goal(np.random.default_rng(seed))
        env.restore(goal)
        thing, gripper = env.env.data.site("object0").xpos, env.env.data.site("robot0:grip").xpos
        if thing[2] > 0.5:
            lifted += 1
            assert np.linalg.norm(thing - gripper) < 0.03
            assert 0.04 < env.observe()["proprio"][3] < 0.06  # the object's edge is 5 cm
    assert lifted >= 1


@pytest.mark.parametrize(("name", "what"), [("fetch_reach", "robot0:grip"), ("fetch_push", "object0")])
def test_success_is_five_centimetres_of_gripper_or_object(name: str, what: str) -> None:
    env = task(name)
    start, goal = env.sample_start_and_goal(np.random.default_rng(3))
    places = []
    for state in (start, goal):
        env.restore(state)
        places.append(env.env.data.site(what).xpos.copy())
    assert env.distance(start, goal) == pytest.approx(np.linalg.norm(places[0] - places[1]), abs=1e-9)
    assert env.is_success(goal, goal) and not env.is_success(start, goal)


@pytest.mark.parametrize("name", TASKS)
def test_the_object_moves_where_there_is_one(name: str) -> None:
    env = task(name)
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    if name == "fetch_reach":
        assert env.object_moved(start, goal) is None
    else:
        assert env.object_moved(start, goal) is True and env.object_moved(goal, goal) is False


def test_a_goal_picture_from_a_file_is_the_same_in_another_process_and_has_no_mark() -> None:
    env, other = task("fetch_push"), jepa_envs.make("fetch_push").unwrapped
    _, goal = env.sample_start_and_goal(np.random.default_rng(2))
    picture = other.render_goal(json.loads(json.dumps(goal)))
    np.testing.assert_array_equal(picture, env.render_goal(goal))
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    assert not ((red > 150) & (green < 60) & (blue < 60)).any()
    assert ((picture.max(-1) < 60).sum() > 5) and picture.std() > 20
