import numpy as np
import pytest
import torch
from optimizer_cases import generators

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.cem import CEM

LOW, HIGH = torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 2.0])
HALF = ((HIGH - LOW) / 2).numpy()


def make(levels=None, **changed):
    settings = dict(samples=128, elites=12, momentum=0.1, init_std=1.0, min_std=0.001, keep_elites=3)
    return CEM(ActionSpace(LOW, HIGH, horizon=3, levels=levels), **{**settings, **changed})


def test_update_matches_the_equations():
    optimizer = make(samples=9, elites=4, momentum=0.3, momentum_std=0.6, keep_elites=2)
    warm_start = torch.tensor([[[0.1, 0.2], [0.3, 0.4], [-0.5, 0.0]], [[0.0, 0.0], [0.1, 0.1], [0.9, 1.9]]])
    state = optimizer.init(generators([3, 4]), warm_start[:, None])
    plans = optimizer.ask(state)
    nan, inf = float("nan"), float("inf")
    energies = torch.tensor([[5.0, 1.0, nan, 0.5, 9.0, 2.0, inf, 3.0, -inf], [9, 8, 7, 6, 5, 4, 3, 2, 1]])
    after = optimizer.tell(state, plans, energies)

    for e, best_first in enumerate(((3, 1, 5, 7), (8, 7, 6, 5))):
        elites = plans[e, list(best_first)].numpy()
        np.testing.assert_allclose(after.mean[e], 0.3 * warm_start[e].numpy() + 0.7 * elites.mean(0), atol=1e-6)
        np.testing.assert_allclose(after.std[e], 0.6 * 1.0 * HALF + 0.4 * elites.std(0), atol=1e-6)
        assert torch.equal(after.kept[e], plans[e, list(best_first[:2])])
        assert torch.equal(after.best[e], plans[e, best_first[0]])
    assert after.best_energy.tolist() == [0.5, 1.0]
    assert after.mean_energy.tolist() == [(0.5 + 1 + 2 + 3) / 4, 2.5]


def test_without_its_own_momentum_the_deviation_has_the_means():
    state = make().init(generators([0]))
    plans = make().ask(state)
    a, b, c = (
        make(momentum=0.4, momentum_std=n).tell(state, plans, plans.sum((2, 3))).std for n in (None, 0.4, 0.0)
    )
    assert torch.equal(a, b) and not torch.allclose(b, c)


def test_too_few_usable_energies_are_enough():
    optimizer = make(momentum=0.0)
    state = optimizer.init(generators([0]))
    plans = optimizer.ask(state)
    energies = torch.full((1, 128), torch.nan)
    energies[0, 7] = 1.0
    after = optimizer.tell(state, plans, energies)
    assert torch.equal(after.best[0], plans[0, 7]) and torch.equal(after.mean[0], plans[0, 7])
    assert torch.equal(after.kept[0], plans[0, [7, 7, 7]])


@pytest.mark.parametrize("told, elites", [(64, 8), (48, 6), (32, 4), (16, 2), (8, 2), (2, 2), (1, 1)])
def test_of_fewer_candidates_as_many_fewer_are_elites(told, elites):
    optimizer = make(samples=64, elites=8, momentum=0.0)
    plans = optimizer.ask(state := optimizer.init(generators([0])))[:, :told]
    after = optimizer.tell(state, plans, -torch.arange(told)[None].float())
    torch.testing.assert_close(after.mean[0], plans[0, -elites:].mean(0))


def test_fresh_samples_are_gaussian_around_the_mean():
    optimizer = make(samples=20_000, init_std=0.1, keep_elites=0)
    mean = torch.tensor([[0.0, 0.5]]).repeat(3, 1)
    fresh = optimizer.ask(optimizer.init(generators([0]), mean[None, None]))[0, 1:]
    torch.testing.assert_close(fresh.mean(0), mean, atol=0.005, rtol=0)
    torch.testing.assert_close(fresh.std(0), 0.1 * torch.tensor(HALF).repeat(3, 1), rtol=0.03, atol=0)


