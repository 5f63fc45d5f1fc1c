import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.errors import ConfigError, GoalError, PlanningError
from jepa_robot.planning import Goal, Observation, build_planner, build_planners, plan_together
from jepa_robot.planning.protocols import WorldModel

START, GOAL = (0.2, 0.25), np.array([0.7, 0.8], np.float32)


@pytest.fixture
def planner(toy, settings):
    planner = build_planner(toy.Model(), settings, seed=3)
    planner.reset(toy.draw(GOAL))
    return planner


def run(planner, robot, steps):
    """Distances to the goal after each step."""
    distances = []
    for _ in range(steps):
        robot.step(planner.act(robot.observe()))
        distances.append(float(np.linalg.norm(robot.position - GOAL)))
    return distances


def test_toy_model_keeps_the_protocol(toy):
    assert isinstance(toy.Model(), WorldModel)


def test_reaches_the_goal_and_random_does_not(planner, toy):
    assert run(planner, toy.Robot(START), 10)[-1] < 0.02
    rng = np.random.default_rng(0)
    robot = toy.Robot(START)
    for _ in range(10):
        robot.step(rng.uniform(-toy.step, toy.step, 2).astype(np.float32))
    assert np.linalg.norm(robot.position - GOAL) > 0.1


def test_actions_stay_inside_the_bounds(planner, toy):
    robot = toy.Robot(START)
    full = 0
    for _ in range(8):
        plan = planner.plan(robot.observe())
        assert plan.actions.dtype == np.float32 and plan.actions.shape == (3, 2)
        assert (np.abs(plan.actions) <= np.float32(toy.step)).all()
        full += int((np.abs(plan.actions[0]) == np.float32(toy.step)).any())
        planner.executed(plan.actions[0])
        robot.step(plan.actions[0])
    assert full >= 2  # far from the goal the best action is on the bound


def test_same_seed_same_actions(toy, settings):
    def actions(seed):
        planner = build_planner(toy.Model(), settings)
        planner.reset(toy.draw(GOAL), seed=seed)
        robot = toy.Robot(START)
        taken = []
        for _ in range(3):
            taken.append(planner.act(robot.observe()))
            robot.step(taken[-1])
        return np.stack(taken)

    assert np.array_equal(actions(5), actions(5))
    assert not np.array_equal(actions(5), actions(6))


def test_reset_starts_afresh(planner, toy):
    first = planner.act(toy.Robot(START).observe())
    planner.act(toy.Robot(START).observe())
    planner.reset(toy.draw(GOAL))
    assert np.array_equal(planner.act(toy.Robot(START).observe()), first)


def test_goal_is_encoded_once_and_each_frame_once(planner, toy):
    assert planner.engine.model.encoded == 1
    run(planner, toy.Robot(START), 4)
    assert planner.engine.model.encoded == 5


def test_goal_may_be_latents(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(torch.from_numpy(GOAL)[None])
    assert run(planner, toy.Robot(START), 10)[-1] < 0.02


def test_warm_start_is_the_previous_plan_one_step_later(toy, settings):
    few = {**settings.optimizer, "samples": 2, "elites": 1, "keep_elites": 0}
    planner = build_planner(toy.Model(), dataclasses.replace(settings, optimizer=few))
    planner.reset(toy.draw(GOAL))
    seen = []
    rollout = planner.engine.model.rollout
    planner.engine.model.rollout = lambda context, actions: seen.append(actions) or rollout(context, actions)
    plan = planner.plan(toy.Robot(START).observe())
    planner.executed(plan.actions[0])
    seen.clear()
    planner.plan(toy.Robot(START).observe())
    expected = np.concatenate((plan.actions[1:], plan.actions[-1:]))
    assert np.allclose(seen[0][0, 0].numpy(), expected)


def test_plan_says_when_and_how_well(planner, toy):
    robot = toy.Robot(START)
    robot.time = 7.0
    observation = robot.observe()
    plan = planner.plan(observation)
    assert np.allclose(plan.times, [7.0, 7.2, 7.4])
    ends = np.array(START) + np.cumsum(plan.actions, 0)
    assert plan.energy == pytest.approx(np.mean((ends - GOAL) ** 2), abs=1e-4)
    assert plan.diagnostics.health.energy_now == pytest.approx(np.mean((np.array(START) - GOAL) ** 2), abs=1e-4)
    assert plan.diagnostics.health.spread.shape == (2,)


def test_context_holds_the_last_frames_and_the_actions_between(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, context_frames=3))
    planner.reset(toy.draw(GOAL))
    robot = toy.Robot(START)
    positions, actions = [], []
    for _ in range(5):
        positions.append(robot.position.copy())
        actions.append(planner.act(robot.observe()))
        robot.step(actions[-1])
    contexts = planner.engine.model.contexts
    assert [c[0].shape[1] for c in contexts] == [1, 2, 3, 3, 3]
    latents, states, executed = contexts[-1]
    assert latents.shape == (1, 3, 1, 2) and executed.shape == (1, 2, 2)
    assert np.array_equal(states[0].numpy(), np.stack(positions[-3:]))
    assert np.array_equal(executed[0].numpy(), np.stack(actions[-3:-1]))
    assert np.allclose(latents[0, :, 0].numpy(), np.stack(positions[-3:]), atol=0.01)


