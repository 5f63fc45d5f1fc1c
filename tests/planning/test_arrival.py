import dataclasses

import pytest

from jepa_robot.errors import ConfigError
from jepa_robot.planning.arrival import ArrivalRule
from jepa_robot.planning.build import build_arrival, build_energy


def steps_until_arrival(rule, energies):
    return next((i for i, e in enumerate(energies) if rule.update(e)), None)


def test_plateau_ends_after_patience_steps():
    assert steps_until_arrival(ArrivalRule(3, 0.1, 2), [1.0, 0.5, 0.49, 0.6, 0.47, 0.1]) == 4


def test_falling_energy_never_arrives():
    assert steps_until_arrival(ArrivalRule(2, 0.1, 2), [0.8**i for i in range(50)]) is None


def test_slow_fall_adds_up_against_the_lowest_energy():
    assert steps_until_arrival(ArrivalRule(5, 0.02, 2), [0.99**i for i in range(50)]) is None


def test_tolerance_ends_at_once():
    assert steps_until_arrival(ArrivalRule(10, 0.1, 2, tolerance=0.2), [1.0, 0.5, 0.2]) == 2


def test_on_a_plateau_it_waits_to_be_near_the_lowest_energy():
    trembling = [1.0, 0.5, 0.9, 0.8, 0.76, 0.74, 0.5]
    assert steps_until_arrival(ArrivalRule(3, 0.1, 1.5), trembling) == 5
    assert steps_until_arrival(ArrivalRule(3, 0.1, 2), trembling) == 4
    assert steps_until_arrival(ArrivalRule(3, 0.1, 1), trembling) == 6


def test_it_does_not_wait_for_ever():
    assert steps_until_arrival(ArrivalRule(3, 0.1, 1.5), [0.5] + [1.0] * 20) == 6


def test_reset_forgets():
    rule = ArrivalRule(2, 0.1, 2)
    assert steps_until_arrival(rule, [0.1, 0.1, 0.1]) == 2
    rule.reset()
    assert steps_until_arrival(rule, [1.0, 0.5, 0.25]) is None


@pytest.mark.parametrize(
    "values", [(0, 0.1, 2, None), (3, 1.0, 2, None), (3, -0.1, 2, None), (3, 0.1, 2, -1.0), (3, 0.1, 0.9, None)]
)
def test_wrong_settings(values):
    with pytest.raises(ConfigError, match="expected"):
        ArrivalRule(*values)


def test_a_tolerance_is_for_the_metric_space(settings):
    arrival = dataclasses.replace(settings.arrival, tolerance=0.5)
    for space, ends in (("metric", True), ("latent", False)):
        energy = dataclasses.replace(settings.energy, space=space)
        rule = build_arrival(dataclasses.replace(settings, energy=energy, arrival=arrival))
        assert rule.update(0.4) is ends


def test_an_action_cost_is_for_the_metric_space(toy, settings):
    """At the goal the cost keeps the point still; the latents' distance, of another scale, is left alone."""
    for space, cost, terms in (("metric", 5.0, ["goal", "action_cost"]), ("metric", 0.0, ["goal"]), ("latent", 5.0, ["goal"])):
        energy = dataclasses.replace(settings.energy, space=space, action_cost=cost)
        built = build_energy(toy.Model(), dataclasses.replace(settings, energy=energy))
        assert [term.name for term in built.energy.terms] == terms
