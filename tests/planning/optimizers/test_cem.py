import math

import pytest
import torch

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.optimizers.base import search
from jepa_robot.planning.optimizers.cem import CEM, CEMState

LOW, HIGH = torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 2.0])


def make(**changed):
    values = dict(
        low=LOW, high=HIGH, horizon=3, samples=128, elites=12, momentum=0.1, init_std=1.0, min_std=0.001, keep_elites=3
    )
    return CEM(**{**values, **changed})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def minimise(optimizer, objective, seed=0, iterations=30, warm_start=None):
    return search(optimizer, objective, generator(seed), iterations, clock=lambda: 0.0, warm_start=warm_start)


def test_finds_the_minimum_of_a_quadratic_with_coupled_steps():
    target = torch.tensor([[0.3, 1.5], [-0.7, 0.1], [0.9, -0.4]])
    weights = torch.tensor([[1.0, 3.0], [0.5, 2.0], [4.0, 1.0]])

    def objective(x):
        d = x - target
        return (weights * d**2).sum((1, 2)) + 0.5 * (d[:, 0] * d[:, 1]).sum(-1)

    found = minimise(make(), objective)
    assert torch.allclose(found.actions, target, atol=0.02)
    assert found.energy == pytest.approx(float(objective(found.actions[None])), abs=1e-7)
    assert all(a >= b for a, b in zip(found.history, found.history[1:]))


def test_lands_on_the_bound_when_the_minimum_is_outside():
    target = torch.tensor([5.0, -3.0])
    found = minimise(make(), lambda x: (x - target).square().sum((1, 2)), iterations=15)
    assert torch.equal(found.actions, torch.stack((HIGH[0], LOW[1])).repeat(3, 1))


def test_candidates_never_leave_the_bounds():
    optimizer = make(init_std=5.0)
    state = optimizer.init(generator(), warm_start=torch.full((3, 2), 9.0))
    for _ in range(5):
        actions = optimizer.ask(state)
        assert actions.shape == (128, 3, 2)
        assert bool((actions >= LOW).all()) and bool((actions <= HIGH).all())
        state = optimizer.tell(state, actions, -actions.sum((1, 2)))
        assert bool((state.mean >= LOW).all()) and bool((state.mean <= HIGH).all())


def test_same_seed_same_result_and_other_seed_another():
    def objective(x):
        return (x - 0.2).square().sum((1, 2))

    a, b, c = (minimise(make(), objective, seed, iterations=2).actions for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_update_matches_a_loop_over_the_equations():
    optimizer = make(samples=9, elites=4, momentum=0.3, min_std=0.4, keep_elites=2)
    state = optimizer.init(generator(3), warm_start=torch.tensor([[0.1, 0.2], [0.3, 0.4], [-0.5, 0.0]]))
    actions = optimizer.ask(state)
    energies = torch.tensor([5.0, 1.0, float("nan"), 0.5, 9.0, 2.0, float("inf"), 3.0, float("-inf")])
    after = optimizer.tell(state, actions, energies)

    elites = [actions[i] for i in (3, 1, 5, 7)]
    for h in range(3):
        for a in range(2):
            values = [float(e[h, a]) for e in elites]
            mean = sum(values) / 4
            std = math.sqrt(sum((v - mean) ** 2 for v in values) / 4)
            floor = 0.4 * (float(HIGH[a]) - float(LOW[a])) / 2
            assert float(after.mean[h, a]) == pytest.approx(0.3 * float(state.mean[h, a]) + 0.7 * mean, abs=1e-6)
            expected = max(0.3 * float(state.std[h, a]) + 0.7 * std, floor)
            assert float(after.std[h, a]) == pytest.approx(expected, abs=1e-6)
    assert torch.equal(after.kept, torch.stack(elites[:2]))
    assert torch.equal(after.best, elites[0]) and after.best_energy == 0.5


def test_fresh_samples_are_gaussian_around_the_mean_and_clipped():
    optimizer = make(samples=20_000, init_std=0.1, keep_elites=0)
    mean = torch.tensor([[0.0, 0.5]]).repeat(3, 1)
    fresh = optimizer.ask(optimizer.init(generator(), mean))[1:]
    assert torch.allclose(fresh.mean(0), mean, atol=0.005)
    assert torch.allclose(fresh.std(0), 0.1 * (HIGH - LOW) / 2 * torch.ones(3, 2), rtol=0.03)


def test_mean_and_kept_elites_compete():
    optimizer = make()
    state = optimizer.init(generator(), warm_start=torch.full((3, 2), 0.25))
    assert torch.equal(optimizer.ask(state)[0], torch.full((3, 2), 0.25))
    actions = optimizer.ask(state)
    state = optimizer.tell(state, actions, actions[:, 0, 0])
    assert torch.equal(optimizer.ask(state)[1:4], actions[actions[:, 0, 0].argsort()[:3]])


def test_warm_start_at_the_minimum_is_never_lost():
    target = torch.tensor([[0.3, 1.5], [-0.7, 0.1], [0.9, -0.4]])
    found = minimise(make(samples=4, elites=2, keep_elites=1), lambda x: (x - target).abs().sum((1, 2)), 0, 1, target)
    assert found.energy == 0.0 and torch.equal(found.actions, target)


def test_all_energies_unusable_is_an_error():
    optimizer = make()
    state = optimizer.init(generator())
    actions = optimizer.ask(state)
    with pytest.raises(PlanningError, match="all 128 candidate plans"):
        optimizer.tell(state, actions, torch.full((128,), float("nan")))


def test_few_usable_energies_are_enough():
    optimizer = make(momentum=0.0)
    state = optimizer.init(generator())
    actions = optimizer.ask(state)
    energies = torch.full((128,), float("nan"))
    energies[7] = 1.0
    after = optimizer.tell(state, actions, energies)
    assert torch.equal(after.best, actions[7]) and torch.equal(after.mean, actions[7])
    assert bool((after.std > 0).all())


def test_tell_leaves_the_old_state_alone():
    optimizer = make()
    state = optimizer.init(generator())
    before = CEMState(state.mean.clone(), state.std.clone(), state.kept, state.best.clone(), state.best_energy, None)
    actions = optimizer.ask(state)
    optimizer.tell(state, actions, actions.sum((1, 2)))
    assert torch.equal(state.mean, before.mean) and torch.equal(state.std, before.std)
    assert state.best_energy == float("inf")


@pytest.mark.parametrize(
    "changed",
    [
        {"horizon": 0}, {"samples": 1}, {"elites": 0}, {"elites": 129}, {"momentum": 1.0}, {"momentum": -0.1},
        {"init_std": 0.0}, {"init_std": float("inf")}, {"min_std": 2.0}, {"samples": 100_001},
        {"keep_elites": 13}, {"low": HIGH},
    ],
)  # fmt: skip
def test_wrong_settings(changed):
    with pytest.raises(ConfigError, match="expected"):
        make(**changed)


def test_search_stops_before_an_iteration_that_would_not_fit():
    now = [0.0]
    calls = []

    def objective(x):
        now[0] += 0.1
        calls.append(now[0])
        return x.sum((1, 2))

    found = search(make(), objective, generator(), 50, clock=lambda: now[0], deadline=0.35)
    assert len(calls) == 3 and now[0] <= 0.35
    assert len(found.history) == 3 and found.energy == min(found.history)
    found = search(make(), objective, generator(), 50, clock=lambda: now[0], deadline=0.0)
    assert len(found.history) == 1
