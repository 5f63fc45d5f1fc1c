"""Whether a task's object moved, of states whose objects were put somewhere."""

from __future__ import annotations

import jepa_envs
import numpy as np
import pytest


@pytest.mark.parametrize("task", jepa_envs.TASKS)
def test_which_tasks_have_an_object(task):
    env = jepa_envs.make(task, image_size=16).unwrapped
    state = env.state()
    assert env.object_moved(state, state) is (None if task in ("panda_reach", "two_rooms") else False)


@pytest.mark.parametrize(
    ("block", "moved"),
    [
        ((256, 200, 1.0), False),
        ((256.5, 200.5, 1.0), False),
        ((255.2, 199.2, 1.0), True),
        ((256, 200, 1.01), False),
        ((256, 200, 1.03), True),
        ((256, 200, 0.97), True),
        ((256, 200, 1.0 + 2 * np.pi), False),
    ],
)
def test_a_block(block, moved):
    """By more than a unit, or by more than a degree (0.0175 radians); what the agent does is nothing to it."""
    env = jepa_envs.make("push_t", image_size=16).unwrapped
    before, after = env.state_at((100, 400, 256, 200, 1.0)), env.state_at((400, 420, *block))
    assert env.object_moved(before, after) is env.object_moved(after, before) is moved


def test_a_turn_across_zero():
    env = jepa_envs.make("push_t", image_size=16).unwrapped
    before, after = (env.state_at((100, 400, 256, 200, angle)) for angle in (0.005, 2 * np.pi - 0.005))
    assert not env.object_moved(before, after)


@pytest.mark.parametrize(("place", "moved"), [((0.5, 0.1), False), ((0.5008, 0.1), False), ((0.5, 0.0985), True)])
def test_a_cup(place, moved):
    """By more than a millimetre; where the hand is does not matter."""
    env = jepa_envs.make("panda_push_cup", image_size=16).unwrapped
    before, after = env.state_with((0.45, -0.1, 0.2, 0, 0), (0.5, 0.1)), env.state_with((0.5, -0.1, 0.25, 0, 1), place)
    assert env.object_moved(before, after) is env.object_moved(after, before) is moved


def test_a_cup_that_is_lifted():
    env = jepa_envs.make("panda_grasp", image_size=16).unwrapped
    before, after = (env.state_holding((0.5, 0.0, height)) for height in (0.1, 0.102))
    assert env.object_moved(before, after)
