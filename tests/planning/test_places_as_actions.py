"""Actions that are places to go to, not changes: no action of 0 to stay, and none that costs nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.planning import Observation, build_planner
from jepa_robot.spec import Dim

PLACES = tuple(Dim(f"target_{name}", "m", "table", 0.0, 1.0) for name in "xy")


@pytest.fixture
def planner(toy, settings):
    class Placed(toy.Model):
        contract = dataclasses.replace(toy.contract, actions=PLACES)

        def rollout(self, context, actions):
            return actions[..., None, :]  # it is where it is sent

        def advance(self, states, actions):
            return actions.clone()

        def metric(self, latents):
            return 10 * latents.flatten(-2)  # in units of 10 cm

    energy = dataclasses.replace(settings.energy, action_cost=20.0)
    planner = build_planner(Placed(), dataclasses.replace(settings, energy=energy, horizon=1))
    planner.reset(toy.draw(toy.goal))
    return planner


def seen(toy, place):
    place = np.array(place, np.float32)
    return Observation(toy.draw(place), place, 0.0)


def test_what_rests_at_zero(toy):
    names = dataclasses.replace(
        toy.contract,
        actions=(
            *toy.contract.actions,  # changes of a state
            Dim("torque", "N m", "joint", -1, 1),
            PLACES[0],
            Dim("x", "m", "table", -1, 1),  # named like the state that it is a place of
        ),
    )
    assert names.rests_at_zero() == [True, True, True, False, False]


def test_a_place_far_from_zero_costs_nothing(planner, toy):
    action = planner.act(seen(toy, toy.goal))
    assert np.linalg.norm(action - toy.goal) < 0.02
    assert planner.follow(seen(toy, toy.goal)).diagnostics.health.energy_predicted < 0.05


def test_without_time_it_stays_where_it_was_sent(planner, toy):
    first = planner.act(seen(toy, (0.4, 0.4)))
    planner.reset(toy.draw(toy.goal))
    planner.executed(first)
    late = planner.plan(seen(toy, (0.4, 0.4)), deadline=planner.engine.clock() - 1)
    assert np.allclose(late.actions[0], first) and "or staying" in late.diagnostics.warnings[0]


def test_without_time_changes_are_none(toy, settings):
    """Also where the bounds' middle is another one."""

    class Uneven(toy.Model):
        contract = dataclasses.replace(
            toy.contract, actions=tuple(dataclasses.replace(dim, low=-0.02) for dim in toy.contract.actions)
        )

    planner = build_planner(Uneven(), settings)
    planner.reset(toy.draw(toy.goal))
    late = planner.plan(toy.Robot(toy.start).observe(), deadline=planner.engine.clock() - 1)
    assert np.array_equal(late.actions, np.zeros((3, 2))) and late.diagnostics.health.evaluated == 0


def test_costs_of_actions_are_not_of_the_frame(toy, settings):
    energy = dataclasses.replace(settings.energy, smoothness=1.0, action_cost=20.0)
    planner = build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    planner.reset(toy.draw(toy.goal))
    planner.executed(np.full(2, toy.step, np.float32))
    plan = planner.plan(Observation(toy.draw(toy.goal), toy.goal, 0.0))
    assert plan.diagnostics.health.energy_now < 1e-3 < plan.diagnostics.terms["smoothness"]
    assert torch.isfinite(torch.tensor(plan.energy))
