import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning import Goal, Observation, build_planner
from jepa_robot.planning.protocols import WorldModel

def test_toy_model_keeps_the_protocol(toy):
    assert isinstance(toy.Model(), WorldModel)


def test_reaches_the_goal_and_random_does_not(planner, toy):
    assert toy.Robot(toy.start).run(planner, 10)[-1] < 0.02
    rng = np.random.default_rng(0)
    robot = toy.Robot(toy.start)
    for _ in range(10):
        robot.step(rng.uniform(-toy.step, toy.step, 2).astype(np.float32))
    assert np.linalg.norm(robot.position - toy.goal) > 0.1


def test_actions_stay_inside_the_bounds(planner, toy):
    robot = toy.Robot(toy.start)
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
        planner.reset(toy.draw(toy.goal), seed=seed)
        robot = toy.Robot(toy.start)
        taken = []
        for _ in range(3):
            taken.append(planner.act(robot.observe()))
            robot.step(taken[-1])
        return np.stack(taken)

    assert np.array_equal(actions(5), actions(5))
    assert not np.array_equal(actions(5), actions(6))


def test_reset_starts_afresh(planner, toy):
    first = planner.act(toy.Robot(toy.start).observe())
    planner.act(toy.Robot(toy.start).observe())
    planner.reset(toy.draw(toy.goal))
    assert np.array_equal(planner.act(toy.Robot(toy.start).observe()), first)


def test_warm_start_is_the_previous_plan_one_step_later(toy, settings):
    few = {**settings.optimizer, "samples": 2, "elites": 1, "keep_elites": 0}
    planner = build_planner(toy.Model(), dataclasses.replace(settings, optimizer=few))
    planner.reset(toy.draw(toy.goal))
    seen = []
    rollout = planner.engine.model.rollout
    planner.engine.model.rollout = lambda context, actions: seen.append(actions) or rollout(context, actions)
    plan = planner.plan(toy.Robot(toy.start).observe())
    planner.executed(plan.actions[0])
    seen.clear()
    planner.plan(toy.Robot(toy.start).observe())
    expected = np.concatenate((plan.actions[1:], plan.actions[-1:]))
    assert np.allclose(seen[0][0, 0].numpy(), expected)


def test_plan_says_when_and_how_well(planner, toy):
    robot = toy.Robot(toy.start)
    robot.time = 7.0
    observation = robot.observe()
    plan = planner.plan(observation)
    assert np.allclose(plan.times, [7.0, 7.2, 7.4])
    ends = np.array(toy.start) + np.cumsum(plan.actions, 0)
    assert plan.energy == pytest.approx(np.mean((ends - toy.goal) ** 2), abs=1e-4)
    assert plan.diagnostics.health.energy_now == pytest.approx(np.mean((np.array(toy.start) - toy.goal) ** 2), abs=1e-4)
    assert plan.diagnostics.health.spread.shape == (2,)


def test_context_holds_the_last_frames_and_the_actions_between(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, context_frames=3))
    planner.reset(toy.draw(toy.goal))
    robot = toy.Robot(toy.start)
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
    planner.reset(toy.draw(toy.goal))
    observation = toy.Robot(toy.start).observe()
    planner.plan(observation)
    planner.plan(observation)
    assert planner.engine.model.contexts[-1][0].shape[1] == 1


def test_arrives_by_plateau_near_the_goal_only(planner, toy):
    robot = toy.Robot(toy.start)
    for _ in range(30):
        action = planner.act(robot.observe())
        if planner.arrived:
            break
        robot.step(action)
    assert planner.arrived
    assert np.linalg.norm(robot.position - toy.goal) < 0.02


