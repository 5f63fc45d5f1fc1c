"""The loop around an optimizer: iterations, deadlines, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError
from jepa_robot.planning.optimizers.base import TrajectoryOptimizer

Objective = Callable[[Tensor], Tensor]  # actions [E, S, H, A] -> energies [E, S]


@dataclass(frozen=True)
class SearchResult:
    """Outcome of `Search.run`.

    Attributes:
        plans: [E, B, A]; actions: [E, H, A], the same.
        energy: [E], expected; infinite where not one candidate was evaluated.
        history: [iterations, E], the lowest energy after each iteration.
        spread: [E, B, A], see `TrajectoryOptimizer.spread`.
        carried: [E, W, B, A], for the next search's warm start.
        evaluated: candidates of each search whose energies were computed.
        stopped: "iterations", "deadline" or "converged".
    """

    plans: Tensor
    actions: Tensor
    energy: Tensor
    history: list[Tensor]
    spread: Tensor
    carried: Tensor
    evaluated: int
    stopped: str


class Search:
    """Minimises an objective with an optimizer; anytime.

    Without a deadline the same generators give the same result. With one, candidates are evaluated in chunks of
    which the next still fits by the pace of those before.

    Args:
        iterations: at most; with ``extend`` and a deadline they go on until the deadline.
        chunk: candidates evaluated at once; 0: all of an iteration.
        stop_spread: stop where every dimension's spread is below this fraction of half its range; 0: never.
        extend: use what is left of the time, instead of giving it back.
        clock: seconds; deadlines are on it.
    """

    def __init__(
        self,
        optimizer: TrajectoryOptimizer,
        iterations: int,
        clock: Callable[[], float],
        chunk: int = 0,
        stop_spread: float = 0.0,
        extend: bool = False,
    ):
        if iterations < 1:
            raise ConfigError(f"iterations is {iterations}", where="planner", expected="at least 1")
        if chunk < 0:
            raise ConfigError(f"chunk is {chunk}", where="planner", expected="at least 1, or 0: all at once")
        if not 0 <= stop_spread < 1:
            raise ConfigError(f"stop_spread is {stop_spread}", where="planner", expected="at least 0 and below 1")
        self.optimizer, self.iterations, self.clock = optimizer, iterations, clock
        self.chunk, self.stop_spread, self.extend = chunk, stop_spread, extend
        self.pace = Pace()

    def run(
        self,
        objective: Objective,
        generators: Sequence[torch.Generator],
        warm_start: Tensor | None = None,
        deadline: float | None = None,
    ) -> SearchResult:
        """Search; ``warm_start`` [E, W, B, A] is where to look first.

        Raises:
            PlanningError: a search has no candidate with a finite energy.
        """
        optimizer = self.optimizer
        state = optimizer.init(generators, warm_start)
        history: list[Tensor] = []
        evaluated, stopped = 0, "iterations"
        endless = self.extend and deadline is not None
        while endless or len(history) < self.iterations:
            plans = optimizer.ask(state)
            energies, gradients = self._evaluate(objective, plans, optimizer.wants_gradients(state), deadline)
            count = energies.shape[1]
            if count:
                state = optimizer.tell(state, plans[:, :count], energies, gradients)
                history.append(optimizer.best(state)[1])
                evaluated += count
            if count < plans.shape[1]:
                stopped = "deadline"
                break
            if self._converged(state):
                stopped = "converged"
                break
        best, energy = optimizer.best(state)
        return SearchResult(
            best, optimizer.space.expand(best), energy, history, optimizer.spread(state), optimizer.carry(state),
            evaluated, stopped,
        )

    def _converged(self, state: Any) -> bool:
        if not self.stop_spread:
            return False
        return bool((self.optimizer.spread(state) <= self.stop_spread * self.optimizer.space.half).all())

    def _evaluate(
        self, objective: Objective, plans: Tensor, wants_gradients: bool, deadline: float | None
    ) -> tuple[Tensor, Tensor | None]:
        """Energies [E, s] and their gradients [E, s, B, A] of the first s candidates for which there was time."""
        total, done = plans.shape[1], 0
        energies, gradients = [plans.new_empty(len(plans), 0, dtype=torch.float32)], [plans[:, :0]]
        while done < total:
            most = min(self.chunk or total, total - done)
            begun = self.clock()
            size = most if deadline is None else self.pace.fits(most, deadline - begun, wants_gradients)
            if not size:
                break
            part, slope = self._part(objective, plans[:, done : done + size], wants_gradients)
            energies.append(part)
            gradients.append(slope)
            done += size
            if deadline is not None:
                part.sum().item()  # a GPU has finished
                self.pace.learn(size, self.clock() - begun, wants_gradients)
        return torch.cat(energies, 1), torch.cat(gradients, 1) if wants_gradients else None

    def _part(self, objective: Objective, plans: Tensor, wants_gradients: bool) -> tuple[Tensor, Tensor]:
        expand = self.optimizer.space.expand
        if not wants_gradients:
            return objective(expand(plans)).float(), plans[:, :0]
        with torch.enable_grad():
            plans = plans.detach().requires_grad_()
            energies = objective(expand(plans)).float()
            (slope,) = torch.autograd.grad(energies.sum(), plans)
        return energies.detach(), slope


class Pace:
    """How long evaluating candidates takes, from how long it took: at most ``a + b * candidates`` seconds.

    ``b`` is the slowest of late seen per candidate in chunks of the largest size so far, ``a`` what a single one
    takes. Both are forgotten slowly, so that a burst of other work on the machine costs candidates for a while, and
    not for ever. Evaluations with gradients have a pace of their own.
    """

    FORGET = 0.9  # of an estimate that is above what was seen, this much stays
    HEADROOM = 1.3  # of time, since the next chunk may be the slowest yet
    SMALLEST = 4  # candidates below which a chunk does not get much faster

    def __init__(self) -> None:
        self._each: dict[bool, float] = {}

    def fits(self, most: int, seconds: float, gradients: bool) -> int:
        """How many candidates of ``most`` can be evaluated in so many seconds; 0: none."""
        if seconds <= 0:
            return 0
        each = self._each.get(gradients)
        if each is None:  # of the first evaluation nothing is known: it measures
            return min(most, self.SMALLEST)
        count = int(seconds / (self.HEADROOM * each))
        return min(most, count) if count >= min(most, self.SMALLEST) else 0

    def learn(self, count: int, seconds: float, gradients: bool) -> None:
        """That so many candidates took so many seconds."""
        seen = seconds / max(count, self.SMALLEST)
        before = self._each.get(gradients, 0.0)
        self._each[gradients] = max(seen, self.FORGET * before + (1 - self.FORGET) * seen)
