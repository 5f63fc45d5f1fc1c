"""Each loss against its formula written out in loops, and on cases whose value is known."""

import math

import pytest
import torch

from jepa_robot.training import losses


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("exponent", [1, 2, 1.5])
def test_latent_distance(exponent):
    a, b = random(2, 3, 4), random(2, 3, 4, seed=1)
    expected = sum(abs(x - y) ** exponent for x, y in zip(a.flatten().tolist(), b.flatten().tolist())) / 24
    assert float(losses.latent_distance(a, b, exponent)) == pytest.approx(expected, rel=1e-5)


def test_latent_distance_is_computed_in_fp32():
    a = torch.full((1000,), 1.0).bfloat16()
    b = a + torch.tensor(1 / 128).bfloat16()
    distance = losses.latent_distance(a, b, 1)
    assert distance.dtype == torch.float32 and float(distance) == pytest.approx(1 / 128)


@pytest.mark.parametrize("exponent", [1, 2, 1.5])
def test_masked_latent(exponent):
    predicted, target, weights = random(2, 5, 3), random(2, 5, 3, seed=1), random(2, 5, seed=2).abs()
    total = weight = 0.0
    for b in range(2):
        for m in range(5):
            distance = sum(abs(float(predicted[b, m, d] - target[b, m, d])) ** exponent for d in range(3)) / 3
            total += float(weights[b, m]) * distance
            weight += float(weights[b, m])
    assert float(losses.masked_latent(predicted, target, weights, exponent)) == pytest.approx(total / weight, rel=1e-5)
    expected = float(((predicted - target).abs() ** exponent).mean())
    found = losses.masked_latent(predicted, target, torch.ones(2, 5), exponent)
    assert float(found) == pytest.approx(expected, rel=1e-5)


# Latents whose every number is the frame's index: the error of a prediction counts how many frames it is off.


def counting(frames, batch=2):
    return torch.arange(float(frames)).view(1, frames, 1, 1).expand(batch, frames, 3, 4)


@pytest.mark.parametrize("exponent", [1, 2])
def test_teacher_forcing_is_scored_on_the_next_frame(exponent):
    latents = counting(5)
    assert float(losses.teacher_forcing(latents[:, 1:], latents, exponent)) == 0
    assert float(losses.teacher_forcing(latents[:, :-1], latents, exponent)) == 1  # copying
    assert float(losses.teacher_forcing(latents[:, :-1] + 2, latents, exponent)) == 1  # one too far


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_rollout_is_scored_on_the_frames_after_its_start(start, steps):
    latents = counting(6)
    right = latents[:, start + 1 : start + 1 + steps]
    assert float(losses.rollout(right, latents, start, 1)) == 0
    assert float(losses.rollout(right - 1, latents, start, 1)) == 1  # producing the frame before again
    assert float(losses.rollout(right + 1, latents, start, 1)) == 1
    assert float(losses.rollout(right, latents, start + 1 if start + steps < 5 else start - 1, 1)) == 1


def test_variance_covariance():
    x = random(7, 4) * torch.tensor([0.1, 2.0, 0.5, 1.0]) + 3
    n, d = x.shape
    mean = [sum(float(x[i, a]) for i in range(n)) / n for a in range(d)]

    def covariance(a, b):
        return sum((float(x[i, a]) - mean[a]) * (float(x[i, b]) - mean[b]) for i in range(n)) / (n - 1)

    hinge = sum(max(0.0, 1 - math.sqrt(covariance(a, a) + 1e-4)) for a in range(d)) / d
    off = sum(covariance(a, b) ** 2 for a in range(d) for b in range(d) if a != b) / d
    found = losses.variance_covariance(x)
    assert [float(f) for f in found] == pytest.approx([hinge, off], rel=1e-4)


def test_variance_covariance_knows_collapse_from_health():
    generator = torch.Generator().manual_seed(0)
    healthy = torch.randn(5000, 6, generator=generator) * 1.1
    variance, covariance = losses.variance_covariance(healthy)
    assert variance < 0.01 and covariance < 0.01
    variance, covariance = losses.variance_covariance(torch.ones(100, 6))
    assert float(variance) == pytest.approx(0.99) and float(covariance) == 0
    variance, covariance = losses.variance_covariance(healthy[:, :1].expand(-1, 6))
    assert variance < 0.01 and float(covariance) == pytest.approx(5 * 1.1**4, rel=0.1)


def test_displacement_is_half_the_mean_over_all_pairs():
    metric, states = random(6, 3), random(6, 3, seed=1)
    total = 0.0
    for i in range(6):
        for j in range(6):
            for m in range(3):
                wrong = float((metric[i, m] - metric[j, m]) - (states[i, m] - states[j, m]))
                total += wrong**2
    assert float(losses.displacement(metric, states)) == pytest.approx(total / (6 * 6 * 3) / 2, rel=1e-5)


def test_displacement_leaves_the_origin_free():
    states = random(6, 3)
    assert float(losses.displacement(states + torch.tensor([5.0, -3.0, 100.0]), states)) == pytest.approx(0, abs=1e-8)
    expected = float(states.var(0, correction=0).mean())
    assert float(losses.displacement(2 * states, states)) == pytest.approx(expected, rel=1e-5)
