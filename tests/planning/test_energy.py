"""Energies against formulas written out as loops, and their gradients against finite differences."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from jepa_robot.errors import ConfigError
from jepa_robot.planning.energy import ActionCost, LatentDistance, Novelty, Smoothness, StateDistance
from jepa_robot.planning.protocols import Prediction, Target
from jepa_robot.planning.weighted_sum import Term, WeightedSum
from jepa_robot.spec import Dim

E, S, H, N, D, P, A, G = 2, 4, 3, 2, 3, 3, 2, 2
M = N * D
NAN = float("nan")
DIMS = (Dim("x", "m", "base", -9, 9), Dim("closed", "1", "base", 0, 1), Dim("yaw", "rad", "base", -4, 4))
SCALE = torch.tensor([0.5, 2.0, 1.0])
BOUNDS = torch.tensor([0.5, 2.0])


def made(seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=g, dtype=dtype)

    latents = random(E, S, H, N, D)
    prediction = Prediction(latents.flatten(-2), latents, 3 * random(E, S, H, P), random(E, S, H, A), random(E, A))
    state = 3 * random(E, P)
    state[1, 0] = NAN
    return prediction, Target(random(E, G, M), state)


def one(distance, predicted, goal):
    """Distance of two lists of numbers."""
    if distance == "l2":
        return sum((p - g) ** 2 for p, g in zip(predicted, goal)) / len(goal)
    if distance == "l1":
        return sum(abs(p - g) for p, g in zip(predicted, goal)) / len(goal)
    dot = sum(p * g for p, g in zip(predicted, goal))
    return 1 - dot / (math.hypot(*predicted) * math.hypot(*goal))


def weights(steps, discount):
    raw = {"last": [0, 0, 1], "all": [1, 1, 1], "discounted": [discount**h for h in range(H)]}[steps]
    return [w / sum(raw) for w in raw]


@pytest.mark.parametrize("distance", ["l2", "l1", "cosine"])
@pytest.mark.parametrize("steps, discount", [("last", 1), ("all", 1), ("discounted", 0.5), ("discounted", 2.0)])
def test_latent_distance_matches_a_loop(distance, steps, discount):
    prediction, target = made()
    energies = LatentDistance(distance, steps, discount)(prediction, target)
    assert energies.shape == (E, S)
    nearest = set()
    for e in range(E):
        for s in range(S):
            of_goals = [
                sum(
                    w * one(distance, prediction.features[e, s, h].tolist(), target.features[e, g].tolist())
                    for h, w in enumerate(weights(steps, discount))
                )
                for g in range(G)
            ]
            nearest.add(of_goals.index(min(of_goals)))
            assert float(energies[e, s]) == pytest.approx(min(of_goals), abs=1e-5)
    assert nearest == {0, 1}  # either picture is the nearest for some plan


def test_one_goal_counts_for_the_whole_plan():
    """A plan that is at one picture first and at another one later is at neither."""
    features = torch.tensor([[[[0.0], [1.0]], [[0.0], [0.0]]]])  # [1, 2, 2, 1]
    prediction = Prediction(features, features[..., None], *[torch.zeros(1, 2, 2, 0)] * 2, torch.zeros(1, 0))
    energies = LatentDistance("l2", "all")(prediction, Target(torch.tensor([[[0.0], [1.0]]])))
    assert energies.tolist() == [[0.5, 0.0]]


def test_discounting_a_long_plan_does_not_overflow():
    features = torch.arange(300.0)[None, None, :, None]
    prediction = Prediction(features, features[..., None], *[torch.zeros(1, 1, 300, 0)] * 2, torch.zeros(1, 0))
    energy = LatentDistance("l1", "discounted", 2.0)(prediction, Target(torch.zeros(1, 1, 1)))
    assert float(energy) == pytest.approx(sum((299 - k) * 0.5 ** (k + 1) for k in range(299)), rel=1e-5)


def test_half_precision_features_are_compared_in_float32():
    prediction, target = made(dtype=torch.float32)
    half = dataclasses.replace(prediction, features=prediction.features.bfloat16())
    energies = LatentDistance("l2")(half, dataclasses.replace(target, features=target.features.bfloat16()))
    exact = dataclasses.replace(target, features=target.features.bfloat16().float())
    assert energies.dtype == torch.float32
    rounded = dataclasses.replace(prediction, features=prediction.features.bfloat16().float())
    assert torch.equal(energies, LatentDistance("l2")(rounded, exact))


@pytest.mark.parametrize("distance", ["l2", "l1", "cosine"])
def test_under_autocast_and_inference_mode_nothing_is_rounded(distance):
    prediction, target = made(dtype=torch.float32)
    exact = LatentDistance(distance, "all")(prediction, target)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LatentDistance(distance, "all")(prediction, target), exact)


@pytest.mark.parametrize("steps, discount", [("last", 1), ("all", 1), ("discounted", 0.5)])
def test_state_distance_matches_a_loop(steps, discount):
    prediction, target = made()
    energies = StateDistance(DIMS, SCALE, steps, discount)(prediction, target)
    turned = 0
    for e, wanted in enumerate([[0, 1, 2], [1, 2]]):
        for s in range(S):
            expected = 0.0
            for h, w in enumerate(weights(steps, discount)):
                for p in wanted:
                    off = float(prediction.states[e, s, h, p] - target.state[e, p])
                    if p == 2:
                        turned += abs(off) > math.pi
                        off = min((off + 2 * math.pi * k for k in range(-4, 5)), key=abs)
                    expected += w * (off / float(SCALE[p])) ** 2 / len(wanted)
            assert float(energies[e, s]) == pytest.approx(expected, rel=1e-6)
    assert turned > 0


@pytest.mark.parametrize("state", [None, torch.full((E, P), NAN)])
def test_no_state_wanted_is_no_energy(state):
    prediction, target = made()
    energies = StateDistance(DIMS, SCALE)(prediction, dataclasses.replace(target, state=state))
    assert torch.equal(energies, torch.zeros(E, S, dtype=torch.float64))


def test_what_may_be_anything_may_even_be_no_number():
    prediction, target = made()
    expected = StateDistance(DIMS, SCALE)(prediction, target)
    prediction.states[1, :, :, 0] = NAN
    states = prediction.states.requires_grad_()
    energies = StateDistance(DIMS, SCALE)(prediction, target)
    assert torch.equal(energies, expected)
    (slope,) = torch.autograd.grad(energies.sum(), states)
    assert bool(slope.isfinite().all())


def test_angles_go_the_short_way():
    dims = (Dim("x", "m", "base", -1, 3), Dim("yaw", "rad", "base", -4, 4), Dim("turn", "deg", "base", 0, 360))
    zeros = torch.zeros(1, 1, 1, 3)
    prediction = Prediction(zeros, zeros[..., None], zeros, zeros, zeros[0, 0])
    energy = StateDistance(dims, torch.ones(3))
    for wanted, off in (([300, NAN, NAN], 300), ([NAN, 5, NAN], 2 * math.pi - 5), ([NAN, NAN, 350], 10)):
        assert float(energy(prediction, Target(zeros[0], torch.tensor([wanted])))) == pytest.approx(off**2)


def test_action_cost_matches_a_loop():
    prediction, target = made()
    energies = ActionCost(BOUNDS)(prediction, target)
    for e in range(E):
        for s in range(S):
            terms = [(float(prediction.actions[e, s, h, a] / BOUNDS[a])) ** 2 for h in range(H) for a in range(A)]
            assert float(energies[e, s]) == pytest.approx(sum(terms) / len(terms), abs=1e-9)


def test_smoothness_matches_a_loop():
    prediction, target = made()
    energies = Smoothness(BOUNDS)(prediction, target)
    for e in range(E):
        for s in range(S):
            before, total = prediction.previous[e].tolist(), 0.0
            for h in range(H):
                action = prediction.actions[e, s, h].tolist()
                total += sum(((x - y) / float(b)) ** 2 for x, y, b in zip(action, before, BOUNDS))
                before = action
            assert float(energies[e, s]) == pytest.approx(total / (H * A), abs=1e-9)


def test_novelty_counts_what_is_above_that_of_training():
    prediction, target = made()
    level = prediction.latents[..., 0, 0] * 2
    energies = Novelty(lambda latents: latents[..., 0, 0] * 2)(prediction, target)
    for e in range(E):
        for s in range(S):
            expected = sum(max(float(x) - 1, 0) for x in level[e, s]) / H
            assert float(energies[e, s]) == pytest.approx(expected, abs=1e-6)
    assert bool((energies > 0).any()) and bool((energies == 0).any())


ENERGIES = {
    "l2": LatentDistance("l2", "all"),
    "l1": LatentDistance("l1", "last"),
    "cosine": LatentDistance("cosine", "discounted", 0.7),
    "state": StateDistance(DIMS, SCALE, "all"),
    "cost": ActionCost(BOUNDS),
    "smoothness": Smoothness(BOUNDS),
    "novelty": Novelty(lambda latents: latents.square().sum((-2, -1))),
}
ENERGIES["sum"] = WeightedSum([Term(name, 0.5 + i, energy) for i, (name, energy) in enumerate(ENERGIES.items())])


@pytest.mark.parametrize("name", ENERGIES)
def test_gradients_against_finite_differences(name):
    """Through a model that is linear but for one square."""
    _, target = made(1)
    g = torch.Generator().manual_seed(2)
    matrix = torch.randn(A, M, generator=g, dtype=torch.float64)
    plans = torch.randn(E, S, H, A, generator=g, dtype=torch.float64)
    previous = torch.randn(E, A, generator=g, dtype=torch.float64)

    def energies(actions):
        moved = actions.cumsum(2)
        features = moved @ matrix + 0.1 * (moved @ matrix).square()
        states = torch.cat((moved, moved[..., :1] * 2), -1)
        latents = features.unflatten(-1, (N, D))
        return ENERGIES[name](Prediction(features, latents, states, actions, previous), target).double()

    (slope,) = torch.autograd.grad(energies(plans.requires_grad_()).sum(), plans)
    with torch.no_grad():
        for index in [(0, 0, 0, 0), (1, 2, 1, 1), (0, 3, 2, 0), (1, 1, 2, 1)]:
            step = torch.zeros_like(plans)
            step[index] = 1e-3
            expected = (energies(plans + step) - energies(plans - step)) / 2e-3
            assert float(slope[index]) == pytest.approx(float(expected[index[:2]]), rel=2e-2, abs=2e-3)
            expected[index[:2]] = 0
            assert float(expected.abs().max()) < 1e-2  # it is in no other candidate's energy


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: LatentDistance("euclid"), "'euclid'.*l2, l1, cosine"),
        (lambda: LatentDistance("l2", "first"), "'first'.*last, all or discounted"),
        (lambda: LatentDistance("l2", "discounted", 0.0), "discount is 0.0"),
        (lambda: LatentDistance("l2", "discounted", NAN), "discount is nan"),
        (lambda: StateDistance((), torch.ones(0)), "no state to compare"),
    ],
)
def test_wrong_settings(make, expected):
    with pytest.raises(ConfigError, match=expected):
        make()