def test_bf16_reaches_the_model_and_leaves_actions_in_float32(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, dtype="bf16"))
    rollout, seen = planner.engine.model.rollout, []
    planner.engine.model.rollout = lambda c, a: seen.append(torch.is_autocast_enabled("cpu")) or rollout(c, a)
    planner.reset(toy.draw(toy.goal))
    assert planner.act(toy.Robot(toy.start).observe()).dtype == np.float32
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
        planner.reset(toy.draw(toy.goal))
        found[space] = planner, planner.plan(toy.Robot(toy.start).observe())
    way = np.array(toy.start) - toy.goal
    assert found["metric"][1].diagnostics.health.energy_now == pytest.approx(way[0] ** 2, abs=1e-3)
    assert found["latent"][1].diagnostics.health.energy_now == pytest.approx((way**2).mean(), abs=1e-3)
    for space, wanted in (("metric", lambda left: left[0] ** 2), ("latent", lambda left: (left**2).mean())):
        plan = found[space][1]
        assert plan.energy == pytest.approx(wanted(way + plan.actions[0]), abs=1e-3)
    # Both drive along x; only with all latents is there a reason to move along y.
    assert found["metric"][1].actions[0, 0] > 0.9 * toy.step and found["latent"][1].actions[0, 0] > 0.9 * toy.step
    assert found["latent"][1].actions[0, 1] > 0.9 * toy.step
    robot = toy.Robot(toy.start)
    for _ in range(10):
        robot.step(found["latent"][0].act(robot.observe()))
    assert np.linalg.norm(robot.position - toy.goal) < 0.03


def test_the_latent_space_never_asks_for_the_metric(toy, settings):
    class NoMetric(toy.Model):
        def metric(self, latents):
            raise AssertionError

    energy = dataclasses.replace(settings.energy, space="latent")
    planner = build_planner(NoMetric(), dataclasses.replace(settings, energy=energy))
    planner.reset(torch.from_numpy(toy.goal)[None])
    assert toy.Robot(toy.start).run(planner, 10)[-1] < 0.02


def test_observation_from_a_dictionary():
    image, state = np.zeros((2, 2, 3), np.uint8), np.zeros(2, np.float32)
    observation = Observation.from_dict({"front": image, "proprio": state}, "front", time=1.5)
    assert observation.image is image and observation.state is state and observation.time == 1.5


def test_a_plan_is_followed_for_some_steps(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, execute=2))
    planner.reset(toy.draw(toy.goal))
    robot, stopped, plans = toy.Robot(toy.start), [], []
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
    assert not plans[1].diagnostics.warnings
    planner.engine.model.novelty = lambda latents: torch.full(latents.shape[:-2], 99.0)
    strange = planner.follow(robot.observe()).diagnostics
    assert strange.stopped == "followed" and "unlike the training data" in " ".join(strange.warnings)
    with pytest.raises(ConfigError, match="execute is 4.*1 to horizon"):
        build_planner(toy.Model(), dataclasses.replace(settings, execute=4))


def test_the_workspace_is_kept_to(toy, settings):
    kept = dataclasses.replace(settings.constraints, high={"x": 0.5})
    planner = build_planner(toy.Model(), dataclasses.replace(settings, constraints=kept))
    planner.reset(toy.draw(toy.goal))
    robot = toy.Robot(toy.start)
    for _ in range(12):
        plan = planner.follow(robot.observe())
        assert plan.diagnostics.health.feasible and not plan.diagnostics.warnings
        planner.executed(plan.actions[0])
        robot.step(plan.actions[0])
        assert robot.position[0] <= 0.5 + 1e-6
    assert robot.position == pytest.approx([0.5, toy.goal[1]], abs=0.02)
    planner.reset(toy.draw(toy.goal))
    outside = planner.plan(toy.Robot((0.95, 0.3)).observe())
    assert not outside.diagnostics.health.feasible and "violates x" in " ".join(outside.diagnostics.warnings)
    assert outside.actions[0, 0] < -0.09  # the way back


def test_the_next_frame_is_compared_with_what_was_expected(toy, settings):
    energy = dataclasses.replace(settings.energy, space="latent")  # a metric space's unit is the model's error
    planner = build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    planner.reset(toy.draw(toy.goal))
    robot = toy.Robot(toy.start)
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


