"""What plans must keep to, and how a search is made to find such plans.

A constraint answers by how much candidates violate it: 0 or less for those that keep to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.errors import ConfigError
from jepa_robot.planning.optimizers.base import INFEASIBLE
from jepa_robot.planning.protocols import Constraint, Energy, Prediction, Target
from jepa_robot.planning.user import call, load_function
from jepa_robot.spec import Dim

_WHERE = "planner.constraints"
ROUNDING = 1e-6  # of a dimension's range: float32 does not tell a place on a box's face from one this far outside
FAR = 1e6  # a violation that is larger or no number counts as this, so that energies stay finite
STEEP = 100.0  # times the energy: the penalty for a violation by 1 of which infeasible candidates have the gradient


class StateBox:
    """Keeps one dimension of the predicted proprioception within bounds, after every action.

    The violation is the largest excess over the steps, as a fraction of the range that the contract gives to the
    dimension, so that metres and radians can be added up.

    Args:
        index: of the dimension.
        dim: of the contract.
        low, high: bounds, physical units; infinite on a side that is open.

    Raises:
        ConfigError: the bounds are reversed or no numbers, or the dimension is never between them.
    """

    def __init__(self, index: int, dim: Dim, low: float = -math.inf, high: float = math.inf):
        where = f"{_WHERE}: {dim.name}"
        if not low < high:
            raise ConfigError(f"is kept within [{low:g}, {high:g}]", where=where, expected="low < high")
        if low > dim.high or high < dim.low:
            expected = f"a part of [{dim.low:g}, {dim.high:g}] {dim.unit}, where it can be"
            raise ConfigError(f"is kept within [{low:g}, {high:g}]", where=where, expected=expected)
        self.name, self.index, self.low, self.high, self.range = dim.name, index, low, high, dim.high - dim.low

    def __call__(self, prediction: Prediction) -> Tensor:
        """[E, S]."""
        states = prediction.states[..., self.index]
        excess = torch.maximum(self.low - states, states - self.high).amax(-1)  # NaN stays NaN
        return excess / self.range - ROUNDING


def state_boxes(dims: Sequence[Dim], low: Mapping[int, float], high: Mapping[int, float]) -> list[StateBox]:
    """One constraint for each dimension, of those of the states, that has a low or a high bound, by its index."""
    return [
        StateBox(i, dims[i], low.get(i, -math.inf), high.get(i, math.inf)) for i in sorted(set(low) | set(high))
    ]


class UserConstraint:
    """An inequality of the user's own: ``function(states [E, S, H, P], actions [E, S, H, A])`` <= 0.

    It returns a floating-point tensor [E, S], or [E, S, H] of which the largest counts.

    Args:
        name: ``module:function``, see `jepa_robot.planning.user.load_function`.
        where: the setting that names it, for messages.
    """

    def __init__(self, name: str, where: str = f"{_WHERE}.functions"):
        self.function, self.name = load_function(name, where), name

    def __call__(self, prediction: Prediction) -> Tensor:
        """[E, S].

        Raises:
            PlanningError: the function raises an exception, or does not return such a tensor.
        """
        shape = tuple(prediction.actions.shape[:3])
        found = call(self.function, self.name, (shape[:2], shape), prediction.states, prediction.actions)
        return found if found.ndim == 2 else found.amax(-1)


class Constrained:
    """An energy of candidates that are to keep to constraints.

    ``reject`` orders by feasibility first (K. Deb: An efficient constraint handling method for genetic algorithms,
    2000): every candidate that keeps to all of them comes before every one that does not, and those by the sum of
    their violations, whatever their energy. So a search finds its way back where nothing is feasible.
    Gradients are those of the energy and a penalty that is in proportion to it, whatever its unit.
    ``penalise`` adds ``weight`` times the sum to the energy, so that a small violation may be worth it.

    Args:
        energy: of candidates that keep to them; below 1e20.
        constraints: none or more, with different names.
        mode: reject or penalise.
        weight: energy that a violation by 1 costs in mode penalise.
    """

    def __init__(
        self,
        energy: Energy,
        constraints: Sequence[Constraint],
        mode: Literal["reject", "penalise"] = "reject",
        weight: float = 1000.0,
    ):
        if mode not in ("reject", "penalise"):
            raise ConfigError(f"is {mode!r}", where=f"{_WHERE}.mode", expected="reject or penalise")
        if not 0 < weight < 1e9:
            raise ConfigError(f"is {weight:g}", where=f"{_WHERE}.weight", expected="above 0 and below 1e9")
        names = [constraint.name for constraint in constraints]
        if len(set(names)) < len(names):
            raise ConfigError(f"are {', '.join(names)}", where=_WHERE, expected="different names")
        self.energy, self.constraints, self.mode, self.weight = energy, tuple(constraints), mode, weight

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S], infinite where the energy is no finite number."""
        energy = self.energy(prediction, target)
        if not self.constraints:
            return energy
        violation = self.total(prediction)
        if self.mode == "penalise":
            return energy + self.weight * violation
        rejected = torch.where(violation > 0, INFEASIBLE * (1 + violation), energy)
        penalised = energy + STEEP * energy.detach().abs() * violation
        ordered = penalised + (rejected - penalised).detach()  # the one's value, the other's gradient
        return torch.where(torch.isfinite(energy), ordered, torch.inf)

    def total(self, prediction: Prediction) -> Tensor:
        """Sum of the violations [E, S], 0 for candidates that keep to all constraints."""
        total = prediction.states.new_zeros(prediction.states.shape[:2])
        for constraint in self.constraints:
            total = total + F.relu(constraint(prediction).nan_to_num(FAR, FAR)).clamp_max(FAR)
        return total

    def violations(self, prediction: Prediction) -> dict[str, Tensor]:
        """By how much each constraint is violated, [E, S]: 0 for those that keep to it, infinity for no number."""
        return {each.name: F.relu(each(prediction).nan_to_num(torch.inf, torch.inf)) for each in self.constraints}
