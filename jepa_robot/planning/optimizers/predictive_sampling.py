"""Predictive sampling.

T. Howell et al.: Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo, arXiv 2212.00541. Iteration i, for S
samples and the projection P on the possible plans; x is the best plan so far, at first the last search's:

    x_s = P(x + max(sigma gamma^-i, sigma_min) * eps_s),   eps_s ~ N(0, I)       s = 1..S
    x'  = the best of x and all x_s

With gamma = 1 the noise is the same in every iteration, as published; with more the search becomes finer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import MAX_SAMPLES, better, check, deviations, finite, noise, start


@dataclass(frozen=True)
class PredictiveSamplingState:
    """Best finds so far.

    Attributes:
        best, best_energy: the best plans told so far [E, B, A] and their energies [E]; before the first `tell`
            where to begin, and infinity.
        seeds: [E, W, B, A], plans to look at whose energies are not known.
        std: [B, A], of the next iteration's noise, but for sigma_min.
        generators: sources of eps.
    """

    best: Tensor
    best_energy: Tensor
    seeds: Tensor
    std: Tensor
    generators: Sequence[torch.Generator]


class PredictiveSampling:
    """Predictive sampling.

    Args:
        space: the possible plans.
        samples: S, candidates an iteration.
        init_std, min_std: sigma at the start and at least, as fractions of half the distance between the bounds.
        std_decay: gamma, by which the noise is divided in each iteration; 1: none.
    """

    uses_gradients = False

    def __init__(self, space: ActionSpace, samples: int, init_std: float, min_std: float, std_decay: float):
        check(
            "planner.optimizer",
            ("samples", samples, 2 <= samples <= MAX_SAMPLES, f"2 to {MAX_SAMPLES}"),
            ("init_std", init_std, 0 < init_std < float("inf"), "above 0, and finite"),
            ("min_std", min_std, 0 <= min_std <= init_std, f"0 to init_std ({init_std})"),
            ("std_decay", std_decay, 1 <= std_decay < float("inf"), "at least 1, and finite"),
        )
        self.space, self.samples, self.std_decay = space, samples, std_decay
        self.init_std, self.min_std = deviations(space, init_std, min_std)  # [B, A]

    def init(
        self, generators: Sequence[torch.Generator], warm_start: Tensor | None = None
    ) -> PredictiveSamplingState:
        """Start at the first plan of the warm start [E, W, B, A]; or in the middle."""
        seeds = start(self.space, len(generators), warm_start)[:, : self.samples]
        energy = seeds.new_full((len(seeds),), torch.inf, dtype=torch.float32)
        return PredictiveSamplingState(seeds[:, 0], energy, seeds, self.init_std, generators)

    def wants_gradients(self, state: PredictiveSamplingState) -> bool:
        """Never."""
        return False

    def ask(self, state: PredictiveSamplingState) -> Tensor:
        """Candidates [E, S, B, A]: in the first iteration the warm start, then samples around the best."""
        eps = noise(state.generators, self.samples - state.seeds.shape[1], state.best)
        samples = state.best[:, None] + torch.maximum(state.std, self.min_std) * eps
        return torch.cat((state.seeds, self.space.project(samples)), 1)

    def tell(
        self, state: PredictiveSamplingState, plans: Tensor, energies: Tensor, gradients: Tensor | None = None
    ) -> PredictiveSamplingState:
        """Move to the best of candidates [E, S, B, A] with energies [E, S], where it is better than the best before."""
        before = state.best, state.best_energy
        best, best_energy = better(before, *finite(plans, energies, before))
        return PredictiveSamplingState(
            best, best_energy, state.seeds[:, :0], state.std / self.std_decay, state.generators
        )

    def best(self, state: PredictiveSamplingState) -> tuple[Tensor, Tensor]:
        """The best plans [E, B, A] told so far and their energies [E]."""
        return state.best, state.best_energy

    def spread(self, state: PredictiveSamplingState) -> Tensor:
        """Standard deviation of the next iteration's noise, but for sigma_min, [E, B, A]."""
        return state.std.expand_as(state.best)

    def carry(self, state: PredictiveSamplingState) -> Tensor:
        """The answer, [E, 1, B, A]."""
        return state.best[:, None]
