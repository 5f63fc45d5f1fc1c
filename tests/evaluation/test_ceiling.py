"""What the planner is compared with from above, by task; tasks that cannot run here."""

from __future__ import annotations

import jepa_envs
import numpy as np
import pytest
from jepa_envs import renderer

from jepa_robot.errors import GoalError, TaskError
from jepa_robot.evaluation.episodes import Goal, run_episode
from jepa_robot.evaluation.policies import ExpertPolicy, TrueStatePolicy, ceiling
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.planning import default_settings


@pytest.mark.parametrize("name", ["push_t", "two_rooms"])
def test_the_expert_reaches_its_goals(name):
    with Task(name) as task:
        policy = ceiling(task, default_settings())
        assert isinstance(policy, ExpertPolicy)
        for seed in range(2):
            start, state = start_and_goal(task.env, seed)
            goal = Goal(task.env.render_goal(state), state)
            result = run_episode(task, policy, start, goal, max_steps=120, seed=seed)
            assert result.success and not result.arrived and result.actions == 120
        with pytest.raises(GoalError, match="no true state"):
            policy.reset(task, Goal(np.zeros((64, 64, 3), np.uint8)), 0)


def test_the_optimizer_on_the_true_state_where_nothing_is_in_the_way():
    with Task("panda_reach") as task:
        assert isinstance(ceiling(task, default_settings()), TrueStatePolicy)


def test_none_without_an_expert(monkeypatch):
    with Task("two_rooms") as task:
        monkeypatch.setattr(task.env, "demonstrator_kinds", lambda: ("explore",))
        assert ceiling(task, default_settings()) is None


def test_no_opengl_is_known_when_the_task_is_opened(monkeypatch):
    def broken() -> type:
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    monkeypatch.setattr(renderer, "_context_class", broken)
    with pytest.raises(TaskError, match="eglQueryString.*apt-get install libegl1 libgl1 .*MUJOCO_GL=osmesa"):
        Task("two_rooms")


def test_a_variation_that_there_is_not():
    assert "two_rooms" in jepa_envs.TASKS
    with pytest.raises(TaskError, match="variation 'smell' is unknown"):
        Task("two_rooms", variation=("smell",))