def test_actions_that_are_held_go_on_while_there_is_no_time(toy, settings):
    """Of horizon 6, each action held twice, two executed at a time: never what was executed already."""
    held = dataclasses.replace(settings, horizon=6, execute=2, actions=dataclasses.replace(settings.actions, hold=2))
    planner = build_planner(toy.Model(), held)
    planner.reset(toy.draw(toy.goal))
    robot = toy.Robot((0.1, 0.1))
    plan = planner.plan(robot.observe())
    assert len({tuple(action) for action in plan.actions}) == 3  # different ones
    past = planner.engine.clock() - 1
    done = []
    for _ in range(6):
        done.append(planner.act(robot.observe(), deadline=past))
        robot.step(done[-1])
    assert np.allclose(done, plan.actions)


def test_missed_deadlines_do_not_repeat_an_action(toy, settings):
    held = dataclasses.replace(settings, horizon=6, actions=dataclasses.replace(settings.actions, hold=2))
    planner = build_planner(toy.Model(), held)
    planner.reset(toy.draw(toy.goal))
    robot = toy.Robot((0.1, 0.1))
    done, plan = [planner.act(robot.observe())], planner._plan
    for _ in range(5):
        robot.step(done[-1])
        done.append(planner.act(robot.observe(), deadline=planner.engine.clock() - 1))
    assert np.allclose(done, plan.actions)


def test_the_callers_arrays_are_the_callers(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, context_frames=3, execute=2))
    planner.reset(toy.draw(toy.goal))
    robot, state, expected = toy.Robot(toy.start), np.zeros(2, np.float32), []
    for _ in range(3):
        state[:] = robot.position
        expected.append(robot.position.copy())
        action = planner.act(dataclasses.replace(robot.observe(), state=state))
        robot.step(action)
        before = action.copy()
        action *= 0
        assert np.array_equal(planner._previous, before)
    assert np.allclose(planner.engine.model.contexts[-1][1][0], expected[: len(planner.engine.model.contexts[-1][1][0])])


def test_planning_often_from_one_moment_is_no_standstill(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(Goal.sequence([toy.draw(toy.goal)] * 2))
    observation = toy.Robot(toy.start).observe()
    for _ in range(20):
        assert planner.plan(observation).diagnostics.subgoal == 0 and not planner.arrived
    # Standing still where an action was executed is one, and where others move it, it is another moment.
    for _ in range(20):
        planner.act(observation)
    assert planner.arrived


def test_a_deadline_without_end_is_none(planner, toy):
    observation = toy.Robot(toy.start).observe()
    assert planner.plan(observation, deadline=float("inf")).diagnostics.stopped == "iterations"
    with pytest.raises(PlanningError, match="deadline is NaN"):
        planner.plan(observation, deadline=float("nan"))


def test_an_energy_of_motion_alone_is_not_of_the_frame(toy, settings, tmp_path, monkeypatch):
    (tmp_path / "motion_alone.py").write_text("def energy(p, t):\n    return (p.actions[..., 0] / p.actions.norm(dim=-1)).mean(-1)")
    monkeypatch.chdir(tmp_path)
    energy = dataclasses.replace(settings.energy, functions=["motion_alone:energy"])
    planner = build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    planner.reset(toy.draw(toy.goal))
    health = planner.plan(toy.Robot(toy.start).observe()).diagnostics.health
    assert health.energy_now == pytest.approx(np.square(toy.goal - toy.start).mean(), rel=0.05)
    assert health.energy_predicted < health.energy_now


def test_the_discount_is_of_proprioception_too(toy, settings):
    energy = dataclasses.replace(settings.energy, steps="discounted", discount=0.1, state=1.0)
    terms = build_planner(toy.Model(), dataclasses.replace(settings, energy=energy)).engine.energy.energy.terms
    assert {term.name: term.energy.weights.discount for term in terms} == {"goal": 0.1, "state": 0.1}
