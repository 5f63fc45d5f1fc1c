import numpy as np
import torch
from optimizer_cases import generators

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import INFEASIBLE
from jepa_robot.planning.optimizers.mppi import MPPI

LOW, HIGH = torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 2.0])


def make(**changed):
    settings = dict(samples=6, temperature=0.5, init_std=0.4, min_std=0.01, momentum_std=0.25)
    return MPPI(ActionSpace(LOW, HIGH, horizon=3), **{**settings, **changed})


def told(optimizer, energies, warm_start=None):
    state = optimizer.init(generators(range(len(energies))), warm_start)
    plans = optimizer.ask(state)
    return plans, optimizer.tell(state, plans, energies)


def test_update_matches_the_equations():
    energies = torch.tensor([[4.0, 1.0, torch.nan, 3.0, 2.0, torch.inf], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]])
    plans, after = told(make(), energies)
    # Medians of what is finite: (1, 2, 3, 4) -> the lower middle, 2; (10, ..., 60) -> 30.
    cases = (([4, 1, np.inf, 3, 2, np.inf], 0.5 * (2 - 1)), ([10, 20, 30, 40, 50, 60], 0.5 * (30 - 10)))
    for e, (values, scale) in enumerate(cases):
        weights = np.exp(-(np.array(values) - min(values)) / scale)
        weights /= weights.sum()
        x = plans[e].numpy().astype(np.float64)
        mean = np.einsum("s,sba->ba", weights, x)
        std = np.sqrt(np.einsum("s,sba->ba", weights, (x - mean) ** 2))
        np.testing.assert_allclose(after.mean[e], mean, atol=1e-6)
        np.testing.assert_allclose(after.std[e], 0.25 * 0.4 * ((HIGH - LOW) / 2).numpy() + 0.75 * std, atol=1e-6)
        expected = sum(w * v for w, v in zip(weights, values) if w)
        np.testing.assert_allclose(after.mean_energy[e], expected, rtol=1e-6)
    assert after.best_energy.tolist() == [1.0, 10.0] and torch.equal(after.best[0], plans[0, 1])


def test_a_cold_temperature_takes_the_best_and_a_hot_one_the_average():
    energies = torch.tensor([[3.0, 1.0, 2.0, 5.0, 6.0, 7.0]])
    plans, cold = told(make(temperature=1e-6), energies)
    assert torch.equal(cold.mean, plans[:, 1])
    plans, hot = told(make(temperature=1e6), energies)
    torch.testing.assert_close(hot.mean, plans.mean(1), atol=1e-5, rtol=0)


def test_equal_energies_weigh_the_same():
    plans, after = told(make(), torch.ones(1, 6))
    torch.testing.assert_close(after.mean, plans.mean(1))
    plans, after = told(make(), torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0, 2.0]]))
    torch.testing.assert_close(after.mean, plans[:, :5].mean(1))


def test_enormous_penalties_of_a_few_change_nothing_for_the_others():
    _, usual = told(make(), torch.tensor([[1.0, 2.0, 3.0, 4.0, 50.0, 60.0]]))
    _, enormous = told(make(), torch.tensor([[1.0, 2.0, 3.0, 4.0, 1e9, 1e12]]))
    torch.testing.assert_close(usual.mean, enormous.mean, atol=1e-5, rtol=0)


def test_energies_count_where_most_candidates_break_constraints():
    """Those that do are no measure of how much energies differ among the others; among themselves they are."""
    energies = torch.tensor([[1.0, 2.0, 4.0, 3 * INFEASIBLE, 4 * INFEASIBLE, 5 * INFEASIBLE, 9 * INFEASIBLE]])
    plans, after = told(make(samples=7), energies)
    weights = torch.softmax(-torch.tensor([0.0, 1.0, 3.0]) / (0.5 * 1.0), 0)
    torch.testing.assert_close(after.mean, (weights[:, None, None] * plans[0, :3]).sum(0)[None])
    plans, after = told(make(samples=3), energies[:, 3:6])
    weights = torch.softmax(-torch.tensor([0.0, 1.0, 2.0]) / 0.5, 0)
    torch.testing.assert_close(after.mean, (weights[:, None, None] * plans[0]).sum(0)[None])


def test_momentum_1_keeps_sigma_fixed_as_published():
    optimizer = make(momentum_std=1.0)
    _, after = told(optimizer, torch.arange(6.0)[None])
    torch.testing.assert_close(optimizer.spread(after), (0.4 * (HIGH - LOW) / 2).expand(1, 3, 2))


def test_the_mean_is_tried_and_carried_with_the_best():
    optimizer = make()
    plans, after = told(optimizer, torch.arange(6.0)[None])
    assert torch.equal(optimizer.ask(after)[:, 0], after.mean)
    assert torch.equal(optimizer.carry(after), torch.stack((after.mean, after.best), 1))
    assert torch.equal(optimizer.best(after)[0], after.mean)
    assert torch.equal(make(answer="best").best(after)[0], plans[:, 0])


def test_what_the_warm_start_adds_is_tried_once():
    warm_start = torch.stack((torch.full((3, 2), 0.25), torch.full((3, 2), 0.75)))[None]
    plans, after = told(make(), torch.arange(6.0)[None], warm_start)
    assert torch.equal(plans[:, :2], warm_start)
    assert not (make().ask(after) == warm_start[:, 1:]).all(-1).all(-1).any()


def test_noise_may_be_coloured():
    rough, smooth = (
        optimizer.ask(optimizer.init(generators([0])))[0, 1:].diff(dim=1).abs().mean()
        for optimizer in (MPPI(ActionSpace(LOW, HIGH, 12), 2000, 0.1, 0.3, 0.01, 0.5, beta) for beta in (0.0, 3.0))
    )
    assert smooth < 0.5 * rough
