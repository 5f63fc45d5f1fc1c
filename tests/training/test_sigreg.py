"""SIGReg against numerical integration of its formula, and on samples whose verdict is known."""

import cmath
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from jepa_robot.training.sigreg import SLICES, directions, epps_pulley, sigreg


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integral(samples):
    """n * integral of |empirical CF - normal CF|^2 weighted by the normal CF, over [-3, 3]."""

    def integrand(t):
        empirical = sum(cmath.exp(1j * t * x) for x in samples) / len(samples)
        return abs(empirical - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2)

    return len(samples) * integrate.quad(integrand, -3, 3)[0]


@pytest.mark.parametrize(
    "samples", [normal(12), 0.3 * normal(12), 1.5 + normal(12), torch.zeros(5), torch.tensor([2.0]), 4 * normal(20)]
)
def test_epps_pulley_is_the_weighted_integral(samples):
    found = float(epps_pulley(samples[:, None]))
    assert found == pytest.approx(integral(samples.double().tolist()), rel=0.01)


def test_columns_are_independent():
    x = normal(30, 4) * torch.tensor([1.0, 0.1, 2.0, 1.0])
    alone = torch.cat([epps_pulley(x[:, [s]]) for s in range(4)])
    torch.testing.assert_close(epps_pulley(x), alone)


def test_its_expectation_for_normal_samples_does_not_grow_with_their_number():
    """E of the statistic is the integral of (1 - phi^2) phi, whatever n."""
    expected = integrate.quad(lambda t: (1 - math.exp(-(t**2))) * math.exp(-(t**2) / 2), -3, 3)[0]
    for n in (16, 256):
        assert float(epps_pulley(normal(n, 4000)).mean()) == pytest.approx(expected, rel=0.05)


def test_directions_are_unit_vectors_of_their_generator():
    along = directions(5, torch.Generator().manual_seed(1))
    assert along.shape == (5, SLICES)
    torch.testing.assert_close(along.norm(dim=0), torch.ones(SLICES))
    assert torch.equal(along, directions(5, torch.Generator().manual_seed(1)))
    assert not torch.equal(along, directions(5, torch.Generator().manual_seed(2)))


def test_sigreg_is_the_mean_over_projections():
    x, along = 0.7 * normal(20, 5), directions(5, torch.Generator().manual_seed(1))[:, :10]
    columns = [integral((x @ along[:, s]).double().tolist()) for s in range(10)]
    assert float(sigreg(x, along)) == pytest.approx(np.mean(columns), rel=0.01)


def test_sigreg_knows_collapse_from_health():
    along = directions(6, torch.Generator().manual_seed(1))
    rng = np.random.default_rng(0)
    healthy = float(sigreg(normal(512, 6), along))
    uncentred = float(sigreg(normal(512, 6) + 1, along))
    constant = float(sigreg(torch.ones(512, 6), along))
    one_direction = float(sigreg(normal(512, 1).expand(-1, 6), along))
    heavy = float(sigreg(torch.from_numpy(stats.t.rvs(1, size=(512, 6), random_state=rng)).float(), along))
    assert healthy < 1.2
    assert min(uncentred, constant, one_direction, heavy) > 10 * healthy


@pytest.mark.parametrize("samples", [torch.zeros(8, 6), normal(8, 6), 1e4 * normal(8, 6)])
def test_gradients_are_finite(samples):
    x = samples.clone().requires_grad_()
    sigreg(x, directions(6, torch.Generator().manual_seed(1))).backward()
    assert torch.isfinite(x.grad).all()


def test_descending_it_makes_samples_normal():
    x = (0.1 * normal(64, 3)).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        sigreg(x, directions(3, generator)).backward()
        optimizer.step()
    covariance = torch.cov(x.detach().T)
    assert x.detach().mean(0).abs().max() < 0.15
    torch.testing.assert_close(covariance, torch.eye(3), atol=0.3, rtol=0)


def test_in_bf16_it_is_computed_in_fp32():
    x, along = normal(64, 6), directions(6, torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sigreg(x, along)
    assert torch.equal(found, sigreg(x, along))
