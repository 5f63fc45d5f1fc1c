"""Where a task says its objects are, and what recordings keep of it."""

from __future__ import annotations

import jepa_envs
import numpy as np
import pytest

from jepa_robot.evaluation.recipe import Recipe, record_episode


@pytest.mark.parametrize("task", jepa_envs.TASKS)
def test_which_tasks_say_it(task):
    env = jepa_envs.make(task, image_size=16).unwrapped
    state = env.state()
    pose = env.object_pose(state)
    assert bool(pose) == (env.object_moved(state, state) is not None)
    assert all(name.startswith("object") and np.isfinite(value) for name, _, value in pose)
    env.close()


def test_a_cup_s_centre():
    env = jepa_envs.make("panda_push_cup", image_size=16).unwrapped
    pose = env.object_pose(env.state_with((0.45, -0.1, 0.2, 0, 0), (0.5, 0.1)))
    assert [(name, unit) for name, unit, _ in pose] == [("object_x", "m"), ("object_y", "m"), ("object_z", "m")]
    assert [value for *_, value in pose[:2]] == pytest.approx([0.5, 0.1], abs=1e-3) and 0 < pose[2][2] < 0.1


@pytest.mark.parametrize("angle", [0.3, 0.3 - 2 * np.pi])
def test_a_block_s_pose_has_no_jump(angle):
    env = jepa_envs.make("push_t", image_size=16).unwrapped
    pose = env.object_pose(env.state_at((100, 400, 256, 200, angle)))
    assert [unit for _, unit, _ in pose] == ["mm", "mm", "1", "1"]
    assert [value for *_, value in pose] == pytest.approx([256, 200, np.cos(0.3), np.sin(0.3)], abs=1e-6)


def test_recordings_keep_it():
    """As often as the object moved, its recorded place did."""
    recipe = Recipe("panda_push", 3, 30, {"expert": 1.0}, image_size=16)
    with recipe.open() as task:
        episode = record_episode(task, recipe, 0)
    assert episode.objects.names == ("object_x", "object_y", "object_z") and episode.objects.units == ("m",) * 3
    moves = np.linalg.norm(np.diff(episode.objects.values.astype(float), axis=0), axis=1) > 0.001
    assert moves.sum() == episode.object_moves > 0


def test_recordings_without_an_object():
    recipe = Recipe("panda_reach", 3, 2, {"expert": 1.0}, image_size=16)
    with recipe.open() as task:
        assert record_episode(task, recipe, 0).objects is None
