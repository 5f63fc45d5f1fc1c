import dataclasses

import numpy as np
import pytest
import torch
from optimizer_cases import generators

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import coloured
from jepa_robot.planning.optimizers.cem import CEM
from jepa_robot.planning.optimizers.icem import ICEM

SETTINGS = dict(samples=64, elites=8, momentum=0.1, init_std=0.5, min_std=0.01, keep_elites=3)


def make(horizon=16, **changed):
    space = ActionSpace(-torch.ones(2), torch.ones(2), horizon)
    return ICEM(space, **{**SETTINGS, "beta": 2.0, "sample_decay": 1.25, **changed})


def bowl(plans):
    return plans.square().sum((2, 3))


def counts(optimizer, iterations):
    state = optimizer.init(generators([0]))
    for _ in range(iterations):
        plans = optimizer.ask(state)
        yield plans.shape[1]
        state = optimizer.tell(state, plans, bowl(plans))


def test_the_number_of_samples_decays_to_twice_the_elites():
    assert list(counts(make(), 9)) == [64, 51, 40, 32, 26, 20, 16, 16, 16]
    assert list(counts(make(sample_decay=1.0), 3)) == [64, 64, 64]


def test_samples_can_grow_up_to_what_fits():
    assert list(counts(make(samples=16, sample_decay=0.5), 4)) == [16, 32, 64, 128]
    optimizer = make(samples=50_000, sample_decay=0.1)
    state = optimizer.init(generators([0]))
    for iteration in (1, 1000):
        assert optimizer.ask(dataclasses.replace(state, iteration=iteration)).shape[1] == 100_000


def test_white_noise_and_no_decay_make_it_cem():
    optimizer, cem = make(beta=0.0, sample_decay=1.0), CEM(make().space, **SETTINGS)
    states = [o.init(generators([5])) for o in (optimizer, cem)]
    for _ in range(3):
        plans = [o.ask(state) for o, state in zip((optimizer, cem), states)]
        assert torch.equal(*plans)
        states = [o.tell(state, p, bowl(p)) for o, state, p in zip((optimizer, cem), states, plans)]


@pytest.mark.parametrize("blocks", [2, 3, 8, 9])
@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_noise_is_standard_normal_and_its_power_falls_as_promised(blocks, beta):
    white = torch.randn(40_000, blocks, 2, generator=torch.Generator().manual_seed(0))
    noise = coloured(white, beta).numpy()
    np.testing.assert_allclose(noise.std(0), 1, atol=0.02)
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.02)
    power = (np.abs(np.fft.rfft(noise, axis=1)) ** 2).mean((0, 2))
    frequency = np.maximum(np.arange(len(power)), 1)
    np.testing.assert_allclose(power / power[1], frequency**-beta, rtol=0.05)
    assert abs(np.corrcoef(noise[:, 0].T)[0, 1]) < 0.02  # dimensions do not know of each other


def test_noise_of_exponent_0_or_of_a_single_block_stays_white():
    white = torch.randn(10, 5, 2)
    assert torch.equal(coloured(white, 0.0), white)
    assert torch.equal(coloured(white[:, :1], 3.0), white[:, :1])


def test_samples_are_smooth_in_time():
    rough, smooth = (
        optimizer.ask(optimizer.init(generators([0])))[0, 1:].diff(dim=1).abs().mean()
        for optimizer in (make(samples=2000, beta=0.0), make(samples=2000, beta=3.0))
    )
    assert smooth < 0.5 * rough


def test_elites_shifted_in_time_compete_in_the_next_search():
    optimizer = make()
    state = optimizer.init(generators([0]))
    plans = optimizer.ask(state)
    state = optimizer.tell(state, plans, bowl(plans - 0.2))
    carried = optimizer.carry(state)
    assert torch.equal(carried[0], plans[0, bowl(plans - 0.2)[0].argsort()[:3]])
    shifted = optimizer.space.shift(carried, steps=1)
    asked = optimizer.ask(optimizer.init(generators([1]), shifted))
    assert torch.equal(asked[:, :3], shifted)
    assert torch.equal(shifted[:, :, :-1], carried[:, :, 1:]) and not torch.equal(shifted, carried)
