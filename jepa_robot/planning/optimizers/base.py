"""Searching plans by ask and tell.

An optimizer knows the possible plans and random numbers, never a model: it proposes candidates, is told their
energies, and proposes better ones. Its state is an immutable value, so a search can be stopped, looked at or
continued at any iteration. E searches, of as many robots or starts, run side by side as one batch; each draws from a
generator of its own, so that it finds the same alone and in company.

Plans are [B, A]: B blocks of an action each, see `jepa_robot.planning.actions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.actions import ActionSpace

MAX_SAMPLES = 100_000
INFEASIBLE = 1e20  # from here on energies are of candidates that break constraints, all above those that do not
FLIP = 0.3  # a standard deviation of so many gaps between levels crosses half a gap in 1 of 20 samples


class TrajectoryOptimizer(Protocol):
    """Proposes possible plans, and learns from their energies.

    Attributes:
        space: the possible plans.
        uses_gradients: whether it ever wants them.
    """

    space: ActionSpace
    uses_gradients: bool

    def wants_gradients(self, state: Any) -> bool:
        """Whether the next `tell` needs the energies' gradients."""
        ...

    def init(self, generators: Sequence[torch.Generator], warm_start: Tensor | None = None) -> Any:
        """Start E searches, one a generator.

        Args:
            warm_start: [E, W, B, A], plans to look at first, the most promising first; any W of 1 or more.
        """
        ...

    def ask(self, state: Any) -> Tensor:
        """Possible candidates [E, S, B, A], the most promising first; S may differ from one iteration to the next."""
        ...

    def tell(self, state: Any, plans: Tensor, energies: Tensor, gradients: Tensor | None = None) -> Any:
        """The state after learning that candidates [E, S, B, A] have energies [E, S].

        The candidates are the first S of those asked for: all, or fewer where time ran out.

        Args:
            gradients: of each energy by its candidate, [E, S, B, A], if `wants_gradients`.

        Raises:
            PlanningError: no candidate of one of the searches has a finite energy, nor had one before.
        """
        ...

    def best(self, state: Any) -> tuple[Tensor, Tensor]:
        """Plans to execute [E, B, A], possible, and what energies [E] are expected of them."""
        ...

    def spread(self, state: Any) -> Tensor:
        """Standard deviation of what is still searched, [E, B, A], in action units."""
        ...

    def carry(self, state: Any) -> Tensor:
        """Plans [E, W, B, A] worth a look when the next search begins, the most promising first."""
        ...


def noise(generators: Sequence[torch.Generator], count: int, like: Tensor) -> Tensor:
    """Standard normal numbers [E, count, *shape] in the format of ``like`` [E, *shape]; row e is by generator e."""
    shape = (count, *like.shape[1:])
    return torch.stack([torch.randn(shape, generator=g, device=like.device, dtype=like.dtype) for g in generators])


def coloured(white: Tensor, exponent: float) -> Tensor:
    """Standard normal numbers [..., B, A] -> such whose power falls with frequency f over B as f^-exponent.

    0 leaves them white, 1 is pink, 2 red: the larger, the smoother in time. Every number stays standard normal. J.
    Timmer, M. Koenig: On generating power law noise, Astronomy and Astrophysics 300, 1995; frequency 0 weighs as much
    as 1 / B.
    """
    blocks = white.shape[-2]
    if exponent == 0 or blocks == 1:
        return white
    frequency = torch.arange(blocks // 2 + 1, device=white.device, dtype=white.dtype).clamp_min(1)
    weight = frequency ** (-exponent / 2)
    both_sides = torch.cat((weight, weight[1 : (blocks + 1) // 2]))  # B values: the spectrum of a real signal is even
    weight = weight / both_sides.square().mean().sqrt()
    return torch.fft.irfft(weight[:, None] * torch.fft.rfft(white, dim=-2), blocks, dim=-2)


def start(space: ActionSpace, searches: int, warm_start: Tensor | None) -> Tensor:
    """Plans [E, W, B, A] to begin with: the warm start made possible, or the middle of the space."""
    if warm_start is None:
        return space.middle().repeat(searches, 1, 1, 1)
    return space.project(warm_start.to(space.low))


def deviations(space: ActionSpace, initial: float, least: float) -> tuple[Tensor, Tensor]:
    """Standard deviations [B, A] to begin with and to sample with at least, from fractions of half the range.

    Discrete dimensions have their own, so that no level is lost because it was not in a handful of elites: at first
    half the range, and at least what takes 1 in 20 samples from a level to its nearest neighbour.
    """
    first, last = initial * space.half, least * space.half
    for i, levels in space.levels.items():
        first[i] = space.half[i]
        last[i] = levels.diff().min() * FLIP if len(levels) > 1 else 0
    return first.expand(space.blocks, -1), last.expand(space.blocks, -1)


def finite(plans: Tensor, energies: Tensor, best: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Candidates [E, S, B, A] and energies [E, S] as float32, those that are no finite numbers infinite.

    Where none is finite, all are the best plan [E, B, A] so far with its energy [E]: that search begins there anew.

    Raises:
        PlanningError: one of the searches has none, and had none before.
    """
    energies = torch.where(torch.isfinite(energies), energies.float(), torch.inf)
    lost = torch.isinf(energies).all(1)
    if bool((none := lost & torch.isinf(best[1])).any()):
        which = f" of robot {int(none.nonzero()[0]) + 1} of {len(none)}" if len(none) > 1 else ""
        raise PlanningError(
            f"all {energies.shape[1]} candidate plans{which} have an energy that is not a finite number",
            expected="finite energies",
            mend="check the model's weights and the observation's state",
        )
    plans = torch.where(lost[:, None, None, None], best[0][:, None], plans)
    return plans, torch.where(lost[:, None], best[1][:, None], energies)


def take(plans: Tensor, order: Tensor) -> Tensor:
    """Plans [E, S, B, A] at indices [E, K] -> [E, K, B, A]."""
    return plans.gather(1, order[..., None, None].expand(-1, -1, *plans.shape[2:]))


def fit(plans: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [E, B, A] of plans [E, S, B, A] with weights [E, S] that sum to 1."""
    weights = weights.to(plans)[..., None, None]
    away = plans - plans[:, :1]  # exactly 0 where all are the same, and so is their deviation
    mean = (weights * away).sum(1)
    return plans[:, 0] + mean, (weights * (away - mean[:, None]).square()).sum(1).sqrt()


def average(energies: Tensor, weights: Tensor) -> Tensor:
    """Mean [E] of energies [E, S] with weights [E, S] that sum to 1 and are 0 where an energy is infinite."""
    return (weights * torch.where(weights > 0, energies, 0)).sum(1)


def better(best: tuple[Tensor, Tensor], plans: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
    """Of a best plan [E, B, A] with energies [E] and candidates [E, S, B, A] with [E, S], the lower ones."""
    lowest, index = energies.min(1)
    found = take(plans, index[:, None])[:, 0]
    wins = lowest < best[1]
    return torch.where(wins[:, None, None], found, best[0]), torch.where(wins, lowest, best[1])


def check(where: str, *rules: tuple[str, object, bool, str]) -> None:
    """Check settings.

    Args:
        rules: name, value, whether it is right, and what is expected.

    Raises:
        ConfigError: names the first that is wrong.
    """
    for name, value, right, expected in rules:
        if not right:
            raise ConfigError(f"{name} is {value}", where=where, expected=expected)