def test_planning_twice_from_one_moment_invents_no_step(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, context_frames=3))
    planner.reset(toy.draw(GOAL))
    observation = toy.Robot(START).observe()
    planner.plan(observation)
    planner.plan(observation)
    assert planner.engine.model.contexts[-1][0].shape[1] == 1


def test_arrives_by_plateau_near_the_goal_only(planner, toy):
    robot = toy.Robot(START)
    for _ in range(30):
        action = planner.act(robot.observe())
        if planner.arrived:
            break
        robot.step(action)
    assert planner.arrived
    assert np.linalg.norm(robot.position - GOAL) < 0.02


@pytest.mark.parametrize(
    "image, found",
    [
        (np.zeros((16, 32, 3), np.uint8), r"uint8 \[16, 32, 3\]"),
        (np.zeros((32, 32), np.uint8), r"uint8 \[32, 32\]"),
        (np.zeros((32, 32, 3), np.float32), r"float32 \[32, 32, 3\]"),
    ],
)
def test_wrong_pictures(planner, image, found):
    with pytest.raises(GoalError, match=f"goal picture is {found}.*expected uint8 .*, 3. RGB"):
        planner.reset(image)
    with pytest.raises(PlanningError, match=f"observed picture is {found}"):
        planner.act(Observation(image, np.zeros(2, np.float32)))


@pytest.mark.parametrize("goal", [[[0.0]], "goal.png", torch.zeros(3), torch.zeros(1, 1, 2), None])
def test_a_goal_that_is_neither_picture_nor_latents(planner, goal):
    with pytest.raises(GoalError, match="goal picture is .*expected uint8 .height, width, 3. RGB, or latents"):
        planner.reset(goal)


@pytest.mark.parametrize(
    "state", [np.zeros(3, np.float32), np.zeros(2, np.float64), np.array([0, np.nan], np.float32), [0.0, 0.0]]
)
def test_wrong_states(planner, toy, state):
    with pytest.raises(PlanningError, match="observed state is"):
        planner.act(Observation(toy.draw(GOAL), state))


def test_no_goal(toy, settings):
    with pytest.raises(PlanningError, match=r"call reset\(goal\) first"):
        build_planner(toy.Model(), settings).act(toy.Robot(START).observe())


def test_model_without_numbers(planner, toy):
    planner.engine.model.rollout = lambda context, actions: torch.full((*actions.shape[:3], 1, 2), float("nan"))
    with pytest.raises(PlanningError, match="energy 'goal' is not a finite number"):
        planner.act(toy.Robot(START).observe())


def test_bf16_reaches_the_model_and_leaves_actions_in_float32(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, dtype="bf16"))
    rollout, seen = planner.engine.model.rollout, []
    planner.engine.model.rollout = lambda c, a: seen.append(torch.is_autocast_enabled("cpu")) or rollout(c, a)
    planner.reset(toy.draw(GOAL))
    assert planner.act(toy.Robot(START).observe()).dtype == np.float32
    assert seen and all(seen)
    with pytest.raises(ConfigError, match="fp17"):
        build_planner(toy.Model(), dataclasses.replace(settings, dtype="fp17"))


class Halved:
    """Mixed into the toy model: a metric space in which the second latent dimension does not exist."""

    def metric(self, latents):
        return latents.flatten(-2)[..., :1]


