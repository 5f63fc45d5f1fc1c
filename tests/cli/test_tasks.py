"""``jepa-robot tasks``: the list, and the description of one."""

from __future__ import annotations

import json

import gymnasium as gym
import jepa_envs
import pytest
from command_line import assert_refused


def test_every_registered_task_is_listed(call):
    code, out, _ = call("tasks", "--json")
    listed = {task["id"]: task for task in json.loads(out)}
    assert code == 0 and set(listed) == {name for name in gym.registry if name.startswith("jepa_robot/")}
    assert listed["jepa_robot/PushT-v0"] == {"task": "push_t", "id": "jepa_robot/PushT-v0", "extra": ""}
    assert listed["jepa_robot/MetaworldDoorOpen-v0"]["extra"] == "metaworld"
    assert listed["jepa_robot/FetchPush-v0"]["extra"] == "fetch"
    assert listed["jepa_robot/PointMazeOpen-v0"]["extra"] == "pointmaze"
    assert all(task in call("tasks")[1] for task in jepa_envs.TASKS)


def test_one_is_described(call):
    code, out, _ = call("tasks", "two_rooms", "--json")
    facts = json.loads(out)
    env = jepa_envs.make("two_rooms").unwrapped
    assert code == 0 and facts["cameras"] == list(env.cameras) and facts["max_steps"] == 100
    assert [dim["high"] for dim in facts["actions"]] == pytest.approx(env.action_space.high)
    assert facts["demonstrators"] == ["expert", "noisy", "explore"]
    _, out, _ = call("tasks", "two_rooms")
    assert "Success: within 4.5 units of the goal." in out and "`" not in out
    assert "dx    cm    board  -3.6  3.6" in out


def test_options_are_listed(call):
    facts = json.loads(call("tasks", "push_t", "--json").out)
    assert facts["options"] == [
        {
            "name": "action",
            "required": False,
            "default": "absolute",
            "values": ["absolute", "relative"],
            "expected": "one of absolute, relative",
        }
    ]
    for value in facts["options"][0]["values"]:
        jepa_envs.make("push_t", options={"action": value}).close()
    lines = call("tasks", "push_t").out.splitlines()
    assert lines[-3:] == [
        "options, as --task-option NAME=VALUE",
        "  name    default   value",
        "  action  absolute  one of absolute, relative",
    ]
    assert json.loads(call("tasks", "two_rooms", "--json").out)["options"] == []


def test_unknown(call):
    assert_refused(call("tasks", "nowhere"), "there is no task 'nowhere'", "push_t")
