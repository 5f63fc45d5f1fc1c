"""The loop around an optimizer, on a clock that only moves while candidates are evaluated."""

import math

import pytest
import torch

from jepa_robot.errors import ConfigError
from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.cem import CEM
from jepa_robot.planning.optimizers.gradient import Gradient
from jepa_robot.planning.pace import Pace
from jepa_robot.planning.search import Search

SPACE = ActionSpace(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0]), horizon=2)
TARGET = torch.tensor([0.3, -0.6])


class World:
    """Squared distance to a target, at a cost of time: ``fixed`` a call and ``each`` a candidate."""

    def __init__(self, fixed=0.002, each=0.001):
        self.now, self.fixed, self.each, self.calls = 0.0, fixed, each, []

    def clock(self):
        return self.now

    def __call__(self, actions):
        self.calls.append(actions.shape[1])
        self.now += self.fixed + self.each * actions.shape[1]
        return (actions - TARGET).square().sum((2, 3))


def make(world, samples=64, iterations=5, **settings):
    optimizer = CEM(SPACE, samples, 8, momentum=0.1, init_std=0.7, min_std=0.01, keep_elites=3)
    return Search(optimizer, iterations, world.clock, **settings)


def run(search, world, seed=0, **keywords):
    return search.run(world, [torch.Generator().manual_seed(seed)], **keywords)


def test_without_a_deadline_all_is_evaluated_at_once_and_in_chunks_alike():
    world = World()
    whole = run(make(world), world)
    assert world.calls == [64] * 5 and whole.evaluated == 320 and whole.stopped == "iterations"
    world.calls.clear()
    parts = run(make(world, chunk=24), world)
    assert world.calls == [24, 24, 16] * 5
    assert torch.equal(whole.plans, parts.plans) and torch.equal(whole.energy, parts.energy)
    lowest = [float(energy) for energy in whole.history]
    assert len(lowest) == 5 and lowest == sorted(lowest, reverse=True) and lowest[-1] == float(whole.energy)


@pytest.mark.parametrize("fixed, each", [(0.002, 0.001), (0.0, 0.0005), (0.01, 0.0001)])
def test_deadlines_are_kept_and_time_is_used(fixed, each):
    world = World(fixed, each)
    search = make(world, extend=True)
    budgets = (0.02 + 0.48 * torch.rand(300, generator=torch.Generator().manual_seed(1))).tolist()
    late, used = 0, []
    for number, budget in enumerate(budgets):
        begun = world.now
        found = run(search, world, number, deadline=begun + budget)
        taken = world.now - begun
        late += taken > budget
        assert found.stopped == "deadline"
        if number >= 10:  # the pace is known
            assert found.evaluated > 0 and math.isfinite(float(found.energy))
            used.append(taken / budget)
    assert late == 0
    assert sum(used) / len(used) > 0.75


def test_time_is_shared_by_all_searches():
    """What one search has taught of the pace holds for eight, and the other way round."""

    class Shared(World):
        def __call__(self, actions):
            energies = super().__call__(actions)
            self.now += self.each * actions.shape[1] * (len(actions) - 1)
            return energies

    world = Shared(fixed=0.0)
    search = make(world)
    for many in (1, 8, 1, 8):
        for _ in range(3):
            begun = world.now
            found = search.run(world, [torch.Generator().manual_seed(e) for e in range(many)], deadline=begun + 0.1)
            assert world.now - begun <= 0.1 and found.evaluated >= 0.5 * 100 / many


def test_a_machine_that_becomes_slower_is_noticed():
    world = World(0.001, 0.0005)
    search = make(world, extend=True)
    for number in range(20):
        run(search, world, number, deadline=world.now + 0.1)
    world.fixed, world.each = 0.003, 0.0015
    late = []
    for number in range(20):
        begun = world.now
        run(search, world, number, deadline=begun + 0.1)
        late.append((world.now - begun) / 0.1)
    assert max(late[1:]) < 1.05 and late[0] < 3  # the first plan is surprised, those after it are not


def test_time_left_over_is_given_back_or_used():
    given = World()
    found = run(make(given), given, deadline=10.0)
    assert found.stopped == "iterations" and given.now < 1
    used = World()
    found = run(make(used, extend=True), used, deadline=1.0)
    assert found.stopped == "deadline" and 0.8 < used.now <= 1.0 and len(found.history) > 5


