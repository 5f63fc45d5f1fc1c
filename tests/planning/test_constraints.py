"""Constraints against loops, feasibility before energy, and gradients back to what is feasible."""

from __future__ import annotations

import itertools
import math
import sys

import pytest
import torch

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.constraints import INFEASIBLE, Constrained, StateBox, UserConstraint, state_boxes
from jepa_robot.planning.protocols import Prediction, Target
from jepa_robot.spec import Dim

NAN, INF = float("nan"), float("inf")
DIMS = (Dim("x", "m", "base", 0.0, 2.0), Dim("yaw", "rad", "base", -4.0, 4.0), Dim("closed", "1", "base", 0.0, 1.0))
E, S, H, P, A = 2, 5, 3, 3, 2
TARGET = Target(torch.zeros(E, 1, 1))


def predicted(states, actions=None):
    actions = torch.zeros(*states.shape[:3], A) if actions is None else actions
    empty = states.new_zeros(*states.shape[:3], 1)
    return Prediction(empty, empty[..., None], states, actions, actions[:, 0, 0])


@pytest.fixture
def states():
    g = torch.Generator().manual_seed(0)
    return torch.rand(E, S, H, P, generator=g) * torch.tensor([2.0, 8.0, 1.0]) - torch.tensor([0.0, 4.0, 0.0])


class Amount:
    """A constraint that is violated by given amounts [E, S]."""

    def __init__(self, name, amounts):
        self.name, self.amounts = name, torch.tensor(amounts)

    def __call__(self, prediction):
        return self.amounts


@pytest.mark.parametrize("low, high", [(0.2, 1.8), (-INF, 1.5), (0.5, INF)])
def test_box_is_left_by_the_largest_excess(states, low, high):
    found = StateBox(0, DIMS[0], low, high)(predicted(states))
    kept = 0
    for e, s in itertools.product(range(E), range(S)):
        excess = max(max(low - x, x - high) for x in states[e, s, :, 0].tolist()) / 2.0
        assert float(found[e, s]) == pytest.approx(excess, abs=2e-6)
        assert (float(found[e, s]) <= 0) == (excess <= 0)
        kept += excess <= 0
    assert 0 < kept < E * S


def test_the_faces_of_a_box_are_in_it():
    faces = torch.tensor([0.3, 0.6])
    states = torch.nextafter(faces, torch.tensor([0.0, 1.0])).view(1, 2, 1, 1)  # as far outside as float32 can tell
    assert bool((StateBox(0, DIMS[0], 0.3, 0.6)(predicted(states)) <= 0).all())
    assert bool((StateBox(0, DIMS[0], 0.3001, 0.5999)(predicted(states)) > 0).all())


def test_boxes_by_index(states):
    boxes = state_boxes(DIMS, {0: 0.5, 2: 0.1}, {0: 1.5, 1: 1.0})
    assert [(box.name, box.low, box.high) for box in boxes] == [
        ("x", 0.5, 1.5), ("yaw", -INF, 1.0), ("closed", 0.1, INF)
    ]
    expected = (states[..., 1].amax(-1) - 1.0) / 8.0
    assert torch.allclose(boxes[1](predicted(states)), expected, atol=2e-6)


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (1.0, 0.5, r"planner.constraints: x: is kept within \[1, 0.5\]; expected low < high"),
        (NAN, 1.0, "expected low < high"),
        (2.5, 3.0, r"expected a part of \[0, 2\] m, where it can be"),
        (-INF, -0.5, r"expected a part of \[0, 2\] m"),
    ],
)
def test_impossible_boxes(low, high, expected):
    with pytest.raises(ConfigError, match=expected):
        StateBox(0, DIMS[0], low, high)


VIOLATIONS = [[-1.0, 0.0, 0.3, 0.2, NAN], [0.1, 0.4, 2.0, INF, 1e30]]
ENERGIES = torch.tensor([[9.0, 1e6, 0.0, 1.0, -5.0], [3.0, 0.0, 7.0, 1.0, 2.0]])


