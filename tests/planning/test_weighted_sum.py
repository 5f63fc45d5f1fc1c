"""Named terms added up, candidates dropped and counted, and energies of the user's own."""

from __future__ import annotations

import sys

import pytest
import torch

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.protocols import Prediction, Target
from jepa_robot.planning.user import UserEnergy, load_function
from jepa_robot.planning.weighted_sum import Term, WeightedSum

NAN, INF = float("nan"), float("inf")
E, S = 2, 3
FIRST, SECOND = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.tensor([[8.0, 7.0, 6.0], [5.0, 4.0, 3.0]])


def prediction(actions=None):
    actions = torch.arange(12.0).view(E, S, 2, 1) if actions is None else actions
    empty = torch.zeros(*actions.shape[:3], 1)
    return Prediction(empty, empty[..., None], empty, actions, torch.zeros(len(actions), 1))


TARGET = Target(torch.zeros(E, 1, 1))


def always(values):
    return lambda prediction, target: values


def test_terms_add_up_with_their_weights():
    energy = WeightedSum([Term("one", 2.0, always(FIRST)), Term("two", -0.5, always(SECOND))])
    assert energy(prediction(), TARGET).tolist() == [[-2.0, 0.5, 3.0], [5.5, 8.0, 10.5]]
    values = energy.values(prediction(), TARGET)
    assert {name: value.tolist() for name, value in values.items()} == {
        "one": [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]], "two": [[-4.0, -3.5, -3.0], [-2.5, -2.0, -1.5]]
    }
    assert energy.dropped == [{}, {}]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_candidates_without_a_finite_term_are_dropped_and_counted_by_its_name(bad):
    broken, worse = FIRST.clone(), SECOND.clone()
    broken[0, 1] = bad
    worse[0, 1] = worse[1, 2] = bad
    terms = [Term("broken", 1.0, always(broken)), Term("worse", 1.0, always(worse)), Term("good", 1.0, always(FIRST))]
    energy = WeightedSum(terms)
    expected = torch.tensor([[10.0, INF, 12.0], [13.0, 14.0, INF]])
    for _ in range(2):
        assert torch.equal(energy(prediction(), TARGET), expected)
    assert energy.dropped == [{"broken": 2, "worse": 2}, {"worse": 2}]
    energy.require_finite()
    energy.reset()
    assert energy.dropped == []


def test_a_term_that_is_finite_for_no_candidate_of_one_search_is_named():
    """Also where candidates are evaluated a few at a time."""
    first, second = torch.tensor([[NAN], [NAN]]), torch.tensor([[NAN], [1.0]])
    answers = [first, second]
    energy = WeightedSum([Term("mine", 1.0, lambda p, t: answers[int(p.actions[0, 0, 0, 0])])])
    for chunk in range(2):
        energy(prediction(torch.full((E, 1, 2, 1), float(chunk))), TARGET)
    with pytest.raises(PlanningError, match="energy 'mine' is not a finite number for any of 2 candidate plans"):
        energy.require_finite()
    energy.reset()
    for chunk in (1, 0):
        energy(prediction(torch.full((E, 1, 2, 1), float(chunk))), TARGET)
    with pytest.raises(PlanningError, match="'mine'"):
        energy.require_finite()  # the first of the two searches has none still
    energy.reset()
    answers[:] = torch.tensor([[NAN], [1.0]]), torch.tensor([[1.0], [NAN]])
    for chunk in range(2):
        energy(prediction(torch.full((E, 1, 2, 1), float(chunk))), TARGET)
    energy.require_finite()
    assert energy.dropped == [{"mine": 1}, {"mine": 1}]


def test_what_is_dropped_spoils_no_other_candidates_gradient():
    actions = torch.arange(12.0).view(E, S, 2, 1).requires_grad_()
    energy = WeightedSum([Term("root", 1.0, lambda p, t: (p.actions - 3).sum((-2, -1)).sqrt())])  # of -5, -1, 3, ...
    energies = energy(prediction(actions), TARGET)
    assert torch.isinf(energies).tolist() == [[True, True, False], [False, False, False]]
    (slope,) = torch.autograd.grad(energies.sum(), actions)
    expected = 0.5 / (actions - 3).sum((-2, -1), keepdim=True).sqrt().expand_as(slope)
    assert torch.allclose(slope[0, 2:], expected[0, 2:]) and torch.allclose(slope[1], expected[1])


@pytest.mark.parametrize(
    "terms, expected",
    [
        ([], "no terms"),
        ([Term("one", 1.0, always(FIRST)), Term("one", 2.0, always(FIRST))], "one, one; expected different names"),
        ([Term("one", 0.0, always(FIRST))], "planner.energy.one: weight is 0"),
        ([Term("one", NAN, always(FIRST))], "weight is nan"),
    ],
)
def test_wrong_terms(terms, expected):
    with pytest.raises(ConfigError, match=expected):
        WeightedSum(terms)


MODULE = """
import torch

NUMBER = 3

def energy(prediction, target):
    return prediction.actions.sum((-2, -1))

class Kinds:
    def wrong_shape(prediction, target):
        return prediction.actions.sum(-1)

    def whole_numbers(prediction, target):
        return prediction.actions.sum((-2, -1)).long()

    def nothing(prediction, target):
        pass

    def failing(prediction, target):
        raise KeyError("gone")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """``own_energies.py`` and two broken modules in the current folder."""
    (tmp_path / "own_energies.py").write_text(MODULE)
    (tmp_path / "own_imports.py").write_text("import there_is_no_such_package")
    (tmp_path / "own_failure.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("own_energies", "own_imports", "own_failure"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("module")
class TestOwnFunctions:
    def test_energy(self):
        energies = UserEnergy("own_energies:energy")(prediction(), TARGET)
        assert energies.tolist() == [[1.0, 5.0, 9.0], [13.0, 17.0, 21.0]]

    @pytest.mark.parametrize(
        "name, expected",
        [
            ("own_energies", "setting: is 'own_energies'; expected module:function"),
            (":energy", "is ':energy'"),
            (5, "is 5; expected module:function"),
            ("own_energy:energy", "there is no module 'own_energy'.*PYTHONPATH"),
            ("own_energies.deeper:energy", "there is no module 'own_energies.deeper'"),
            ("own_energies:enrgy", "module 'own_energies' has no 'enrgy'"),
            ("own_energies:NUMBER", "own_energies:NUMBER is int, which cannot be called"),
            ("own_imports:energy", "'own_imports' cannot be imported.*there_is_no_such_package.*install what it"),
            ("own_failure:energy", "'own_failure' cannot be imported .ZeroDivisionError: division by zero"),
        ],
    )
    def test_what_cannot_be_loaded(self, name, expected):
        with pytest.raises(ConfigError, match=expected):
            load_function(name, "setting")

    @pytest.mark.parametrize(
        "name, expected",
        [
            ("wrong_shape", r"returned torch.float32 \[2, 3, 2\]; expected a floating-point tensor \[2, 3\]"),
            ("whole_numbers", r"returned torch.int64 \[2, 3\]"),
            ("nothing", "returned NoneType"),
            ("failing", "raised KeyError: 'gone'"),
        ],
    )
    def test_what_does_not_answer_with_an_energy(self, name, expected):
        with pytest.raises(PlanningError, match=f"own_energies:Kinds.{name}: {expected}"):
            UserEnergy(f"own_energies:Kinds.{name}")(prediction(), TARGET)