def test_short_time_is_shared_by_the_iterations():
    world = World(0.0, 0.001)
    search = make(world)
    run(search, world)  # without a deadline nothing is learnt
    run(search, world, deadline=world.now + 0.4)
    begun = world.now
    found = run(search, world, deadline=begun + 0.1)
    assert len(found.history) == 5 and 40 <= found.evaluated <= 100


def test_sizes_of_pieces_are_few():
    """Every new one costs the compilation of its kernels."""
    world = World(0.0, 0.0002)
    search = make(world, samples=512)
    for number, budget in enumerate(torch.rand(200, generator=torch.Generator().manual_seed(1)).tolist()):
        run(search, world, number, deadline=world.now + 0.3 * budget)
    significant = {size >> max(0, size.bit_length() - 4) << max(0, size.bit_length() - 4) == size for size in world.calls}
    assert significant == {True} and 10 < len(set(world.calls)) < 50


def test_no_time_at_all_answers_where_to_look_first():
    world = World()
    search = make(world)
    warm = torch.tensor([[0.25, 0.5], [0.125, 0.0]])
    found = run(search, world, warm_start=warm[None, None], deadline=world.now - 1)
    assert found.evaluated == 0 and found.stopped == "deadline" and world.calls == []
    assert torch.equal(found.actions[0], warm) and math.isinf(float(found.energy))
    assert torch.equal(run(search, world, deadline=world.now).actions[0], torch.zeros(2, 2))


def test_stops_where_nothing_is_searched_any_more():
    world = World()
    found = run(make(world, iterations=200, stop_spread=0.05), world)
    assert found.stopped == "converged" and 3 < len(found.history) < 50
    assert bool((found.spread <= 0.05).all())


def test_gradients_are_those_of_each_candidate():
    world, seen = World(), {}
    optimizer = Gradient(SPACE, starts=4, method="sgd", learning_rate=0.1, init_std=0.5)
    tell = optimizer.tell

    def remember(state, plans, energies, gradients):
        seen.setdefault("plans", plans), seen.setdefault("gradients", gradients)
        return tell(state, plans, energies, gradients)

    optimizer.tell = remember
    run(Search(optimizer, 1, world.clock, chunk=3), world)
    assert world.calls == [3, 1]
    assert torch.allclose(seen["gradients"], 2 * (seen["plans"] - TARGET))


def test_a_held_action_has_the_gradient_of_all_its_steps():
    world, seen = World(), []
    held = ActionSpace(SPACE.low, SPACE.high, horizon=3, hold=3)
    optimizer = Gradient(held, starts=2, method="sgd", learning_rate=0.1, init_std=0.5)
    tell = optimizer.tell
    optimizer.tell = lambda s, plans, e, gradients: seen.append((plans, gradients)) or tell(s, plans, e, gradients)
    found = run(Search(optimizer, 1, world.clock), world)
    assert found.plans.shape == (1, 1, 2) and found.actions.shape == (1, 3, 2)
    assert torch.allclose(seen[0][1], 6 * (seen[0][0] - TARGET))


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"iterations": 0}, "iterations is 0.*at least 1"),
        ({"chunk": -1}, "chunk is -1.*0: all"),
        ({"stop_spread": 1.0}, "stop_spread is 1.0.*below 1"),
    ],
)
def test_wrong_settings(settings, match):
    with pytest.raises(ConfigError, match=match):
        make(World(), **settings)


def test_pace_of_sizes_never_seen():
    pace = Pace()
    assert pace.fits(64, 1.0) == 1 and pace.fits(64, 0.0) == 0
    pace.learn(1, 0.010)
    assert pace.expected(1) == 0.010 and pace.expected(4) == 0.040  # at most
    assert pace.fits(64, 0.05) == 4 and pace.fits(64, 0.011) == 0 and pace.fits(3, 1.0) == 3
    pace.learn(16, 0.020)
    assert pace.expected(16) == 0.020 and pace.expected(9) == 0.020 and pace.expected(64) == 0.080
    assert pace.fits(64, 0.03) == 16


def test_a_burst_of_other_work_is_forgotten():
    pace = Pace()
    for _ in range(5):
        pace.learn(1, 0.010)
        pace.learn(16, 0.020)
    pace.learn(16, 0.200)  # once
    assert pace.expected(1) >= 0.1 and pace.expected(16) >= 0.2  # all sizes are slow now
    for _ in range(40):
        pace.learn(1, 0.010)
    assert pace.expected(1) == pytest.approx(0.010) and pace.expected(16) < 0.07
