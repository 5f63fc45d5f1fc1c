"""Energies with names and weights, added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.protocols import Energy, Prediction, Target


@dataclass(frozen=True)
class Term:
    """A part of an energy.

    Attributes:
        name: for messages and diagnostics.
        weight: above 0; below 0 for what there is to be much of.
        energy: see `jepa_robot.planning.energy`.
        standing: whether it counts for a frame that one only stands in. Energies of actions do not.
    """

    name: str
    weight: float
    energy: Energy
    standing: Literal["always", "never", "if finite"] = "always"


class WeightedSum:
    """``sum_i weight_i * energy_i``.

    A candidate for which a term is no finite number is dropped: its energy is infinite. What was dropped for which
    term is counted from one `reset` to the next.

    Args:
        terms: one or more, with different names.
    """

    def __init__(self, terms: Sequence[Term]):
        names = [term.name for term in terms]
        if not names:
            raise ConfigError("the energy has no terms", where="planner.energy", expected="one with a weight above 0")
        if len(set(names)) < len(names):
            raise ConfigError(f"terms are {', '.join(names)}", where="planner.energy", expected="different names")
        for term in terms:
            if not math.isfinite(term.weight) or term.weight == 0:
                raise ConfigError(
                    f"weight is {term.weight:g}", where=f"planner.energy.{term.name}", expected="finite, and not 0"
                )
        self.terms = tuple(terms)
        self.reset()

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S], infinite for those dropped."""
        weighted = self.values(prediction, target)
        each = torch.stack(tuple(weighted.values()))  # [terms, E, S]
        good = torch.isfinite(each)
        self._searches, self._evaluated = each.shape[1], self._evaluated + each.shape[2]
        if bool(good.all()):  # the only wait for the device
            return each.sum(0)
        for name, bad in zip(weighted, ~good):
            self._dropped[name] = self._dropped.get(name, 0) + bad.sum(-1).cpu()
        return each.where(good, 0).sum(0).where(good.all(0), torch.inf)

    def values(self, prediction: Prediction, target: Target) -> dict[str, Tensor]:
        """The weighted terms by name, each [E, S]."""
        return {term.name: term.weight * term.energy(prediction, target) for term in self.terms}

    def standing(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S] of candidates that are frames to stand in, see `Term.standing`.

        Raises:
            PlanningError: a term that always counts is no finite number, or none counts.
        """
        total = None
        for term in self.terms:
            if term.standing == "never":
                continue
            values = term.weight * term.energy(prediction, target)
            if bool(torch.isfinite(values).all()):
                total = values if total is None else total + values
            elif term.standing == "always":
                raise PlanningError(
                    f"energy {term.name!r} of the current frame is not a finite number",
                    expected="a finite number", mend="check the model's weights and the state",
                )
        if total is None:
            raise PlanningError("no energy says anything of the current frame", expected="one of a goal")
        return total

    def reset(self) -> None:
        """Count from 0."""
        self._searches, self._evaluated = 0, 0  # E, and candidates of each
        self._dropped: dict[str, Tensor] = {}  # [E] each

    @property
    def dropped(self) -> list[dict[str, int]]:
        """For each search, how many of its candidates had no finite energy because of which term."""
        counts = {name: count.tolist() for name, count in self._dropped.items()}
        return [{name: count[e] for name, count in counts.items() if count[e]} for e in range(self._searches)]

    def require_finite(self) -> None:
        """Check that every term was a finite number for some candidate of every search.

        Raises:
            PlanningError: one was not; names it.
        """
        for name, count in self._dropped.items():
            if bool((count == self._evaluated).any()):
                raise PlanningError(
                    f"energy {name!r} is not a finite number for any of {self._evaluated} candidate plans",
                    expected="finite numbers",
                    mend="mend an energy of your own; for all others check the model's weights and the state",
                )