def order(energies):
    return [row.argsort(stable=True).tolist() for row in energies]


def test_reject_orders_by_feasibility_then_by_violation():
    energy = Constrained(lambda p, t: ENERGIES, [Amount("one", VIOLATIONS)], "reject")
    found = energy(predicted(torch.zeros(E, S, H, P)), TARGET)
    assert order(found) == [[0, 1, 3, 2, 4], [0, 1, 2, 3, 4]]
    assert found[0, :2].tolist() == [9.0, 1e6]  # what is feasible has its own energy
    assert bool((found[0, 2:] >= INFEASIBLE).all()) and bool((found[1] >= INFEASIBLE).all())
    assert bool(torch.isfinite(found).all())


def test_the_order_holds_from_one_iteration_to_the_next():
    """Optimizers compare all that they have seen: no infeasible plan may beat a feasible one of another iteration."""
    zeros = predicted(torch.zeros(1, 1, H, P))
    infeasible = Constrained(lambda p, t: torch.tensor([[-1e9]]), [Amount("one", [[1e-5]])])(zeros, TARGET)
    feasible = Constrained(lambda p, t: torch.tensor([[1e9]]), [Amount("one", [[0.0]])])(zeros, TARGET)
    assert float(feasible) < float(infeasible)


def test_penalise_adds_up():
    energy = Constrained(
        lambda p, t: ENERGIES, [Amount("one", VIOLATIONS), Amount("two", [[1.0] * S, [-1.0] * S])], "penalise", 10.0
    )
    found = energy(predicted(torch.zeros(E, S, H, P)), TARGET)
    assert found[0, :4].tolist() == pytest.approx([19.0, 1e6 + 10, 13.0, 13.0])
    assert found[1, :3].tolist() == pytest.approx([4.0, 4.0, 27.0])
    assert found[0, 4] > 1e6 and found[1, 3] > 1e6 and bool(torch.isfinite(found).all())


def test_violations_of_a_plan_are_told_by_name():
    energy = Constrained(lambda p, t: ENERGIES, [Amount("one", VIOLATIONS), Amount("two", [[0.5] * S, [-1.0] * S])])
    found = energy.violations(predicted(torch.zeros(E, S, H, P)))
    assert list(found) == ["one", "two"]
    assert torch.equal(found["one"], torch.tensor([[0.0, 0.0, 0.3, 0.2, INF], [0.1, 0.4, 2.0, INF, 1e30]]))
    assert found["two"].tolist() == [[0.5] * S, [0.0] * S]
    total = energy.total(predicted(torch.zeros(E, S, H, P)))
    assert total[0, :4].tolist() == pytest.approx([0.5, 0.5, 0.8, 0.7])


@pytest.mark.parametrize("mode", ["reject", "penalise"])
@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_candidate_without_an_energy_stays_dropped(mode, bad):
    energies = torch.tensor([[bad, bad, 2.0]])
    energy = Constrained(lambda p, t: energies, [Amount("one", [[1.0, -1.0, -1.0]])], mode)
    found = energy(predicted(torch.zeros(1, 3, H, P)), TARGET)
    assert not torch.isfinite(found[0, :2]).any() and float(found[0, 2]) == 2.0


def test_without_constraints_nothing_changes():
    energy = Constrained(lambda p, t: ENERGIES, [])
    assert torch.equal(energy(predicted(torch.zeros(E, S, H, P)), TARGET), ENERGIES)
    assert energy.violations(predicted(torch.zeros(E, S, H, P))) == {}


