import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.errors import GoalError
from jepa_robot.planning import Goal, build_planner

def test_goal_is_encoded_once_and_each_frame_once(planner, toy):
    assert planner.engine.model.encoded == 1
    toy.Robot(toy.start).run(planner, 4)
    assert planner.engine.model.encoded == 5


def test_goal_may_be_latents(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(torch.from_numpy(toy.goal)[None])
    assert toy.Robot(toy.start).run(planner, 10)[-1] < 0.02


@pytest.mark.parametrize("goal", [[[0.0]], "goal.png", torch.zeros(3), torch.zeros(1, 1, 2), None])
def test_a_goal_that_is_neither_picture_nor_latents(planner, goal):
    with pytest.raises(GoalError, match="goal picture is .*expected uint8 .height, width, 3. RGB, or latents"):
        planner.reset(goal)


def test_a_goal_unlike_the_training_data_is_refused(toy, settings):
    class Particular(toy.Model):
        def novelty(self, latents):
            return 100 * latents[..., 0, 0]

    goal = torch.tensor([[0.5, 0.5]])
    planner = build_planner(Particular(), dataclasses.replace(settings, max_novelty=49.0))
    with pytest.raises(GoalError, match="unlike everything.*novelty 50.*expected at most 49.*max_novelty=inf"):
        planner.reset(goal)
    for limit in (51.0, None):
        planner = build_planner(Particular(), dataclasses.replace(settings, max_novelty=limit))
        planner.reset(goal)
        assert planner.plan(toy.Robot((0.25, 0.5)).observe()).diagnostics.health.novelty == pytest.approx(25, abs=0.5)


def test_a_goal_without_numbers_is_refused(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, max_novelty=20.0))
    planner.engine.model.novelty = lambda latents: torch.tensor(float("nan"))
    with pytest.raises(GoalError, match="novelty nan"):
        planner.reset(torch.tensor([[0.5, 0.5]]))


def test_subgoals_are_gone_to_one_after_another(toy, settings):
    way = [np.array([0.2, 0.8]), np.array([0.8, 0.8]), np.array([0.8, 0.2])]
    arrival = dataclasses.replace(settings.arrival, tolerance=1e-3)
    planner = build_planner(toy.Model(), dataclasses.replace(settings, arrival=arrival))
    planner.reset(Goal.sequence([toy.draw(place) for place in way]))
    robot, nearest, seen = toy.Robot(toy.start), [np.inf] * 3, []
    for _ in range(40):
        plan = planner.follow(robot.observe())
        seen.append(plan.diagnostics.subgoal)
        nearest[seen[-1]] = min(nearest[seen[-1]], np.linalg.norm(robot.position - way[seen[-1]]))
        if planner.arrived:
            break
        planner.executed(plan.actions[0])
        robot.step(plan.actions[0])
    assert planner.arrived and seen == sorted(seen) and set(seen) == {0, 1, 2}
    # A frame that is at a sub-goal already counts for the next one, so what is seen of each ends a step before.
    assert np.linalg.norm(robot.position - way[2]) < 0.04 and max(nearest[:2]) < 0.15


def test_a_subgoal_with_steps_is_left_when_they_are_used_up(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(Goal.sequence([toy.draw(np.array([0.9, 0.9])), toy.draw(toy.goal)], [2, None]))
    robot, seen = toy.Robot(toy.start), []
    for _ in range(5):
        plan = planner.follow(robot.observe())
        seen.append(plan.diagnostics.subgoal)
        planner.executed(plan.actions[0])
        robot.step(plan.actions[0])
    assert seen == [0, 0, 1, 1, 1]


def test_of_several_goals_the_nearest_is_gone_to(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(Goal.any_of([toy.draw(np.array([0.9, 0.9])), toy.draw(np.array([0.1, 0.1]))]))
    robot = toy.Robot((0.35, 0.3))
    for _ in range(8):
        robot.step(planner.act(robot.observe()))
    assert np.linalg.norm(robot.position - 0.1) < 0.03


def test_proprioception_can_be_a_goal(toy, settings):
    energy = dataclasses.replace(settings.energy, state=1.0)
    planner = build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    state = np.array([np.nan, 0.3], np.float32)
    planner.reset(Goal.of(toy.draw(np.array([0.7, 0.9])), state))
    robot = toy.Robot(toy.start)
    for _ in range(12):
        robot.step(planner.act(robot.observe()))
    # Half of the squared distance from the picture's y, and all of that from the state's: a third of the way from 0.3.
    assert robot.position == pytest.approx([0.7, 0.3 + 0.6 / 3], abs=0.02)
    with pytest.raises(GoalError, match="goal state has 3 numbers"):
        planner.reset(Goal.of(toy.draw(toy.goal), np.zeros(3, np.float32)))


def test_a_plan_for_one_subgoal_is_not_followed_to_the_next(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, execute=3))
    planner.reset(Goal.sequence([toy.draw(np.array([0.9, 0.9])), toy.draw(np.array([0.1, 0.1]))], [1, None]))
    robot = toy.Robot((0.5, 0.5))
    plans = []
    for _ in range(3):
        plans.append(planner.follow(robot.observe()))
        planner.executed(plans[-1].actions[0])
        robot.step(plans[-1].actions[0])
    assert [plan.diagnostics.subgoal for plan in plans] == [0, 1, 1]
    assert [plan.diagnostics.stopped for plan in plans] == ["iterations", "iterations", "followed"]
    assert (plans[0].actions[0] > 0.05).all() and (plans[1].actions[0] < -0.05).all()


@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (5, 7)])
def test_latents_of_another_shape_are_refused(planner, toy, shape):
    with pytest.raises(GoalError, match=r"goal picture 2 of 2: has latents \[\d, \d\]; expected \[1, 2\]"):
        planner.reset(Goal.sequence([toy.draw(toy.goal), torch.zeros(shape)]))


def test_latents_may_be_of_another_format(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(torch.from_numpy(toy.goal)[None].double())
    assert toy.Robot(toy.start).run(planner, 10)[-1] < 0.02
