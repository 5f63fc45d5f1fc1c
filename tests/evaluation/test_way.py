"""Sub-goal pictures of an expert's way, and planners that are given them."""

import numpy as np
import pytest

from jepa_robot.errors import TaskError
from jepa_robot.evaluation.episodes import drawn_episode
from jepa_robot.evaluation.policies import PlannerPolicy
from jepa_robot.evaluation.tasks import Task
from jepa_robot.evaluation.way import key_moments, with_way


def test_moments_are_the_corners_of_the_way():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.2, 0.5], [0.2, 1.0]])
    parts = [np.linspace(a, b, 9)[:-1] for a, b in zip(corners, corners[1:])]
    way = np.concatenate([*parts, corners[-1:].repeat(5, 0)])  # in the end it stands still
    assert sorted(way[key_moments(way, 3)].tolist()) == sorted(corners[1:4].tolist())
    more = key_moments(way, 6)
    assert set(key_moments(way, 3)) < set(more) and more == sorted(set(more))


def test_moments_of_a_straight_way_lie_apart():
    way = np.linspace(0, 1, 17)[:, None] * [1.0, -2.0]
    assert key_moments(way, 1) == [8] and key_moments(way, 3) == [4, 8, 12]
    assert key_moments(np.zeros((5, 2)), 3) == [1, 2, 3]
    with pytest.raises(ValueError, match="at least 6"):
        key_moments(np.zeros((5, 2)), 4)


@pytest.fixture(scope="module")
def task():
    with Task("panda_push") as task:
        yield task


def test_pictures_show_how_the_expert_pushes(task):
    start, goal = drawn_episode(task, 3)
    goal_with_way = with_way(task, start, goal, 6, 60, seed=3)
    assert len(goal_with_way.way) == 6 and np.array_equal(goal_with_way.image, goal.image)
    assert task.env.distance(task.env.state(), goal.state) < 0.02  # the expert did
    differences = [np.abs(a.astype(float) - goal.image).mean() for a in goal_with_way.way]
    assert differences[-1] < min(differences[:-1])
    again = with_way(task, start, goal, 6, 60, seed=3)
    assert all(np.array_equal(one, other) for one, other in zip(goal_with_way.way, again.way))
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in again.way)


def test_a_planner_goes_to_one_after_another(task):
    class Asked:
        def reset(self, goal, seed):
            self.goal, self.seed = goal, seed

    start, goal = drawn_episode(task, 3)
    for steps, count in ((None, 0), (4, 2)):
        asked, aim = Asked(), with_way(task, start, goal, count, 40, seed=3) if count else goal
        PlannerPolicy(asked, subgoal_steps=steps).reset(task, aim, seed=7)
        pictures = [subgoal.pictures[0] for subgoal in asked.goal.subgoals]
        assert asked.seed == 7 and len(pictures) == count + 1 and np.array_equal(pictures[-1], goal.image)
        assert [subgoal.steps for subgoal in asked.goal.subgoals] == [steps] * count + [None]
        assert all(np.array_equal(one, other) for one, other in zip(pictures, aim.way))


def test_a_task_without_an_expert_has_no_way(task, monkeypatch):
    start, goal = drawn_episode(task, 3)
    monkeypatch.setattr(task.env, "demonstrator_kinds", lambda: ("explore",))
    with pytest.raises(TaskError, match="no expert"):
        with_way(task, start, goal, 2, 10, seed=3)
    monkeypatch.undo()
    with pytest.raises(TaskError, match="at least 12, to take 10 pictures"):
        with_way(task, start, goal, 10, 11, seed=3)
