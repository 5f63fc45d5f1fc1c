"""Schedules, parameter groups and the EMA teacher."""

import math

import pytest
import torch
from torch import nn

from jepa_robot.training.optim import adamw, ema_update
from jepa_robot.training.schedules import cosine, linear, warmup_constant_decay


def test_warmup_constant_decay():
    factors = [warmup_constant_decay(step, 100, warmup=0.1, decay=0.2) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[4] == pytest.approx(0.5) and factors[9] == pytest.approx(1)
    assert factors[10:80] == [1] * 70
    assert factors[80] == 1 and factors[90] == pytest.approx(0.5) and factors[99] == pytest.approx(0.05)
    assert all(0 < f <= 1 for f in factors)


@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.5, 0.5)])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_factor_is_never_zero_nor_above_one(warmup, decay, steps, shape):
    assert all(0 < warmup_constant_decay(step, steps, warmup, decay, shape) <= 1 for step in range(steps))


def test_warmup_and_cosine_are_the_published_schedule():
    """V-JEPA and I-JEPA, from and to a learning rate of 0: W warm-up steps, then half a cosine over the others."""
    steps, warm = 200, 20
    for step in range(steps):
        if step < warm:
            expected = (step + 1) / warm
        else:
            expected = 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        found = warmup_constant_decay(step, steps, warm / steps, 1 - warm / steps, "cosine")
        assert found == pytest.approx(expected, abs=1e-6)


def test_linear_is_the_published_momentum():
    steps = 50
    published = [0.998 + i * (1.0 - 0.998) / steps for i in range(steps + 1)]
    assert [linear(0.998, 1.0, i, steps) for i in range(steps + 1)] == pytest.approx(published, abs=1e-12)
    assert linear(0.99925, 0.99925, 17, 50) == 0.99925


def test_cosine_is_the_published_weight_decay():
    steps = 50
    published = [0.4 + (0.04 - 0.4) * 0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps + 1)]
    found = [cosine(0.04, 0.4, i, steps) for i in range(steps + 1)]
    assert found == pytest.approx(published, abs=1e-12)
    assert found[0] == pytest.approx(0.04) and found[-1] == pytest.approx(0.4) and found[25] == pytest.approx(0.22)
    assert cosine(0.04, 0.04, 17, 50) == 0.04


def test_no_weight_decay_on_one_dimensional_parameters():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    module[2].weight.requires_grad_(False)
    optimizer = adamw([module, nn.Linear(2, 2, bias=False)], lr=0.01, weight_decay=0.04)
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.04, 0.0)
    assert sorted(tuple(p.shape) for p in decayed["params"]) == [(2, 2), (4, 3)]
    assert sorted(tuple(p.shape) for p in plain["params"]) == [(2,), (4,), (4,), (4,)]
    assert all(group["betas"] == (0.9, 0.999) and group["lr"] == 0.01 for group in optimizer.param_groups)


def test_weight_decay_shrinks_matrices_and_nothing_else():
    module = nn.Linear(3, 3)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    optimizer = adamw([module], lr=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(module.weight, torch.full((3, 3), 1 - 0.1 * 0.5)) and (module.bias == 1).all()


def test_ema_update():
    torch.manual_seed(0)
    teacher, student = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = [0.9 * t.detach() + 0.1 * s.detach() for t, s in zip(teacher.parameters(), student.parameters())]
    before = [s.detach().clone() for s in student.parameters()]
    ema_update(teacher, student, 0.9)
    for found, wanted in zip(teacher.parameters(), expected):
        torch.testing.assert_close(found.detach(), wanted)
    assert all(torch.equal(s, b) for s, b in zip(student.parameters(), before))
    for _ in range(200):
        ema_update(teacher, student, 0.9)
    torch.testing.assert_close(teacher.weight, student.weight)
