import torch
from optimizer_cases import generators

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.predictive_sampling import PredictiveSampling

LOW, HIGH = torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 2.0])


def make(**changed):
    settings = dict(samples=5000, init_std=0.1, min_std=0.02, std_decay=2.0)
    return PredictiveSampling(ActionSpace(LOW, HIGH, horizon=2), **{**settings, **changed})


def bowl(plans):
    return plans.square().sum((2, 3))


def test_samples_around_the_best_with_noise_that_decays():
    optimizer = make()
    state = optimizer.init(generators([0]), torch.full((1, 1, 2, 2), 0.5))
    half = ((HIGH - LOW) / 2).expand(2, 2)
    for i, sigma in enumerate((0.1, 0.05, 0.025, 0.02, 0.02)):
        plans = optimizer.ask(state)
        fresh = plans[0, 1:] if i == 0 else plans[0]
        torch.testing.assert_close(fresh.mean(0), state.best[0], atol=0.01, rtol=0)
        torch.testing.assert_close(fresh.std(0), sigma * half, rtol=0.05, atol=0)
        state = optimizer.tell(state, plans, bowl(plans))


def test_keeps_the_best_and_never_asks_for_it_again():
    optimizer = make(samples=8)
    warm_start = torch.full((1, 2, 2, 2), 0.5)
    state = optimizer.init(generators([0]), warm_start)
    plans = optimizer.ask(state)
    assert torch.equal(plans[:, :2], warm_start)
    state = optimizer.tell(state, plans, torch.tensor([[5.0, 4.0, 3.0, 1.0, 2.0, 6.0, 7.0, 8.0]]))
    assert torch.equal(state.best, plans[:, 3])
    second = optimizer.ask(state)
    assert second.shape == plans.shape and not (second == state.best[:, None]).all(-1).all(-1).any()
    worse = optimizer.tell(state, second, torch.full((1, 8), 1.5))
    assert torch.equal(worse.best, plans[:, 3]) and worse.best_energy == 1.0


def test_without_decay_the_noise_stays():
    optimizer = make(std_decay=1.0, samples=4)
    state = optimizer.init(generators([0]))
    first = optimizer.spread(state)
    plans = optimizer.ask(state)
    assert torch.equal(optimizer.spread(optimizer.tell(state, plans, bowl(plans))), first)
