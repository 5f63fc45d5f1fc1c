"""Model predictive path integral control.

G. Williams et al.: Information Theoretic MPC for Model-Based Reinforcement Learning, ICRA 2017. One iteration, for S
samples and the projection P on the possible plans:

    x_s    = P(mu + max(sigma, sigma_min) * eps_s),   eps_s ~ N(0, I)       s = 1..S
    w_s    = exp(-(E(x_s) - min E) / (lambda r)) / eta          eta: such that they sum to 1
    mu'    = sum_s w_s x_s
    sigma' = n sigma + (1 - n) sqrt(sum_s w_s (x_s - mu')^2)

Energies in a latent space have no unit, so the temperature lambda has none either: r = median E - min E of the
samples that keep to constraints is what it is a fraction of. A median, so that a few samples that a penalty made
enormous change nothing. With n = 1 sigma is fixed, as published; with less it narrows, as in TD-MPC (N. Hansen et al.,
ICML 2022). The publication's term for the cost of control is left to the energy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.base import (
    INFEASIBLE,
    MAX_SAMPLES,
    average,
    better,
    check,
    coloured,
    deviations,
    finite,
    fit,
    noise,
    start,
)


@dataclass(frozen=True)
class MPPIState:
    """Search distributions and best finds so far.

    Attributes:
        mean, std: [E, B, A].
        mean_energy: [E], the weighted mean of the energies of the samples that made the mean.
        seeds: [E, W, B, A], what the warm start adds to the first iteration.
        best, best_energy: the best candidates told so far [E, B, A] and their energies [E].
        generators: sources of eps.
    """

    mean: Tensor
    std: Tensor
    mean_energy: Tensor
    seeds: Tensor
    best: Tensor
    best_energy: Tensor
    generators: Sequence[torch.Generator]


class MPPI:
    """Model predictive path integral control.

    Args:
        space: the possible plans.
        samples: S, candidates an iteration (the mean among them).
        temperature: lambda, a fraction of how far the median energy is above the lowest.
        init_std, min_std: sigma at the start and at least, as fractions of half the distance between the bounds.
        momentum_std: n in [0, 1]: how much of the old sigma stays.
        beta: exponent of the noise over time, see `jepa_robot.planning.optimizers.base.coloured`; 0: white.
        answer: the weighted ``mean``, as published, or the ``best`` candidate of all.
    """

    uses_gradients = False

    def __init__(
        self,
        space: ActionSpace,
        samples: int,
        temperature: float,
        init_std: float,
        min_std: float,
        momentum_std: float,
        beta: float = 0.0,
        answer: str = "mean",
    ):
        check(
            "planner.optimizer",
            ("samples", samples, 2 <= samples <= MAX_SAMPLES, f"2 to {MAX_SAMPLES}"),
            ("temperature", temperature, 0 < temperature < float("inf"), "above 0, and finite"),
            ("init_std", init_std, 0 < init_std < float("inf"), "above 0, and finite"),
            ("min_std", min_std, 0 <= min_std <= init_std, f"0 to init_std ({init_std})"),
            ("momentum_std", momentum_std, 0 <= momentum_std <= 1, "0 to 1"),
            ("beta", beta, 0 <= beta <= 10, "0 to 10"),
            ("answer", answer, answer in ("best", "mean"), "best or mean"),
        )
        self.space, self.samples, self.temperature = space, samples, temperature
        self.momentum_std, self.beta, self.answer = momentum_std, beta, answer
        self.init_std, self.min_std = deviations(space, init_std, min_std)  # [B, A]

    def init(self, generators: Sequence[torch.Generator], warm_start: Tensor | None = None) -> MPPIState:
        """Start at the first plan of the warm start [E, W, B, A]; or in the middle."""
        plans = start(self.space, len(generators), warm_start)
        mean, seeds = plans[:, 0], plans[:, 1 : self.samples]
        energy = mean.new_full((len(mean),), torch.inf, dtype=torch.float32)
        return MPPIState(mean, self.init_std.expand_as(mean), energy, seeds, mean, energy, generators)

    def wants_gradients(self, state: MPPIState) -> bool:
        """Never."""
        return False

    def ask(self, state: MPPIState) -> Tensor:
        """Candidates [E, S, B, A]: the mean, what the warm start adds, and fresh samples."""
        eps = coloured(noise(state.generators, self.samples - 1 - state.seeds.shape[1], state.mean), self.beta)
        samples = state.mean[:, None] + torch.maximum(state.std, self.min_std)[:, None] * eps
        return self.space.project(torch.cat((state.mean[:, None], state.seeds, samples), 1))

    def tell(
        self, state: MPPIState, plans: Tensor, energies: Tensor, gradients: Tensor | None = None
    ) -> MPPIState:
        """Move to the weighted mean of candidates [E, S, B, A] with energies [E, S]."""
        plans, energies = finite(plans, energies, (state.best, state.best_energy))
        above = energies - energies.min(1, keepdim=True).values
        allowed = energies < INFEASIBLE
        counted = torch.where(allowed.any(1, keepdim=True), allowed, torch.isfinite(above))
        usual = torch.where(counted, above, torch.nan).nanmedian(1, keepdim=True).values
        scale = (self.temperature * usual).clamp_min(torch.finfo(above.dtype).tiny)
        weights = (-above / scale).softmax(1)
        mean, std = fit(plans, weights)
        n = self.momentum_std
        best, best_energy = better((state.best, state.best_energy), plans, energies)
        return dataclasses.replace(
            state,
            mean=mean,
            std=n * state.std + (1 - n) * std,
            mean_energy=average(energies, weights),
            seeds=state.seeds[:, :0],
            best=best,
            best_energy=best_energy,
        )

    def best(self, state: MPPIState) -> tuple[Tensor, Tensor]:
        """The means [E, B, A], and the weighted mean energies [E] of what made them; or the best candidates told.

        Where the energy is convex, the mean's own is at most what is said of it.
        """
        if self.answer == "mean":
            return self.space.project(state.mean), state.mean_energy
        return state.best, state.best_energy

    def spread(self, state: MPPIState) -> Tensor:
        """Sigma, [E, B, A]."""
        return state.std

    def carry(self, state: MPPIState) -> Tensor:
        """The means, and the best candidates, [E, 2, B, A]."""
        return torch.stack((self.space.project(state.mean), state.best), 1)
