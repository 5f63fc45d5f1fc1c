"""Figures of a plan's health against loops, and which of them are worth a warning."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from jepa_robot.planning.actions import ActionSpace, NormLimit
from jepa_robot.planning.health import (
    Expectation,
    Health,
    Limits,
    ModelError,
    Surprise,
    on_bound,
    spread_of_range,
    warnings,
)

LOW, HIGH = torch.tensor([-1.0, 0.0, -2.0]), torch.tensor([1.0, 4.0, 2.0])
WELL = Health(50.0, 40.0, novelty=1.2, spread=np.zeros(3, np.float32), on_bound=0.0, evaluated=64)


def test_spread_is_over_all_blocks_and_a_fraction_of_the_range():
    spread = torch.tensor([[0.1, 0.4, 1.0], [0.3, 0.2, 1.0]])
    space = ActionSpace(LOW, HIGH, horizon=2, fixed={2: 0.5})
    expected = [math.sqrt((0.1**2 + 0.3**2) / 2) / 2, math.sqrt((0.4**2 + 0.2**2) / 2) / 4, 0.0]
    found = spread_of_range(spread, space)
    assert found.dtype == np.float32 and found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "action, share",
    [([0.0, 2.0, 1.0], 0), ([-0.999, 2.0, 1.9], 1 / 3), ([1.0, 0.003, -2.0], 1), ([0.99, 4.0, 0.0], 1 / 3)],
)
def test_share_of_dimensions_on_a_bound(action, share):
    assert on_bound(torch.tensor(action), ActionSpace(LOW, HIGH, horizon=1)) == pytest.approx(share)


def test_dimensions_without_a_choice_do_not_count():
    space = ActionSpace(LOW, HIGH, horizon=1, fixed={0: 1.0}, levels={1: [0.0, 4.0]})
    assert on_bound(torch.tensor([1.0, 4.0, 0.0]), space) == 0.0
    assert on_bound(torch.tensor([1.0, 4.0, 2.0]), space) == 1.0
    settled = ActionSpace(LOW, HIGH, horizon=1, fixed={0: 1.0, 1: 0.0, 2: 2.0})
    assert on_bound(torch.tensor([1.0, 0.0, 2.0]), settled) == 0.0


@pytest.mark.parametrize("order, last", [(1, -0.2), (2, -0.4)])
def test_a_norm_at_its_limit_is_a_bound(order, last):
    space = ActionSpace(LOW, HIGH, horizon=1, fixed={1: 0.0}, limit=NormLimit((0, 2), order, 0.5))
    assert on_bound(torch.tensor([0.3, 0.0, last + 0.01]), space) == 0.0
    assert on_bound(torch.tensor([0.3, 0.0, last]), space) == 1.0


def frames(*values):
    return [torch.tensor([float(v), 0.0]) for v in values]


def test_error_is_compared_with_the_change():
    error = ModelError()
    assert error.observe(torch.zeros(2), 9.0) is None  # of the first frame nothing is expected
    now, expected, met = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]), torch.tensor([2.5, 3.0])
    error.expect(Expectation(now, expected, 7.0))
    found = error.observe(met, 8.0)
    assert found.error == pytest.approx((0.5**2 + 1.0**2) / 2)
    assert found.change == pytest.approx((1.5**2 + 1.0**2) / 2)
    assert found.ratio == pytest.approx(1.25 / 3.25)
    assert (found.predicted_energy, found.energy, found.poor_steps) == (7.0, 8.0, 0)
    assert error.observe(met, 8.0) is None  # once expected, once met


@pytest.mark.parametrize("expected, ratio", [(3.0, 0.0), (4.0, math.inf)])
def test_ratio_where_nothing_changes(expected, ratio):
    error = ModelError()
    now, predicted = frames(3.0, expected)
    error.expect(Expectation(now, predicted, 0.0))
    assert error.observe(now, 0.0).ratio == ratio


def poor_steps(error, run):
    """After each step of (predicted, met) from 0: how many in a row were predicted poorly."""
    counts = []
    for predicted, met in run:
        now, expected, met = frames(0.0, predicted, met)
        error.expect(Expectation(now, expected, 0.0))
        counts.append(error.observe(met, 0.0).poor_steps)
    return counts


def test_poor_steps_are_counted_until_a_good_one():
    run = [(1.0, 0.9), (-1.0, 1.0), (0.0, 1.0), (2.1, 1.0), (0.1, 1.0), (-1.0, 1.0)]
    assert poor_steps(ModelError(), run) == [0, 1, 2, 3, 0, 1]


def test_a_robot_that_does_not_move_as_predicted_is_noticed():
    assert poor_steps(ModelError(), [(1.0, 0.0)] * 3) == [1, 2, 3]


def test_rest_is_not_judged():
    """At the goal all change is noise, which no model predicts; neither does rest excuse what was before."""
    moving, rest = [(-1.0, 1.0)], [(0.0, 0.1), (0.05, -0.1)]
    assert poor_steps(ModelError(), moving + 3 * rest + moving) == [1] * 7 + [2]
    assert poor_steps(ModelError(floor=0.01), rest * 2) == [0] * 4
    assert poor_steps(ModelError(), rest[:1]) == [1]  # nothing but noise was seen: it is not known for such


def test_reset_forgets_the_run():
    error = ModelError()
    poor_steps(error, [(-1.0, 1.0)] * 2)
    error.expect(Expectation(*frames(0.0, 1.0), 0.0))
    error.reset()
    assert error.observe(torch.ones(2), 0.0) is None
    assert poor_steps(error, [(-0.1, 0.1)]) == [1]


def changed(**values):
    return warnings(dataclasses.replace(WELL, **values), Limits())


def test_a_plan_that_is_well_has_no_warning():
    assert warnings(WELL, Limits()) == []
    assert changed(on_bound=1.0, spread=np.ones(3, np.float32)) == []  # the goal is far; a dimension does not matter
    assert changed(energy_now=2.0, energy_predicted=2.5) == []  # as near as a model can tell
    assert changed(surprise=Surprise(2.0, 1.0, 5.0, 6.0, poor_steps=2)) == []
    assert changed(dropped={"mine": 32}) == []


@pytest.mark.parametrize(
    "values, expected",
    [
        (dict(evaluated=0), "no candidate was evaluated before the deadline"),
        (dict(novelty=31.0), r"unlike the training data \(novelty 31.0, trusted up to 30\)"),
        (dict(novelty=math.nan), "unlike the training data"),
        (dict(violations={"x": 0.052, "my:f": 2.0}), r"violates x by 0.052, my:f by 2 \(states"),
        (dict(violations={"x": 0.1}, energy_predicted=99.0), "violates x"),  # it goes back first, and then on
        (dict(surprise=Surprise(3.0, 2.0, 5.0, 6.0, poor_steps=3)), "for 3 steps .* 1.5 times the change"),
        (dict(energy_predicted=50.0), r"no plan comes nearer .*energy 50, now 50\)"),
        (dict(energy_predicted=math.nan), "no plan comes nearer"),
        (dict(dropped={"mine": 33, "fine": 1}), "energy 'mine' is not a finite number for 33 of 64 candidates"),
    ],
)
def test_one_line_for_each_reason(values, expected):
    (line,) = changed(**values)
    assert re.search(expected, line) and "\n" not in line


def test_limits_are_settings():
    ill = dataclasses.replace(WELL, novelty=5.0, energy_now=2.0, energy_predicted=2.0, dropped={"mine": 7})
    assert warnings(ill, Limits()) == []
    assert len(warnings(ill, Limits(novelty=4.0, near=1.0, dropped=0.1))) == 3


def test_a_plan_is_feasible_where_it_violates_nothing():
    assert WELL.feasible
    assert not dataclasses.replace(WELL, violations={"x": 1e-4}).feasible


def test_what_a_search_met_is_not_said_again_while_its_plan_is_followed():
    met = dict(energy_predicted=99.0, dropped={"mine": 60})
    for values in (dict(evaluated=0), met):
        assert changed(**values)
        assert warnings(dataclasses.replace(WELL, **values), Limits(), searched=False) == []
    (line,) = warnings(dataclasses.replace(WELL, **met, novelty=31.0), Limits(), searched=False)
    assert "unlike the training data" in line
