"""Descent along the energy's gradient, through the model.

Adam: D. Kingma, J. Ba, ICLR 2015. From each of S starts, in coordinates u = x / h where half the distance h between
the bounds is 1, for the learning rate alpha and the projection P on the possible plans:

    g  = dE/du = h dE/dx
    d  = g                                                            sgd
    d  = m / (sqrt(v) + 1e-8),  m, v: running means of g and g^2      adam, bias-corrected
    x' = P(x - alpha h d)

With Adam the learning rate is a step in units of h, whatever the energy's unit; with SGD the energy's unit counts.
The slope along a discrete dimension says nothing of its other levels, so those stay what they are at each start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.errors import PlanningError
from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import MAX_SAMPLES, better, check, finite, noise, start

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class GradientState:
    """Where the starts have come to, and the best finds so far.

    Attributes:
        plans: [E, S, B, A].
        first, second: running means of the gradient and its square, not corrected, [E, S, B, A].
        iteration: how often `tell` was called.
        spread: [E, B, A], see `Gradient.spread`.
        best, best_energy: the best plans told so far [E, B, A] and their energies [E]; before the first `tell`
            the first start, and infinity.
    """

    plans: Tensor
    first: Tensor
    second: Tensor
    iteration: int
    spread: Tensor
    best: Tensor
    best_energy: Tensor


class Gradient:
    """Projected gradient descent from several starts.

    Args:
        space: the possible plans.
        starts: S. First the warm start, the others around it; discrete dimensions of those are drawn uniformly.
        method: ``adam`` or ``sgd``.
        learning_rate: alpha.
        init_std: standard deviation of the starts, as a fraction of half the distance between the bounds.
    """

    uses_gradients = True

    def __init__(self, space: ActionSpace, starts: int, method: str, learning_rate: float, init_std: float):
        check(
            "planner.optimizer",
            ("starts", starts, 1 <= starts <= MAX_SAMPLES, f"1 to {MAX_SAMPLES}"),
            ("method", method, method in ("adam", "sgd"), "adam or sgd"),
            ("learning_rate", learning_rate, 0 < learning_rate < float("inf"), "above 0, and finite"),
            ("init_std", init_std, 0 < init_std < float("inf"), "above 0, and finite"),
        )
        self.space, self.starts, self.method, self.learning_rate = space, starts, method, learning_rate
        self.init_std = init_std * space.half  # [A]
        self.unit = space.half  # [A], h
        self.unit[list(space.levels)] = 0

    def init(self, generators: Sequence[torch.Generator], warm_start: Tensor | None = None) -> GradientState:
        """Start at the warm start [E, W, B, A] and around its first; or in and around the middle."""
        given = start(self.space, len(generators), warm_start)[:, : self.starts]
        eps = noise(generators, self.starts - given.shape[1], given[:, 0])
        drawn = given[:, :1] + self.init_std * eps
        for i, levels in self.space.levels.items():
            uniform = torch.special.ndtr(eps[..., i])
            drawn[..., i] = levels[(uniform * len(levels)).long().clamp_max(len(levels) - 1)]
        plans = torch.cat((given, self.space.project(drawn)), 1)
        zero, energy = torch.zeros_like(plans), plans.new_full((len(plans),), torch.inf, dtype=torch.float32)
        return GradientState(plans, zero, zero, 0, plans.std(1, correction=0), plans[:, 0], energy)

    def wants_gradients(self, state: GradientState) -> bool:
        """Always."""
        return True

    def ask(self, state: GradientState) -> Tensor:
        """Where the starts have come to, [E, S, B, A]."""
        return state.plans

    def tell(
        self, state: GradientState, plans: Tensor, energies: Tensor, gradients: Tensor | None = None
    ) -> GradientState:
        """Take a step from candidates [E, S, B, A] down gradients [E, S, B, A].

        Where a gradient is not a number it counts as 0.
        """
        if gradients is None:
            raise PlanningError("no gradients of the energies", expected="those that wants_gradients asks for")
        before, count = (state.best, state.best_energy), plans.shape[1]
        best, best_energy = better(before, *finite(plans, energies, before))
        slope = self.unit * torch.where(torch.isfinite(gradients), gradients, 0)
        first = BETA1 * state.first[:, :count] + (1 - BETA1) * slope
        second = BETA2 * state.second[:, :count] + (1 - BETA2) * slope.square()
        iteration = state.iteration + 1
        direction = slope
        if self.method == "adam":
            root = (second / (1 - BETA2**iteration)).sqrt()
            direction = first / (1 - BETA1**iteration) / (root + EPSILON)
        after = self.space.project(plans - self.learning_rate * self.unit * direction)
        return GradientState(
            plans=torch.cat((after, state.plans[:, count:]), 1),
            first=torch.cat((first, state.first[:, count:]), 1),
            second=torch.cat((second, state.second[:, count:]), 1),
            iteration=iteration,
            spread=torch.maximum(after.std(1, correction=0), (after - plans).square().mean(1).sqrt()),
            best=best,
            best_energy=best_energy,
        )

    def best(self, state: GradientState) -> tuple[Tensor, Tensor]:
        """The best plans [E, B, A] told so far and their energies [E]."""
        return state.best, state.best_energy

    def spread(self, state: GradientState) -> Tensor:
        """Standard deviation over the starts, or the length of their last step where that is more, [E, B, A]."""
        return state.spread

    def carry(self, state: GradientState) -> Tensor:
        """The answer, [E, 1, B, A]."""
        return state.best[:, None]
