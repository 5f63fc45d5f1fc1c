"""Whether an adapted environment keeps what a goal-image task promises."""

from __future__ import annotations

import json

import numpy as np

from jepa_envs.adapters.task import AdaptedTask
from jepa_envs.goal_image import State


def check_task(task: AdaptedTask, steps: int = 20, seed: int = 0) -> None:
    """Try out that starts and goals repeat with their seed, and that a state holds all that the future depends on.

    Raises:
        ValueError: they do not; says what differs.
    """
    start, goal = task.sample_start_and_goal(np.random.default_rng(seed))
    again = task.sample_start_and_goal(np.random.default_rng(seed))
    for drawn, repeated, what in zip((start, goal), again, ("start", "goal"), strict=True):
        _require_same(drawn, repeated, f"task {task.name}: the same seed gives another {what}")
    task.reset(options={"state": start, "goal_state": goal})
    rng = np.random.default_rng(seed)
    actions = rng.uniform(task.action_space.low, task.action_space.high, (2 * steps, *task.action_space.shape))
    for action in actions[:steps]:
        task.step(action)
    state = json.loads(json.dumps(task.state()))
    first = _follow(task, actions[steps:])
    task.render_goal(goal)
    task.restore(state)
    for step, (expected, found) in enumerate(zip(first, _follow(task, actions[steps:]), strict=True)):
        _require_same(expected, found, f"task {task.name}: {step} steps after restoring a state something else happens")


def _follow(task: AdaptedTask, actions: np.ndarray) -> list[State]:
    """The states, with their pictures, that actions lead to."""
    states = []
    for action in [None, *actions]:
        if action is not None:
            task.step(action)
        states.append(task.state() | {"picture": task.observe()[task.camera].tolist()})
    return states


def _require_same(expected: State, found: State, what: str) -> None:
    for part in expected:
        if expected[part] != found[part]:
            inner = expected[part], found[part]
            names = []
            if all(isinstance(value, dict) for value in inner):
                names = sorted(name for name in {*inner[0], *inner[1]} if inner[0].get(name) != inner[1].get(name))
            raise ValueError(
                f"{what} ({' '.join([part, *names])}): the environment remembers something that is neither in MuJoCo's "
                "state nor a plain attribute, or draws random numbers that do not follow from its seed"
            )
