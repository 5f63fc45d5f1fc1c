"""Driving to a goal by keys, with a stand-in for the window."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

import numpy as np
import pytest

from jepa_robot.errors import TaskError
from jepa_robot.evaluation.interactive import PAIRS, drive, legend
from jepa_robot.evaluation.tasks import Task
from jepa_robot.spec import Dim


class Window:
    """Presses some keys and is then closed by somebody."""

    def __init__(self, task: Task, keys: Iterable[str]):
        self.task, self.keys = task, keys
        self.closed, self.shown, self.pressed = False, [], False

    def open(self, on_key):
        for key in self.keys:
            on_key(key)
        return self

    def is_open(self):
        return len(self.shown) < len(list(self.keys))

    def show(self):
        self.shown.append(self.task.proprioception(self.task.env.state()))

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def task():
    with Task("two_rooms", 16) as task:
        yield task


def driven(task, *keys, start=(20.0, 30.0)):
    window = Window(task, keys)
    state = drive(task, task.env.state_at(start), lambda line: None, window.open)
    assert window.closed
    return state, window


def test_keys_are_actions_and_enter_saves(task):
    """The same as stepping the environment from the start by half the bound, 3.6 units."""
    state, window = driven(task, "right", "right", "down", "enter")
    task.env.restore(task.env.state_at((20.0, 30.0)))
    for action in ([1.8, 0], [1.8, 0], [0, -1.8]):
        task.env.step(np.array(action, np.float32))
    assert json.loads(json.dumps(state)) == json.loads(json.dumps(task.env.state()))
    np.testing.assert_allclose(window.shown[-1], [23.6, 28.2], atol=1e-4)


def test_a_window_that_is_closed_cancels(task):
    state, window = driven(task, "right", "up")
    assert state is None and len(window.shown) == 2


def test_steps_are_made_larger_and_smaller_within_limits(task):
    _, window = driven(task, "=", "=", "=", "right")
    assert window.shown[-1][0] == pytest.approx(23.6, abs=1e-4)
    _, window = driven(task, *["-"] * 9, "right", start=(10.0, 30.0))
    assert window.shown[-1][0] == pytest.approx(10 + 3.6 / 16, abs=1e-4)


def test_steps_are_taken_back_to_the_start_and_not_beyond(task):
    _, window = driven(task, "right", "up", "backspace", "backspace", "backspace")
    np.testing.assert_allclose(np.array(window.shown)[:, 0], [21.8, 21.8, 21.8, 20, 20], atol=1e-4)
    np.testing.assert_allclose(np.array(window.shown)[:, 1], [30, 31.8, 30, 30, 30], atol=1e-4)


def test_a_wall_cannot_be_driven_through(task):
    """From the middle of the left room to the right, away from the door: what is saved is a state of the task."""
    state, _ = driven(task, *["="] * 1, *["right"] * 12, "enter", start=(20.0, 55.0))
    task.check_state(state, "it")
    assert task.proprioception(state)[0] < 32.5


def test_other_keys_do_nothing_and_waiting_lets_time_pass(task):
    state, window = driven(task, "insert", "space", "enter")
    np.testing.assert_allclose(window.shown, [[20, 30], [20, 30]], atol=1e-4)
    assert state["time"] == pytest.approx(0.1, abs=1e-6)


def test_every_dimension_has_keys_of_its_own(task):
    keys = [key for pair in PAIRS for key in pair]
    assert len(set(keys)) == len(keys)
    dims = [Dim(f"d{i}", "m", "base", -0.5, 0.5) for i in range(7)]
    lines = legend(dims)
    for dim, (more, less) in zip(dims, PAIRS, strict=True):
        assert any(line.startswith(f"{more} / {less} ") and f" {dim.name}, up to 0.5 m" in line for line in lines)


def test_each_pair_of_keys_drives_its_dimension_both_ways(monkeypatch):
    with Task("panda_push", 16, options={"rotation": "yaw"}) as task:
        start, _ = task.env.sample_start_and_goal(np.random.default_rng(0))
        dims, actions, step = len(task.contract.actions), [], task.env.step
        monkeypatch.setattr(task.env, "step", lambda action: (actions.append(action), step(action))[1])
        window = Window(task, [key for pair in PAIRS[:dims] for key in pair])
        assert drive(task, start, lambda line: None, window.open) is None
    half = np.diag(task.contract.action_high) / 2
    assert dims == 5
    np.testing.assert_allclose(actions[::2], half, rtol=1e-6)
    np.testing.assert_allclose(actions[1::2], -half, rtol=1e-6)


def test_actions_that_are_places():
    with Task("push_t", 16) as task:
        start, _ = task.env.sample_start_and_goal(np.random.default_rng(0))
        with pytest.raises(TaskError, match="push_t: has actions that are places.*--task-option action=relative"):
            drive(task, start, print)
    with Task("push_t", 16, options={"action": "relative"}) as task:
        window = Window(task, ["=", "left", "enter"])
        state = drive(task, start, lambda line: None, window.open)
        before, after = task.proprioception(start), task.proprioception(state)
        assert after[0] < before[0] - 1 and after[1] == pytest.approx(before[1], abs=1)


def test_too_many_dimensions_and_no_window(task, monkeypatch):
    start = task.env.state_at((20.0, 30.0))

    def no_window(on_key):
        raise RuntimeError("no display")

    told = []
    with pytest.raises(TaskError, match="--interactive: no display"):
        drive(task, start, told.append, no_window)
    assert told == []
    many = tuple(dataclasses.replace(task.contract.actions[0], name=f"d{i}", integrates=None) for i in range(8))
    monkeypatch.setattr(task, "contract", dataclasses.replace(task.contract, actions=many))
    with pytest.raises(TaskError, match="has 8 dimensions of action; expected at most 7"):
        drive(task, start, told.append)
