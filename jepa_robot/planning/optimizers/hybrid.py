"""Sampling, then descent along the gradient from what sampling found.

H. Bharadhwaj, K. Xie, F. Shkurti: Model-Predictive Control via Cross-Entropy and Gradient-Based Optimization, L4DC
2020, interleave the two. Here one follows the other: `jepa_robot.planning.optimizers.icem` finds the valley, and the
levels of discrete dimensions; `jepa_robot.planning.optimizers.gradient` goes down from the best and the kept elites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import check
from jepa_robot.planning.optimizers.cem import CEMState
from jepa_robot.planning.optimizers.gradient import Gradient, GradientState
from jepa_robot.planning.optimizers.icem import ICEM


@dataclass(frozen=True)
class HybridState:
    """Both phases.

    Attributes:
        sampling: of the first phase.
        descent: of the second; None before it begins.
    """

    sampling: CEMState
    descent: GradientState | None


class Hybrid:
    """iCEM, then projected gradient descent from the elites.

    Args:
        space, samples, elites, momentum, init_std, min_std, keep_elites, beta, sample_decay: see
            `jepa_robot.planning.optimizers.icem.ICEM`. The best plan and the kept elites are where descent begins.
        sampling_iterations: iterations of the first phase; all after that descend.
        method, learning_rate: see `jepa_robot.planning.optimizers.gradient.Gradient`.
    """

    uses_gradients = True

    def __init__(
        self,
        space: ActionSpace,
        samples: int,
        elites: int,
        momentum: float,
        init_std: float,
        min_std: float,
        keep_elites: int,
        beta: float,
        sample_decay: float,
        sampling_iterations: int,
        method: str,
        learning_rate: float,
    ):
        check("planner.optimizer", ("sampling_iterations", sampling_iterations, sampling_iterations >= 1, "at least 1"))
        self.space, self.sampling_iterations = space, sampling_iterations
        self.sampler = ICEM(space, samples, elites, momentum, init_std, min_std, keep_elites, beta, sample_decay)
        self.gradient = Gradient(space, max(1, keep_elites), method, learning_rate, init_std)

    def init(self, generators: Sequence[torch.Generator], warm_start: Tensor | None = None) -> HybridState:
        """Start sampling at the first plan of the warm start [E, W, B, A]; or in the middle."""
        return HybridState(self.sampler.init(generators, warm_start), None)

    def wants_gradients(self, state: HybridState) -> bool:
        """In the second phase."""
        return state.descent is not None

    def ask(self, state: HybridState) -> Tensor:
        """Candidates [E, S, B, A] of the phase."""
        return self.sampler.ask(state.sampling) if state.descent is None else self.gradient.ask(state.descent)

    def tell(
        self, state: HybridState, plans: Tensor, energies: Tensor, gradients: Tensor | None = None
    ) -> HybridState:
        """Learn from candidates [E, S, B, A] with energies [E, S], and go on to the second phase in time."""
        if state.descent is not None:
            return HybridState(state.sampling, self.gradient.tell(state.descent, plans, energies, gradients))
        sampling = self.sampler.tell(state.sampling, plans, energies)
        if sampling.iteration < self.sampling_iterations:
            return HybridState(sampling, None)
        return HybridState(sampling, self.gradient.init(sampling.generators, self.sampler.carry(sampling)))

    def best(self, state: HybridState) -> tuple[Tensor, Tensor]:
        """The best plans [E, B, A] told so far and their energies [E]."""
        plans, energies = self.sampler.best(state.sampling)
        if state.descent is None:
            return plans, energies
        found, reached = self.gradient.best(state.descent)
        wins = reached < energies
        return torch.where(wins[:, None, None], found, plans), torch.where(wins, reached, energies)

    def spread(self, state: HybridState) -> Tensor:
        """Of the phase, [E, B, A]."""
        return self.sampler.spread(state.sampling) if state.descent is None else self.gradient.spread(state.descent)

    def carry(self, state: HybridState) -> Tensor:
        """The answer, and the kept elites of the first phase, [E, W, B, A]."""
        return torch.cat((self.best(state)[0][:, None], state.sampling.kept[:, 1:]), 1)