@pytest.mark.parametrize("mode", ["reject", "penalise"])
def test_gradients_are_of_the_penalty(mode):
    x = torch.tensor([[[[0.5], [0.9]], [[1.3], [1.6]], [[NAN], [0.0]]]]).requires_grad_()  # [1, 3, 2, 1]
    energy = Constrained(lambda p, t: p.states.sum((-2, -1)), [StateBox(0, DIMS[0], high=1.0)], mode, 100.0)
    (slope,) = torch.autograd.grad(energy(predicted(x, torch.zeros(1, 3, 2, A)), TARGET)[:, :2].sum(), x)
    penalty = 50.0 * (2.9 if mode == "reject" else 1.0)  # a range of 2; in proportion to the energy of 1.3 + 1.6
    assert slope[0, :2, :, 0].tolist() == [[1.0, 1.0], [1.0, pytest.approx(1.0 + penalty)]]


@pytest.mark.parametrize("mode", ["reject", "penalise"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_following_the_gradient_ends_at_the_constrained_optimum(mode, scale):
    """The nearest point to (3, 1) with x <= 1.5 is (1.5, 1); the start is outside as well."""
    plan = torch.tensor([[[[1.9, 0.2]]]])
    box = StateBox(0, DIMS[0], high=1.5)
    energy = Constrained(
        lambda p, t: scale * (p.states - torch.tensor([3.0, 1.0])).square().sum((-2, -1)), [box], mode, 40 * scale
    )
    best = (math.inf, [])
    for step in range(200):
        found = energy(predicted(plan.requires_grad_()), TARGET)
        (slope,) = torch.autograd.grad(found.sum(), plan)
        if found.item() < best[0]:
            best = found.item(), plan.detach().flatten().tolist()
        plan = plan.detach() - 0.1 / (1 + step / 20) * slope.sign()
    assert best[1] == pytest.approx([1.5, 1.0], abs=0.03)
    assert mode == "penalise" or best[1][0] <= 1.5 + 1e-5


MODULE = """
import torch

def each_step(states, actions):
    return states[..., 0] + states[..., 1] - 1

def once(states, actions):
    return actions.square().sum((-2, -1)) - 2

def truth(states, actions):
    return states[..., 0] < 1
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_constraints.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_constraints", None)


@pytest.mark.usefixtures("module")
def test_own_inequalities(states):
    actions = torch.randn(E, S, H, A, generator=torch.Generator().manual_seed(1))
    prediction = predicted(states, actions)
    steps, once = UserConstraint("own_constraints:each_step"), UserConstraint("own_constraints:once")
    for e, s in itertools.product(range(E), range(S)):
        worst = max(float(states[e, s, h, 0] + states[e, s, h, 1]) for h in range(H)) - 1
        assert float(steps(prediction)[e, s]) == pytest.approx(worst, abs=1e-6)
        squares = [x**2 for x in actions[e, s].flatten().tolist()]
        assert float(once(prediction)[e, s]) == pytest.approx(sum(squares) - 2, abs=1e-5)
    assert steps.name == "own_constraints:each_step"
    expected = r"own_constraints:truth: returned torch.bool \[2, 5, 3\].*\[2, 5\] or \[2, 5, 3\]"
    with pytest.raises(PlanningError, match=expected):
        UserConstraint("own_constraints:truth")(prediction)
    with pytest.raises(ConfigError, match="planner.constraints.functions: module 'own_constraints' has no 'other'"):
        UserConstraint("own_constraints:other")


@pytest.mark.parametrize(
    "constraints, mode, weight, expected",
    [
        ([], "forbid", 1.0, "planner.constraints.mode: is 'forbid'; expected reject or penalise"),
        ([], "reject", 0.0, "planner.constraints.weight: is 0"),
        ([], "reject", NAN, "planner.constraints.weight: is nan"),
        ([Amount("x", [[1.0]]), Amount("x", [[2.0]])], "reject", 1.0, "x, x; expected different names"),
    ],
)
def test_wrong_settings(constraints, mode, weight, expected):
    with pytest.raises(ConfigError, match=expected):
        Constrained(lambda p, t: ENERGIES, constraints, mode, weight)
