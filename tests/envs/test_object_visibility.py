"""What pictures show of the object: a goal that hides it cannot be planned for."""

from __future__ import annotations

import jepa_envs
import numpy as np
import pytest
from script import load_script

Visibility = load_script("object_visibility").Visibility


def test_what_the_arm_hides_is_counted() -> None:
    """The hand is above the object, beside it, and between it and the camera above."""
    env = jepa_envs.make("panda_push").unwrapped
    visibility = Visibility(env)
    place = [0.5, 0.0]
    above, beside = env.state_with([0.5, 0.0, 0.3, 0, 1], place), env.state_with([0.5, 0.2, 0.2, 0, 1], place)
    half = env.state_with([0.5, 0.1, 0.3, 0, 1], place)
    assert visibility.share(above, "top") < 0.05 and visibility.share(above, "front") == 1.0
    assert visibility.share(beside, "top") == 1.0
    assert 0.2 < visibility.share(half, "top") < 0.8
    visibility.close()
    env.close()


@pytest.mark.parametrize("camera", ["front", "left"])
@pytest.mark.parametrize("task", ["panda_push", "panda_push_cup"])
def test_the_goals_of_pushing_show_the_object(task: str, camera: str) -> None:
    env = jepa_envs.make(task).unwrapped
    visibility = Visibility(env)
    goals = [env.sample_start_and_goal(np.random.default_rng(seed))[1] for seed in range(20)]
    assert min(visibility.share(goal, camera) for goal in goals) > 0.8
    visibility.close()
    env.close()


@pytest.mark.parametrize("task", ["panda_push", "panda_push_cup"])
def test_who_has_pushed_ends_as_in_the_goal_picture(task: str) -> None:
    env = jepa_envs.make(task).unwrapped
    rng = np.random.default_rng(5)
    start, goal = env.sample_start_and_goal(rng)
    expert = env.make_demonstrator("expert", rng)
    env.restore(start)
    for _ in range(45):
        env._act(expert.act(env.state(), goal).astype(float))
    np.testing.assert_allclose(env.state()["target"], goal["target"], atol=1e-3)
    assert env.is_success(env.state(), goal)
    env.close()
