"""The cross-entropy method.

P.-T. de Boer, D. Kroese, S. Mannor, R. Rubinstein: A Tutorial on the Cross-Entropy Method, Annals of
Operations Research 134, 2005. Keeping elites, trying the mean and shifting the previous solution
are from C. Pinneri et al.: Sample-efficient Cross-Entropy Method for Real-time Planning (iCEM), CoRL 2020.

One iteration i, for S samples of H actions in the box [low, high], K elites and momentum m:

    x_s    = clip(mu_i + sigma_i * eps_s, low, high),   eps_s ~ N(0, I)       s = 1..S
    E      = the K samples of lowest energy
    mu'    = m mu_i    + (1 - m) mean(E)
    sigma' = max(m sigma_i + (1 - m) std(E), sigma_min)

Samples are clipped rather than drawn from a truncated normal: far from the goal the best action lies
on the bound, and clipping samples the bound itself. mu stays inside because the box is convex.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError, PlanningError

MAX_SAMPLES = 100_000


@dataclass(frozen=True)
class CEMState:
    """Search distribution and best finds so far.

    Attributes:
        mean: [H, A].
        std: [H, A].
        kept: [keep, H, A], elites that compete again in the next iteration (empty at first).
        best: [H, A], the best candidate told so far; the mean before the first `tell`.
        best_energy: its energy; infinite before the first `tell`.
        generator: source of eps.
    """

    mean: Tensor
    std: Tensor
    kept: Tensor
    best: Tensor
    best_energy: float
    generator: torch.Generator


class CEM:
    """Cross-entropy method over action sequences [H, A] in a box.

    Args:
        low, high: bounds [A], physical units; their device and dtype are the search's.
        horizon: H.
        samples: S, candidates an iteration (the mean and the kept elites among them).
        elites: K.
        momentum: m in [0, 1): how much of the old mean and standard deviation stays.
        init_std, min_std: standard deviation at the start and at least, as fractions of half the
            distance between the bounds.
        keep_elites: number of elites that compete again in the next iteration.
    """

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        horizon: int,
        samples: int,
        elites: int,
        momentum: float,
        init_std: float,
        min_std: float,
        keep_elites: int,
    ):
        for name, value, right, expected in (
            ("horizon", horizon, horizon >= 1, "at least 1"),
            ("samples", samples, 2 <= samples <= MAX_SAMPLES, f"2 to {MAX_SAMPLES}"),
            ("elites", elites, 1 <= elites <= samples, f"1 to samples ({samples})"),
            ("momentum", momentum, 0 <= momentum < 1, "at least 0 and below 1"),
            ("init_std", init_std, 0 < init_std < float("inf"), "above 0, and finite"),
            ("min_std", min_std, 0 <= min_std <= init_std, f"0 to init_std ({init_std})"),
            ("keep_elites", keep_elites, 0 <= keep_elites <= min(elites, samples - 2), "0 to elites"),
        ):
            if not right:
                raise ConfigError(f"{name} is {value}", where="planner", expected=expected)
        if low.shape != high.shape or low.ndim != 1 or not bool((low < high).all()):
            raise ConfigError(f"action bounds are {low.tolist()} and {high.tolist()}", expected="low < high, both [A]")
        self.low, self.high = low, high
        self.horizon, self.samples, self.elites = horizon, samples, elites
        self.momentum, self.keep_elites = momentum, keep_elites
        half = (high - low) / 2
        self.init_std = (init_std * half).expand(horizon, -1)  # [H, A]
        self.min_std = (min_std * half).expand(horizon, -1)  # [H, A]

    def init(self, generator: torch.Generator, warm_start: Tensor | None = None) -> CEMState:
        """Start at the middle of the bounds, or at ``warm_start`` [H, A] clipped into them."""
        if warm_start is None:
            mean = ((self.low + self.high) / 2).repeat(self.horizon, 1)
        else:
            mean = warm_start.to(self.low).clamp(self.low, self.high)
        empty = mean.new_empty(0, *mean.shape)
        return CEMState(mean, self.init_std, empty, mean, float("inf"), generator)

    def ask(self, state: CEMState) -> Tensor:
        """Candidates [S, H, A]: the mean, the kept elites, and fresh samples."""
        fresh = self.samples - 1 - len(state.kept)
        eps = torch.randn(
            (fresh, *state.mean.shape), generator=state.generator, device=self.low.device, dtype=self.low.dtype
        )
        samples = (state.mean + state.std * eps).clamp(self.low, self.high)
        return torch.cat((state.mean[None], state.kept, samples))

    def tell(self, state: CEMState, actions: Tensor, energies: Tensor) -> CEMState:
        """Move towards the elites of candidates [S, H, A] with energies [S].

        A candidate whose energy is not a number is never an elite.

        Raises:
            PlanningError: no candidate has a finite energy.
        """
        energies = torch.where(torch.isfinite(energies), energies.float(), torch.inf)
        lowest, order = energies.topk(min(self.elites, len(energies)), largest=False)
        order = order[torch.isfinite(lowest)]
        if len(order) == 0:
            raise PlanningError(
                f"all {len(energies)} candidate plans have an energy that is not a finite number",
                expected="finite energies",
                mend="check the model's weights and the observation's state",
            )
        elites = actions[order]  # [K, H, A], best first
        m = self.momentum
        mean = m * state.mean + (1 - m) * elites.mean(0)
        std = m * state.std + (1 - m) * elites.std(0, correction=0)
        state = dataclasses.replace(
            state,
            mean=mean.clamp(self.low, self.high),  # convexity up to rounding
            std=torch.maximum(std, self.min_std),
            kept=elites[: self.keep_elites],
        )
        energy = float(lowest[0])
        if energy < state.best_energy:
            state = dataclasses.replace(state, best=elites[0], best_energy=energy)
        return state

    def best(self, state: CEMState) -> tuple[Tensor, float]:
        """The best candidate [H, A] told so far and its energy."""
        return state.best, state.best_energy

    def spread(self, state: CEMState) -> Tensor:
        """Standard deviation of the search distribution, [H, A]."""
        return state.std
