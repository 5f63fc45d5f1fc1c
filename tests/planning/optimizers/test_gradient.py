import pytest
import torch
from optimizer_cases import generators

from jepa_robot.errors import PlanningError
from jepa_robot.planning.actions import ActionSpace, NormLimit
from jepa_robot.planning.optimizers.gradient import Gradient

LOW, HIGH = torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 2.0])
HALF = (HIGH - LOW) / 2
TARGET = torch.tensor([[0.3, 1.5], [-0.7, 0.1]])


def make(space=None, **changed):
    settings = dict(starts=3, method="adam", learning_rate=0.05, init_std=0.3)
    return Gradient(space or ActionSpace(LOW, HIGH, horizon=2), **{**settings, **changed})


def energy(plans):
    return ((plans - TARGET) ** 4).sum((2, 3)) + (plans - TARGET).prod(-1).square().sum(2)


def slope(plans):
    variable = plans.clone().requires_grad_()
    return torch.autograd.grad(energy(variable).sum(), variable)[0]


@pytest.mark.parametrize(("method", "reference"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_steps_are_those_of_torch_in_units_of_half_the_range(method, reference):
    optimizer = make(method=method)
    state = optimizer.init(generators([0, 1]))
    unit = (optimizer.ask(state) / HALF).requires_grad_()
    theirs = reference([unit], lr=0.05)
    for _ in range(15):
        plans = optimizer.ask(state)
        torch.testing.assert_close(plans, unit.detach() * HALF, atol=1e-5, rtol=1e-5)
        state = optimizer.tell(state, plans, energy(plans), slope(plans))
        theirs.zero_grad()
        energy(unit * HALF).sum().backward()
        theirs.step()
    assert not torch.allclose(optimizer.ask(state), plans, atol=1e-3)


def test_starts_are_the_warm_start_and_others_around_its_first():
    optimizer = make(starts=4000, init_std=0.1)
    warm_start = torch.stack((torch.full((2, 2), 0.4), torch.full((2, 2), -0.4)))[None]
    starts = optimizer.ask(optimizer.init(generators([0]), warm_start))[0]
    assert torch.equal(starts[:2], warm_start[0])
    torch.testing.assert_close(starts[2:].mean(0), warm_start[0, 0], atol=0.01, rtol=0)
    torch.testing.assert_close(starts[2:].std(0), 0.1 * HALF.expand(2, 2), rtol=0.05, atol=0)


def test_every_step_ends_inside_the_ball():
    space = ActionSpace(LOW, HIGH, horizon=2, limit=NormLimit((0, 1), 1, 0.3))
    optimizer = make(space, learning_rate=0.5)
    state = optimizer.init(generators([0]))
    for _ in range(6):
        plans = optimizer.ask(state)
        assert (plans.abs().sum(-1) <= 0.3).all()
        state = optimizer.tell(state, plans, energy(plans), slope(plans))
    # What lies farthest towards (0.3, 1.5) is on the edge.
    torch.testing.assert_close(optimizer.best(state)[0][0, 0].abs().sum(), torch.tensor(0.3), atol=1e-4, rtol=0)


def test_discrete_dimensions_are_drawn_evenly_and_stay():
    space = ActionSpace(LOW, HIGH, horizon=2, levels={1: [0.0, 1.0, 2.0]})
    optimizer = make(space, starts=3000, learning_rate=0.9)
    state = optimizer.init(generators([0]))
    starts = optimizer.ask(state)
    shares = torch.stack([(starts[0, 1:, :, 1] == value).float().mean(0) for value in (0.0, 1.0, 2.0)])
    torch.testing.assert_close(shares, torch.full((3, 2), 1 / 3), atol=0.03, rtol=0)
    for _ in range(3):
        plans = optimizer.ask(state)
        state = optimizer.tell(state, plans, energy(plans), slope(plans))
    assert torch.equal(optimizer.ask(state)[..., 1], starts[..., 1])
    assert not torch.equal(optimizer.ask(state)[..., 0], starts[..., 0])


def test_keeps_the_best_where_a_step_was_too_long():
    optimizer = make(starts=1, learning_rate=1.0)
    state = optimizer.init(generators([0]), TARGET[None, None] + 0.01)
    energies = []
    for _ in range(4):
        plans = optimizer.ask(state)
        energies.append(float(energy(plans)))
        state = optimizer.tell(state, plans, energy(plans), slope(plans))
    assert energies[1] > energies[0] and optimizer.best(state)[1] == min(energies)
    torch.testing.assert_close(optimizer.best(state)[0][0], TARGET + 0.01)


def test_a_gradient_that_is_no_number_moves_nothing():
    optimizer = make()
    state = optimizer.init(generators([0]))
    plans = optimizer.ask(state)
    bad = slope(plans)
    bad[0, 1] = torch.nan
    bad[0, 2, 0, 0] = torch.inf
    after = optimizer.ask(optimizer.tell(state, plans, energy(plans), bad))
    assert torch.equal(after[0, 1], plans[0, 1]) and after[0, 2, 0, 0] == plans[0, 2, 0, 0]
    assert (after[0, 0] != plans[0, 0]).all()


def test_gradients_are_asked_for_and_missed():
    optimizer = make()
    state = optimizer.init(generators([0]))
    assert optimizer.uses_gradients and optimizer.wants_gradients(state)
    plans = optimizer.ask(state)
    with pytest.raises(PlanningError, match="no gradients of the energies"):
        optimizer.tell(state, plans, energy(plans))


def test_spread_falls_as_the_starts_meet_and_one_start_has_that_of_its_step():
    optimizer = make(starts=6, learning_rate=0.1)
    state = optimizer.init(generators([0]))
    first = optimizer.spread(state)
    assert (first > 0).all()
    single = make(starts=1, learning_rate=0.1)
    plans = single.ask(single.init(generators([0])))
    moved = single.tell(single.init(generators([0])), plans, energy(plans), slope(plans))
    torch.testing.assert_close(single.spread(moved), 0.1 * HALF.expand(1, 2, 2), rtol=1e-3, atol=0)  # Adam's first step
    for _ in range(100):
        plans = optimizer.ask(state)
        away = plans - TARGET
        state = optimizer.tell(state, plans, away.square().sum((2, 3)), 2 * away)
    assert (optimizer.spread(state) < 0.05 * first).all()


def test_starts_that_time_ran_out_for_stay_where_they_are():
    optimizer = make(learning_rate=0.001)
    state = optimizer.init(generators([0]))
    plans = optimizer.ask(state)
    after = optimizer.tell(state, plans[:, :1], energy(plans[:, :1]), slope(plans[:, :1]))
    assert torch.equal(optimizer.ask(after)[:, 1:], plans[:, 1:]) and not torch.equal(optimizer.ask(after), plans)
    whole = optimizer.tell(state, plans, energy(plans), slope(plans))
    torch.testing.assert_close(optimizer.spread(whole), plans.std(1, correction=0), atol=0.01, rtol=0)
