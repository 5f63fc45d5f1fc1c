"""Effective rank on known spectra, linear probes on known maps."""

import math

import pytest
import torch

from jepa_robot.training.health import dead_dims, effective_rank, linear_probe


def with_spectrum(n, d, singular, seed=0):
    """[n, d] with zero column means and these singular values."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(n, len(singular), generator=generator, dtype=torch.float64)
    left, _ = torch.linalg.qr(left - left.mean(0))
    right, _ = torch.linalg.qr(torch.randn(d, len(singular), generator=generator, dtype=torch.float64))
    return left @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ right.T


@pytest.mark.parametrize(("n", "d"), [(50, 8), (8, 50), (20, 20)])
@pytest.mark.parametrize("singular", [[1.0, 1.0, 1.0, 1.0], [3.0], [4.0, 2.0, 1.0, 1.0], [100.0, 1.0]])
def test_effective_rank_is_the_exponential_of_the_entropy(n, d, singular):
    shares = [s / sum(singular) for s in singular]
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert effective_rank(with_spectrum(n, d, singular) + 7.0) == pytest.approx(expected, rel=1e-3)


def test_effective_rank_of_a_collapsed_and_of_a_full_representation():
    assert effective_rank(torch.ones(30, 5)) == pytest.approx(1, abs=1e-6)
    x = torch.randn(2000, 10, generator=torch.Generator().manual_seed(0))
    assert 9.9 < effective_rank(x) <= 10


def data(n, seed, d=12):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator) * torch.logspace(-1, 1, d) + 5
    weights = torch.randn(d, 3, generator=torch.Generator().manual_seed(99)) / torch.logspace(-1, 1, d)[:, None]
    return x, x @ weights + torch.tensor([1.0, -20.0, 300.0])


@pytest.mark.parametrize("d", [12, 300])
def test_probe_recovers_a_linear_map(d):
    train, valid = data(400, 0, d), data(150, 1, d)
    probe = linear_probe(*train, *valid)
    for i in range(3):
        assert probe.r2[i] > 0.999
        assert probe.rmse[i] < 0.03 * float(valid[1][:, i].std())


def test_probe_finds_nothing_in_noise():
    (train_x, _), (valid_x, _) = data(400, 0), data(300, 1)
    generator = torch.Generator().manual_seed(2)
    train_y, valid_y = torch.randn(400, 3, generator=generator), torch.randn(300, 3, generator=generator)
    probe = linear_probe(train_x, train_y, valid_x, valid_y)
    assert all(abs(r2) < 0.1 for r2 in probe.r2)
    assert probe.rmse == pytest.approx([1, 1, 1], abs=0.15)


def test_probe_equals_the_primal_ridge_regression():
    (train_x, train_y), (valid_x, valid_y) = data(60, 0), data(40, 1)
    train_y = train_y + torch.randn(train_y.shape, generator=torch.Generator().manual_seed(3))
    probe = linear_probe(train_x, train_y, valid_x, valid_y, ridges=(0.3,))
    mean, scale = train_x.double().mean(0), train_x.double().std(0, correction=0)
    x, v = (train_x - mean) / scale, (valid_x - mean) / scale
    y = train_y.double() - train_y.double().mean(0)
    weights = torch.linalg.solve(x.T @ x + 0.3 * len(x) * torch.eye(12), x.T @ y)
    error = v @ weights + train_y.double().mean(0) - valid_y
    assert probe.rmse == pytest.approx(error.square().mean(0).sqrt().tolist(), rel=1e-4)
    total = (valid_y.double() - valid_y.double().mean(0)).square().sum(0)
    assert probe.r2 == pytest.approx((1 - error.square().sum(0) / total).tolist(), rel=1e-4)


def test_the_ridge_is_chosen_without_the_held_out_samples():
    """What they hold changes the figures, but not the fit; it is chosen on the last fifth of the others."""
    train_x, train_y = data(100, 0, 60)
    train_y = train_y + 3 * torch.randn(train_y.shape, generator=torch.Generator().manual_seed(3))
    ridges = (1e-3, 1e-1, 10.0)
    errors = [sum(linear_probe(train_x[:80], train_y[:80], train_x[80:], train_y[80:], (r,)).r2) for r in ridges]
    best = ridges[errors.index(max(errors))]
    held_out = [data(150, seed, 60) for seed in (1, 2)]
    held_out.append((held_out[0][0], -held_out[0][1]))  # on which another ridge would do better
    for valid in held_out:
        expected = linear_probe(train_x, train_y, *valid, ridges=(best,))
        assert linear_probe(train_x, train_y, *valid, ridges=ridges) == expected
        assert linear_probe(train_x, train_y, *valid, ridges=ridges[::-1]) == expected
    alone = [linear_probe(train_x, train_y, *held_out[-1], ridges=(r,)) for r in ridges]
    assert max(alone, key=lambda probe: sum(probe.r2)) != linear_probe(train_x, train_y, *held_out[-1], ridges=ridges)


def test_the_fit_is_to_all_training_samples():
    """A direction that only the last fifth shows is learnt, too."""
    (train_x, train_y), valid = data(200, 0), data(100, 1)
    train_x[:160, 11] = 5.0
    assert min(linear_probe(train_x, train_y, *valid).r2) > 0.9


def test_a_constant_target_has_r2_zero_and_decides_nothing():
    (train_x, train_y), (valid_x, valid_y) = data(400, 0), data(150, 1)
    constant = [torch.cat([y, torch.full((len(y), 1), 0.3)], dim=1) for y in (train_y, valid_y)]
    without, probe = (linear_probe(train_x, a, valid_x, b) for a, b in ((train_y, valid_y), constant))
    assert probe.r2[3] == 0 and probe.rmse[3] < 1e-6
    assert probe.r2[:3] == pytest.approx(without.r2) and min(probe.r2[:3]) > 0.999
    # Constant in evaluation only: an error of any size is no verdict on the others.
    shifted = valid_y.clone()
    shifted[:, 0] = 1000.0
    probe = linear_probe(train_x, train_y, valid_x, shifted)
    assert probe.r2[0] == 0 and probe.rmse[0] > 100 and min(probe.r2[1:]) > 0.999


def test_two_samples_are_enough_for_a_figure():
    (train_x, train_y), valid = data(2, 0), data(5, 1)
    probe = linear_probe(train_x, train_y, *valid)
    assert all(math.isfinite(v) for v in (*probe.r2, *probe.rmse))


def test_constant_features_are_harmless():
    (train_x, train_y), (valid_x, valid_y) = data(400, 0), data(150, 1)
    with_constant = [torch.cat([x, torch.full((len(x), 2), 3.0)], dim=1) for x in (train_x, valid_x)]
    assert min(linear_probe(with_constant[0], train_y, with_constant[1], valid_y).r2) > 0.999


def test_every_target_chooses_its_ridge_on_its_own():
    """Noise wants the strongest, which is not that of the other targets."""
    train_x, train_y = data(100, 0, 60)
    noise = 30 * torch.randn(100, 3, generator=torch.Generator().manual_seed(3))
    valid_x, valid_y = data(150, 1, 60)
    both, twice = torch.cat([train_y, noise], dim=1), torch.cat([valid_y, valid_y], dim=1)
    found = linear_probe(train_x, both, valid_x, twice)
    alone = [
        linear_probe(train_x, both[:, i : i + 1], valid_x, twice[:, i : i + 1]) for i in range(both.shape[1])
    ]
    assert found.r2 == pytest.approx([probe.r2[0] for probe in alone])
    assert found.rmse == pytest.approx([probe.rmse[0] for probe in alone])
    strongest = linear_probe(train_x, both, valid_x, twice, ridges=(10.0,))
    assert found.r2[3:] == pytest.approx(strongest.r2[3:]) and found.r2[:3] != pytest.approx(strongest.r2[:3])


def test_dead_dimensions_are_those_that_no_patch_sees_change():
    """Of 5: one constant, one that differs by patch only, one that trembles, one alive in one patch, one everywhere."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.zeros(200, 4, 5)
    latents[..., 0] = 1.0
    latents[..., 1] = torch.arange(4.0)
    latents[..., 2] = 0.001 * torch.randn(200, 4, generator=generator)
    latents[:, 2, 3] = 0.2 * torch.randn(200, generator=generator)
    latents[..., 4] = torch.randn(200, 4, generator=generator)
    assert dead_dims(latents) == dead_dims(1e3 * latents) == pytest.approx(3 / 5)
    assert dead_dims(latents[..., 3:]) == 0 and dead_dims(latents[..., :2]) == 1
