"""``jepa-robot goal --state`` with states that cannot be, and with such that are hardly reached."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused

from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task

_PLACE = slice(9, 12)  # of the Panda tasks' object in qpos, after 7 joints and 2 fingers


@pytest.fixture(scope="module")
def goal():
    """A goal of pushing: the box stands on the mat, away from the hand."""
    with Task("panda_push", 16) as task:
        return json.loads(json.dumps(start_and_goal(task.env, 0)[1]))


def write(goal, **changed):
    """State files with other numbers in qpos, by index."""
    qpos = list(goal["qpos"])
    for index, value in changed.items():
        qpos[int(index[1:])] = value
    Path("g.json").write_text(json.dumps(goal | {"qpos": qpos}))
    return "g.json"


def with_object(goal, *place):
    return write(goal, **{f"q{_PLACE.start + i}": value for i, value in enumerate(place)})


def drawn(call, state):
    return call("goal", "--state", state, "-o", "g.png", "--image-size", 16, "--json", "--force")


def test_nothing_speaks_against_a_goal_of_the_task(call, goal):
    for name, at in (("panda_push", None), ("push_t", None), ("two_rooms", None)):
        with Task(name, 16) as task:
            state = start_and_goal(task.env, 1)[1]
        Path("g.json").write_text(json.dumps(state))
        code, out, err = drawn(call, "g.json")
        assert code == 0 and err == "" and json.loads(out)["warnings"] == [], err


def test_an_object_in_the_air_falls(call, goal):
    code, out, err = drawn(call, with_object(goal, 0.5, 0.15, 0.3))
    assert code == 0 and err.count("\n") == 1
    assert err.startswith("warning: g.json: ") and "touches nothing, so that it falls and does not stay there" in err
    assert len(json.loads(out)["warnings"]) == 1 and Path("g.png").exists()


def test_an_object_above_the_hand_s_workspace_is_out_of_reach(call, goal):
    code, out, err = drawn(call, with_object(goal, 0.5, 0.15, 0.36))
    assert code == 0 and "an object is at [0.5, 0.15, 0.36] m, out of reach of the hand, which can go to" in err
    assert err.count("warning: ") == 2  # it falls, too


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0.9, 0.0, 0.032), "the object's centre is at [0.9, 0.0, 0.032] m, expected over the mat and within reach"),
        ((0.5, 0.0, -0.3), "the object's centre is at [0.5, 0.0, -0.3] m"),
    ],
)
def test_an_object_off_the_table_cannot_be(call, goal, tmp_path, place, words):
    assert_refused(drawn(call, with_object(goal, *place)), "g.json: holds a state that", words)
    assert not (tmp_path / "g.png").exists()


def test_an_object_inside_the_hand_cannot_be(call, goal, tmp_path):
    with Task("panda_push", 16) as task:
        hand = task.proprioception(goal)[:3]
    outcome = drawn(call, with_object(goal, *(hand + np.array([0.0, 0.0, 0.05])).tolist()))
    assert_refused(outcome, "g.json: is a state that cannot be: ", "box", " cm inside each other; draw it again")
    assert not (tmp_path / "g.png").exists()


def test_a_finger_beyond_its_range_cannot_be(call, goal):
    outcome = drawn(call, write(goal, q7=0.2))
    assert_refused(outcome, "g.json: is a state that cannot be: left_finger", " is 0.2, expected 0 to 0.04")


def test_the_agent_of_push_t_inside_the_block_cannot_be(call):
    with Task("push_t", 16) as task:
        state = task.env.state_at((256.0, 215.0, 256.0, 200.0, 0.0))
    Path("g.json").write_text(json.dumps(state))
    assert_refused(drawn(call, "g.json"), "agent and bar are ", " cm inside each other")


def test_picture_and_state_are_written_together_or_not_at_all(call, goal, tmp_path):
    Path("g.json").write_text(json.dumps(goal))
    Path("file").touch()
    for output, state in (("g.png", "file/s.json"), ("file/g.png", "s.json")):
        outcome = call("goal", "--state", "g.json", "-o", output, "--save-state", state, "--image-size", 16)
        assert_refused(outcome, "file/", "cannot be written")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "g.json"]