def test_samples_at_least_as_wide_as_min_std():
    optimizer = make(samples=20_000, momentum=0.0, min_std=0.05, elites=1, keep_elites=0)
    state = optimizer.init(generators([0]))
    plans = optimizer.ask(state)
    state = optimizer.tell(state, plans, (plans - 0.3).square().sum((2, 3)))  # one elite: no deviation
    assert (optimizer.spread(state) == 0).all()
    width = optimizer.ask(state)[0, 1:].std(0)
    torch.testing.assert_close(width, 0.05 * torch.tensor(HALF).repeat(3, 1), rtol=0.03, atol=0)


def test_no_level_of_a_discrete_dimension_is_lost():
    optimizer = make({0: [0.0, 0.5, 1.0]}, samples=20_000, momentum=0.0, min_std=0.001)
    state = optimizer.init(generators([0]))
    for _ in range(3):  # elites of one level alone
        plans = optimizer.ask(state)
        state = optimizer.tell(state, plans, plans[..., 0].abs().sum(2))
    assert (state.mean[..., 0] == 0).all() and (optimizer.spread(state)[..., 0] == 0).all()
    others = (optimizer.ask(state)[0, 1 + len(state.kept[0]) :, :, 0] == 0.5).float().mean(0)
    torch.testing.assert_close(others, torch.full((3,), 0.048), atol=0.008, rtol=0)  # P(0.5 gap < 0.3 gap eps)


def test_a_narrow_start_still_tries_every_level():
    optimizer = make({0: [0.0, 0.5, 1.0]}, samples=20_000, init_std=0.01)
    first = optimizer.ask(optimizer.init(generators([0])))[0, 1:, :, 0]
    shares = torch.stack([(first == level).float().mean(0) for level in (0.0, 0.5, 1.0)])
    expected = torch.tensor([0.5987, 0.1747, 0.2266])  # of N(0, half range 1): below 0.25, to 0.75, above
    torch.testing.assert_close(shares, expected[:, None].expand(3, 3), atol=0.01, rtol=0)


def test_mean_and_kept_elites_compete():
    optimizer = make()
    warm_start = torch.stack((torch.full((3, 2), 0.25), torch.full((3, 2), 0.75)))[None]
    state = optimizer.init(generators([0]), warm_start)
    plans = optimizer.ask(state)
    assert plans.shape == (1, 128, 3, 2) and torch.equal(plans[:, :2], warm_start)
    energies = plans[..., 0, 0]
    state = optimizer.tell(state, plans, energies)
    after = optimizer.ask(state)
    assert after.shape == (1, 128, 3, 2) and torch.equal(after[:, 0], state.mean)
    assert torch.equal(after[0, 1:4], plans[0, energies[0].argsort()[:3]])


@pytest.mark.parametrize(("answer", "count"), [("best", 3), ("mean", 4)])
def test_carries_the_answer_and_the_elites_each_once(answer, count):
    optimizer = make(answer=answer)
    state = optimizer.init(generators([0]))
    for _ in range(3):
        plans = optimizer.ask(state)
        state = optimizer.tell(state, plans, (plans - 0.4).square().sum((2, 3)))
    carried = optimizer.carry(state)[0]
    assert torch.equal(carried[0], optimizer.best(state)[0][0])
    assert len(carried) == count == len({tuple(plan.flatten().tolist()) for plan in carried})


def test_answers_the_mean_as_published():
    optimizer = make({0: [-1.0, 1.0]}, answer="mean")
    state = optimizer.init(generators([0]))
    plans = optimizer.ask(state)
    state = optimizer.tell(state, plans, plans[..., 1].sum(2))
    answer, _ = optimizer.best(state)
    torch.testing.assert_close(answer[..., 1], state.mean[..., 1].clamp(LOW[1], HIGH[1]))
    assert (answer[..., 0].abs() == 1).all() and (state.mean[..., 0].abs() < 1).any()  # of whole levels
