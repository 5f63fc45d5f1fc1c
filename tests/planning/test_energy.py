import math

import pytest
import torch

from jepa_robot.errors import ConfigError
from jepa_robot.planning.energy import ActionCost, LatentDistance, WeightedSum

S, H, M, A = 4, 3, 5, 2


@pytest.fixture
def data():
    g = torch.Generator().manual_seed(0)
    return torch.randn(S, H, M, generator=g), torch.randn(M, generator=g), torch.randn(S, H, A, generator=g)


def one(distance, predicted, goal):
    """Distance of two lists of numbers."""
    if distance == "l2":
        return sum((p - g) ** 2 for p, g in zip(predicted, goal)) / len(goal)
    if distance == "l1":
        return sum(abs(p - g) for p, g in zip(predicted, goal)) / len(goal)
    dot = sum(p * g for p, g in zip(predicted, goal))
    return 1 - dot / (math.hypot(*predicted) * math.hypot(*goal))


@pytest.mark.parametrize("distance", ["l2", "l1", "cosine"])
@pytest.mark.parametrize("steps", ["last", "all"])
def test_latent_distance_matches_a_loop(data, distance, steps):
    predicted, goal, actions = data
    energies = LatentDistance(distance, steps)(predicted, goal, actions)
    assert energies.shape == (S,)
    for s in range(S):
        each = [one(distance, predicted[s, h].tolist(), goal.tolist()) for h in range(H)]
        expected = each[-1] if steps == "last" else sum(each) / H
        assert float(energies[s]) == pytest.approx(expected, abs=1e-5)


def test_half_precision_latents_are_compared_in_float32(data):
    predicted, goal, actions = data
    energies = LatentDistance("l2")(predicted.bfloat16(), goal.bfloat16(), actions)
    assert energies.dtype == torch.float32


def test_action_cost_matches_a_loop(data):
    predicted, goal, actions = data
    scale = torch.tensor([0.5, 2.0])
    energies = ActionCost(scale)(predicted, goal, actions)
    for s in range(S):
        terms = [(float(actions[s, h, a]) / float(scale[a])) ** 2 for h in range(H) for a in range(A)]
        assert float(energies[s]) == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_weighted_sum(data):
    first, second = LatentDistance("l1"), ActionCost(torch.ones(A))
    total = WeightedSum([(2.0, first), (0.25, second)])(*data)
    assert torch.allclose(total, 2 * first(*data) + 0.25 * second(*data))


def test_wrong_settings():
    with pytest.raises(ConfigError, match="l2, l1, cosine"):
        LatentDistance("euclid")
    with pytest.raises(ConfigError, match="last or all"):
        LatentDistance("l2", "first")
    with pytest.raises(ConfigError, match="no terms"):
        WeightedSum([])
