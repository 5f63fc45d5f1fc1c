"""The cross-entropy method.

P.-T. de Boer, D. Kroese, S. Mannor, R. Rubinstein: A Tutorial on the Cross-Entropy Method, Annals of
Operations Research 134, 2005. Keeping elites and trying the mean are from C. Pinneri et al.: Sample-efficient
Cross-Entropy Method for Real-time Planning (iCEM), CoRL 2020.

One iteration i, for S samples, K elites, momenta m and n, and the projection P on the possible plans:

    x_s    = P(mu_i + max(sigma_i, sigma_min) * eps_s),   eps_s ~ N(0, I)       s = 1..S
    E      = the K samples of lowest energy
    mu'    = m mu_i    + (1 - m) mean(E)
    sigma' = n sigma_i + (1 - n) std(E)

Samples are clipped rather than drawn from a truncated normal: far from the goal the best action lies
on the bound, and clipping samples the bound itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import (
    MAX_SAMPLES,
    average,
    better,
    check,
    deviations,
    finite,
    fit,
    noise,
    start,
    take,
)


@dataclass(frozen=True)
class CEMState:
    """Search distributions and best finds so far.

    Attributes:
        mean, std: [E, B, A].
        mean_energy: [E], the mean energy of the elites that made the mean.
        kept: [E, keep, B, A], elites that compete again in the next iteration (at first what the warm start adds).
        best, best_energy: the best candidates told so far [E, B, A] and their energies [E]; before the first
            `tell` the mean, and infinity.
        iteration: i, how often `tell` was called.
        generators: sources of eps.
    """

    mean: Tensor
    std: Tensor
    mean_energy: Tensor
    kept: Tensor
    best: Tensor
    best_energy: Tensor
    iteration: int
    generators: Sequence[torch.Generator]


class CEM:
    """Cross-entropy method.

    Args:
        space: the possible plans.
        samples: S, candidates an iteration (the mean and the kept elites among them).
        elites: K.
        momentum: m in [0, 1): how much of the old mean stays.
        momentum_std: n in [0, 1): and of the old standard deviation; None: as much.
        init_std, min_std: standard deviation at the start and at least, as fractions of half the
            distance between the bounds.
        keep_elites: number of elites that compete again in the next iteration, and in the first of the next search.
        answer: the ``best`` candidate of all, or the ``mean`` of the last distribution, as published.
    """

    uses_gradients = False

    def __init__(
        self,
        space: ActionSpace,
        samples: int,
        elites: int,
        momentum: float,
        init_std: float,
        min_std: float,
        keep_elites: int,
        momentum_std: float | None = None,
        answer: str = "best",
    ):
        momentum_std = momentum if momentum_std is None else momentum_std
        check(
            "planner.optimizer",
            ("samples", samples, 2 <= samples <= MAX_SAMPLES, f"2 to {MAX_SAMPLES}"),
            ("elites", elites, 1 <= elites <= samples, f"1 to samples ({samples})"),
            ("momentum", momentum, 0 <= momentum < 1, "at least 0 and below 1"),
            ("momentum_std", momentum_std, 0 <= momentum_std < 1, "at least 0 and below 1"),
            ("init_std", init_std, 0 < init_std < float("inf"), "above 0, and finite"),
            ("min_std", min_std, 0 <= min_std <= init_std, f"0 to init_std ({init_std})"),
            ("keep_elites", keep_elites, 0 <= keep_elites <= min(elites, samples - 2), "0 to elites and samples - 2"),
            ("answer", answer, answer in ("best", "mean"), "best or mean"),
        )
        self.space, self.samples, self.elites, self.keep_elites = space, samples, elites, keep_elites
        self.momentum, self.momentum_std, self.answer = momentum, momentum_std, answer
        self.init_std, self.min_std = deviations(space, init_std, min_std)  # [B, A]

    def init(self, generators: Sequence[torch.Generator], warm_start: Tensor | None = None) -> CEMState:
        """Start at the first plan of the warm start [E, W, B, A]; or in the middle."""
        plans = start(self.space, len(generators), warm_start)
        mean, others = plans[:, 0], plans[:, 1 : self.samples - 1]
        energy = mean.new_full((len(mean),), torch.inf, dtype=torch.float32)
        return CEMState(mean, self.init_std.expand_as(mean), energy, others, mean, energy, 0, generators)

    def wants_gradients(self, state: CEMState) -> bool:
        """Never."""
        return False

    def ask(self, state: CEMState) -> Tensor:
        """Candidates [E, S, B, A]: the mean, the kept elites, and fresh samples."""
        eps = self._eps(state, self._count(state) - 1 - state.kept.shape[1])
        samples = state.mean[:, None] + torch.maximum(state.std, self.min_std)[:, None] * eps
        return self.space.project(torch.cat((state.mean[:, None], state.kept, samples), 1))

    def tell(
        self, state: CEMState, plans: Tensor, energies: Tensor, gradients: Tensor | None = None
    ) -> CEMState:
        """Move towards the elites of candidates [E, S, B, A] with energies [E, S].

        A candidate whose energy is not a number is an elite only where there are too few others, and weighs nothing.
        Of fewer candidates than were asked for as many fewer are elites, or nothing would be selected.
        """
        plans, energies = finite(plans, energies, (state.best, state.best_energy))
        lowest, order = energies.topk(self._elites(state, energies.shape[1]), largest=False)
        elites = take(plans, order)  # [E, K, B, A], best first
        usable = torch.isfinite(lowest)
        weights = usable / usable.sum(1, keepdim=True)
        mean, std = fit(elites, weights)
        m, n = self.momentum, self.momentum_std
        best, best_energy = better((state.best, state.best_energy), plans, energies)
        return dataclasses.replace(
            state,
            mean=m * state.mean + (1 - m) * mean,
            std=n * state.std + (1 - n) * std,
            mean_energy=average(lowest, weights),
            kept=torch.where(usable[..., None, None], elites, elites[:, :1])[:, : self.keep_elites],
            best=best,
            best_energy=best_energy,
            iteration=state.iteration + 1,
        )

    def best(self, state: CEMState) -> tuple[Tensor, Tensor]:
        """The best candidates [E, B, A] told so far and their energies [E]; or the means and what made them had."""
        if self.answer == "mean":
            return self.space.project(state.mean), state.mean_energy
        return state.best, state.best_energy

    def spread(self, state: CEMState) -> Tensor:
        """Standard deviations of the search distributions, [E, B, A]."""
        return state.std

    def carry(self, state: CEMState) -> Tensor:
        """The answer and the kept elites, [E, W, B, A]."""
        known = 1 if self.answer == "best" else 0  # the best is the first of those kept
        return torch.cat((self.best(state)[0][:, None], state.kept[:, known:]), 1)

    def _count(self, state: CEMState) -> int:
        return self.samples

    def _elites(self, state: CEMState, count: int) -> int:
        share = round(self.elites * count / self._count(state))
        return min(max(share, 2), self.elites, count)

    def _eps(self, state: CEMState, count: int) -> Tensor:
        return noise(state.generators, count, state.mean)
