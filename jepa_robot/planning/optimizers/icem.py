"""The improved cross-entropy method.

C. Pinneri et al.: Sample-efficient Cross-Entropy Method for Real-time Planning (iCEM), CoRL 2020. What it adds to
`jepa_robot.planning.optimizers.cem`, for plans of B blocks and iteration i = 0, 1, ...:

    eps_s ~ coloured noise: power ~ f^-beta over the blocks, so that samples go somewhere rather than to and fro
    S_i   = max(S gamma^-i, 2 K)
    elites compete again in the next iteration, and, shifted in time, in the first of the next search

The shifting is the caller's, who knows how many steps were executed: `ICEM.carry` is what to shift. The mean is a
candidate of every iteration, not of the last alone, since a deadline may make any of them the last.
"""

from __future__ import annotations

from torch import Tensor

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import MAX_SAMPLES, check, coloured, noise
from jepa_robot.planning.optimizers.cem import CEM, CEMState


class ICEM(CEM):
    """Improved cross-entropy method.

    Args:
        space, samples, elites, momentum, init_std, min_std, keep_elites, momentum_std, answer: see `CEM`; samples are
            those of the first iteration, and at least twice the elites.
        beta: exponent of the noise; 0: white. The publication has 2 to 4 for slow systems, 0.25 for fast ones.
        sample_decay: gamma, by which the number of samples is divided in each iteration; 1: none; below 1 there are
            few candidates at first, and more in every iteration.
    """

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
        momentum_std: float | None = None,
        answer: str = "best",
    ):
        super().__init__(space, samples, elites, momentum, init_std, min_std, keep_elites, momentum_std, answer)
        check(
            "planner.optimizer",
            ("elites", elites, 2 * elites <= samples, f"at most half the samples ({samples})"),
            ("beta", beta, 0 <= beta <= 10, "0 to 10"),
            ("sample_decay", sample_decay, 0.1 <= sample_decay < float("inf"), "at least 0.1, and finite"),
        )
        self.beta, self.sample_decay = beta, sample_decay

    def _count(self, state: CEMState) -> int:
        samples = min(self.samples * self.sample_decay ** -min(state.iteration, 100), MAX_SAMPLES)
        return max(int(samples), 2 * self.elites)

    def _eps(self, state: CEMState, count: int) -> Tensor:
        return coloured(noise(state.generators, count, state.mean), self.beta)
