"""Sub-goal pictures of an expert's way, and planners that are given them."""

import numpy as np
import pytest

from jepa_robot.errors import TaskError
from jepa_robot.evaluation.episodes import drawn_episode
from jepa_robot.evaluation.policies import PlannerPolicy
from jepa_robot.evaluation.tasks import Task
from jepa_robot.evaluation.way import evenly_along, with_way


def test_moments_lie_evenly_on_the_way_and_standing_still_counts_for_nothing():
    straight = np.linspace(0, 1, 13)[:, None] * [1.0, -2.0]
    stands = np.concatenate([straight[:4], straight[3:4].repeat(20, 0), straight[4:], straight[-1:].repeat(9, 0)])
    assert [stands[i].tolist() for i in evenly_along(stands, 3)] == straight[[3, 6, 9]].tolist()
    there_and_back = np.concatenate([straight, straight[::-1]])
    assert there_and_back[evenly_along(there_and_back, 1)[0]].tolist() == straight[-1].tolist()
    assert evenly_along(np.zeros((5, 2)), 2) == [0, 0]


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