def test_energies_are_measured_in_the_metric_space_or_on_the_latents(toy, settings):
    """One predicted frame, so every energy can be written down from where the point is."""
    model = type("Model", (Halved, toy.Model), {})
    found = {}
    for space in ("metric", "latent"):
        energy = dataclasses.replace(settings.energy, space=space, distance="l2", steps="last")
        planner = build_planner(model(), dataclasses.replace(settings, horizon=1, energy=energy))
        planner.reset(toy.draw(GOAL))
        found[space] = planner, planner.plan(toy.Robot(START).observe())
    way = np.array(START) - GOAL
    assert found["metric"][1].diagnostics.health.energy_now == pytest.approx(way[0] ** 2, abs=1e-3)
    assert found["latent"][1].diagnostics.health.energy_now == pytest.approx((way**2).mean(), abs=1e-3)
    for space, wanted in (("metric", lambda left: left[0] ** 2), ("latent", lambda left: (left**2).mean())):
        plan = found[space][1]
        assert plan.energy == pytest.approx(wanted(way + plan.actions[0]), abs=1e-3)
    # Both drive along x; only with all latents is there a reason to move along y.
    assert found["metric"][1].actions[0, 0] > 0.9 * toy.step and found["latent"][1].actions[0, 0] > 0.9 * toy.step
    assert found["latent"][1].actions[0, 1] > 0.9 * toy.step
    robot = toy.Robot(START)
    for _ in range(10):
        robot.step(found["latent"][0].act(robot.observe()))
    assert np.linalg.norm(robot.position - GOAL) < 0.03


def test_the_latent_space_never_asks_for_the_metric(toy, settings):
    class NoMetric(toy.Model):
        def metric(self, latents):
            raise AssertionError

    energy = dataclasses.replace(settings.energy, space="latent")
    planner = build_planner(NoMetric(), dataclasses.replace(settings, energy=energy))
    planner.reset(torch.from_numpy(GOAL)[None])
    assert run(planner, toy.Robot(START), 10)[-1] < 0.02


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


def test_wrong_settings(toy, settings):
    energy = dataclasses.replace(settings.energy, space="pixels")
    with pytest.raises(ConfigError, match="energy space is 'pixels'.*expected metric or latent"):
        build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    with pytest.raises(ConfigError, match="iterations is 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, optimizer={**settings.optimizer, "iterations": 0}))
    with pytest.raises(ConfigError, match="context_frames is 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, context_frames=0))
    with pytest.raises(ConfigError, match="max_novelty is 0; expected above 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, max_novelty=0.0))
    for cost in (-0.1, 1e10, float("inf"), float("nan")):
        energy = dataclasses.replace(settings.energy, action_cost=cost)
        with pytest.raises(ConfigError, match="action_cost: is .*expected 0 to 1e"):
            build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))


def test_observation_from_a_dictionary():
    image, state = np.zeros((2, 2, 3), np.uint8), np.zeros(2, np.float32)
    observation = Observation.from_dict({"front": image, "proprio": state}, "front", time=1.5)
    assert observation.image is image and observation.state is state and observation.time == 1.5


def test_several_planners_find_together_what_each_finds_alone(toy, settings):
    goals, starts = ((0.7, 0.6), (0.2, 0.9), (0.5, 0.1)), ((0.2, 0.3), (0.8, 0.3), (0.5, 0.8))

    def runs(together: bool) -> list[np.ndarray]:
        planners, robots = build_planners(toy.Model(), 3, settings), [toy.Robot(start) for start in starts]
        for planner, goal in zip(planners, goals):
            planner.reset(toy.draw(np.array(goal)), seed=4)
        taken = []
        for step in range(4):
            if step == 2:  # one begins anew: it has no plan to start from, and is searched for apart
                planners[1].reset(toy.draw(np.array(goals[1])), seed=5)
            seen = [robot.observe() for robot in robots]
            plans = plan_together(planners, seen) if together else [p.plan(o) for p, o in zip(planners, seen)]
            for planner, robot, plan in zip(planners, robots, plans):
                planner.executed(plan.actions[0])
                robot.step(plan.actions[0])
            taken.append(np.stack([plan.actions for plan in plans]))
        return taken

    for one, other in zip(runs(True), runs(False)):
        assert np.array_equal(one, other)


def test_planners_of_different_engines_do_not_plan_together(toy, settings):
    planners = [build_planner(toy.Model(), settings) for _ in range(2)]
    for planner in planners:
        planner.reset(toy.draw(GOAL))
    with pytest.raises(PlanningError, match="one engine"):
        plan_together(planners, [toy.Robot(START).observe()] * 2)


def test_a_plan_is_followed_for_some_steps(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, execute=2))
    planner.reset(toy.draw(GOAL))
    robot, stopped, plans = toy.Robot(START), [], []
    for _ in range(5):
        plan = planner.follow(robot.observe())
        planner.executed(plan.actions[0])
        robot.step(plan.actions[0])
        stopped.append(plan.diagnostics.stopped)
        plans.append(plan)
    assert stopped == ["iterations", "followed", "iterations", "followed", "iterations"]
    assert np.array_equal(plans[1].actions, plans[0].actions[1:])
    assert np.array_equal(plans[1].times, plans[0].times[1:])
    assert plans[1].diagnostics.health.energy_now < plans[0].diagnostics.health.energy_now
    with pytest.raises(ConfigError, match="execute is 4.*1 to horizon"):
        build_planner(toy.Model(), dataclasses.replace(settings, execute=4))


