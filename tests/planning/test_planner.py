import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.errors import ConfigError, GoalError, PlanningError
from jepa_robot.planning import Observation, build_planner
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
    assert planner.model.encoded == 1
    run(planner, toy.Robot(START), 4)
    assert planner.model.encoded == 5


def test_goal_may_be_latents(toy, settings):
    planner = build_planner(toy.Model(), settings)
    planner.reset(torch.from_numpy(GOAL)[None])
    assert run(planner, toy.Robot(START), 10)[-1] < 0.02


def test_warm_start_is_the_previous_plan_one_step_later(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, samples=2, elites=1, keep_elites=0))
    planner.reset(toy.draw(GOAL))
    seen = []
    rollout = planner.model.rollout
    planner.model.rollout = lambda context, actions: seen.append(actions) or rollout(context, actions)
    plan = planner.plan(toy.Robot(START).observe())
    planner.executed(plan.actions[0])
    seen.clear()
    planner.plan(toy.Robot(START).observe())
    expected = np.concatenate((plan.actions[1:], plan.actions[-1:]))
    assert np.allclose(seen[0][0].numpy(), expected)


def test_deadline_returns_the_best_plan_so_far(planner, toy):
    now = [100.0]
    energies = []
    energy = planner.energy

    def slow_energy(predicted, goal, actions):
        now[0] += 0.05 if len(predicted) > 1 else 0.0
        values = energy(predicted, goal, actions)
        if len(predicted) > 1:
            energies.append(float(values.min()))
        return values

    planner.energy, planner.clock, planner.iterations = slow_energy, lambda: now[0], 100
    plan = planner.plan(toy.Robot(START).observe(), deadline=100.22)
    assert now[0] <= 100.22
    assert plan.diagnostics.iterations == 4 == len(energies)
    assert plan.energy == min(energies) == plan.diagnostics.energy_history[-1]
    assert plan.diagnostics.latency_s == pytest.approx(0.2)


def test_plan_says_when_and_how_well(planner, toy):
    robot = toy.Robot(START)
    robot.time = 7.0
    observation = robot.observe()
    plan = planner.plan(observation)
    assert np.allclose(plan.times, [7.0, 7.2, 7.4])
    ends = np.array(START) + np.cumsum(plan.actions, 0)
    assert plan.energy == pytest.approx(np.mean((ends - GOAL) ** 2), abs=1e-4)
    assert plan.diagnostics.energy_now == pytest.approx(np.mean((np.array(START) - GOAL) ** 2), abs=1e-4)
    assert plan.diagnostics.elite_std.shape == (2,)


def test_context_holds_the_last_frames_and_the_actions_between(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, context_frames=3))
    planner.reset(toy.draw(GOAL))
    robot = toy.Robot(START)
    positions, actions = [], []
    for _ in range(5):
        positions.append(robot.position.copy())
        actions.append(planner.act(robot.observe()))
        robot.step(actions[-1])
    contexts = planner.model.contexts
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
    assert planner.model.contexts[-1][0].shape[1] == 1


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
    with pytest.raises(GoalError, match=f"goal picture is {found}.*expected uint8 .32, 32, 3. RGB from camera 'front'"):
        planner.reset(image)
    with pytest.raises(PlanningError, match=f"observed picture is {found}"):
        planner.act(Observation(image, np.zeros(2, np.float32)))


@pytest.mark.parametrize("goal", [[[0.0]], "goal.png", torch.zeros(3), torch.zeros(1, 1, 2), None])
def test_a_goal_that_is_neither_picture_nor_latents(planner, goal):
    with pytest.raises(GoalError, match="goal is .*expected a uint8 picture, or latents"):
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
    planner.model.rollout = lambda context, actions: torch.full((*actions.shape[:2], 1, 2), float("nan"))
    with pytest.raises(PlanningError, match="not a finite number"):
        planner.act(toy.Robot(START).observe())


def test_bf16_reaches_the_model_and_leaves_actions_in_float32(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, dtype="bf16"))
    rollout, seen = planner.model.rollout, []
    planner.model.rollout = lambda c, a: seen.append(torch.is_autocast_enabled("cpu")) or rollout(c, a)
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
    assert found["metric"][1].diagnostics.energy_now == pytest.approx(way[0] ** 2, abs=1e-3)
    assert found["latent"][1].diagnostics.energy_now == pytest.approx((way**2).mean(), abs=1e-3)
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
        assert planner.plan(toy.Robot((0.25, 0.5)).observe()).diagnostics.novelty == pytest.approx(25, abs=0.5)


def test_a_goal_without_numbers_is_refused(toy, settings):
    planner = build_planner(toy.Model(), dataclasses.replace(settings, max_novelty=20.0))
    planner.model.novelty = lambda latents: torch.tensor(float("nan"))
    with pytest.raises(GoalError, match="novelty nan"):
        planner.reset(torch.tensor([[0.5, 0.5]]))


def test_wrong_settings(toy, settings):
    energy = dataclasses.replace(settings.energy, space="pixels")
    with pytest.raises(ConfigError, match="energy space is 'pixels'.*expected metric or latent"):
        build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    with pytest.raises(ConfigError, match="iterations is 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, iterations=0))
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