def test_subgoals_are_gone_to_one_after_another(toy, settings):
    way = [np.array([0.2, 0.8]), np.array([0.8, 0.8]), np.array([0.8, 0.2])]
    arrival = dataclasses.replace(settings.arrival, tolerance=1e-3)
    planner = build_planner(toy.Model(), dataclasses.replace(settings, arrival=arrival))
    planner.reset(Goal.sequence([toy.draw(place) for place in way]))
    robot, nearest, seen = toy.Robot(START), [np.inf] * 3, []
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
    planner.reset(Goal.sequence([toy.draw(np.array([0.9, 0.9])), toy.draw(GOAL)], [2, None]))
    robot, seen = toy.Robot(START), []
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
    robot = toy.Robot(START)
    for _ in range(12):
        robot.step(planner.act(robot.observe()))
    # Half of the squared distance from the picture's y, and all of that from the state's: a third of the way from 0.3.
    assert robot.position == pytest.approx([0.7, 0.3 + 0.6 / 3], abs=0.02)
    with pytest.raises(GoalError, match="goal state has 3 numbers"):
        planner.reset(Goal.of(toy.draw(GOAL), np.zeros(3, np.float32)))


def test_the_workspace_is_kept_to(toy, settings):
    kept = dataclasses.replace(settings.constraints, high={"x": 0.5})
    planner = build_planner(toy.Model(), dataclasses.replace(settings, constraints=kept))
    planner.reset(toy.draw(GOAL))
    robot = toy.Robot(START)
    for _ in range(12):
        plan = planner.follow(robot.observe())
        assert plan.diagnostics.health.feasible and not plan.diagnostics.warnings
        planner.executed(plan.actions[0])
        robot.step(plan.actions[0])
        assert robot.position[0] <= 0.5 + 1e-6
    assert robot.position == pytest.approx([0.5, GOAL[1]], abs=0.02)
    planner.reset(toy.draw(GOAL))
    outside = planner.plan(toy.Robot((0.95, 0.3)).observe())
    assert not outside.diagnostics.health.feasible and "violates x" in " ".join(outside.diagnostics.warnings)
    assert outside.actions[0, 0] < -0.09  # the way back


def test_the_next_frame_is_compared_with_what_was_expected(toy, settings):
    energy = dataclasses.replace(settings.energy, space="latent")  # a metric space's unit is the model's error
    planner = build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    planner.reset(toy.draw(GOAL))
    robot = toy.Robot(START)
    first = planner.plan(robot.observe())
    assert first.diagnostics.health.surprise is None
    planner.executed(first.actions[0])
    robot.step(first.actions[0])
    as_expected = planner.plan(robot.observe()).diagnostics.health.surprise
    assert as_expected.ratio < 0.01 and as_expected.change > 0
    planner.executed(first.actions[0] + 0.01)  # not what was planned: nothing is expected of it
    assert planner.plan(robot.observe()).diagnostics.health.surprise is None
    for _ in range(4):  # the robot does not move any more
        plan = planner.plan(robot.observe())
        planner.executed(plan.actions[0])
    assert plan.diagnostics.health.surprise.poor_steps >= 3
    assert "predicted no better" in " ".join(plan.diagnostics.warnings)
