"""The loop around an optimizer: iterations, deadlines, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError
from jepa_robot.planning.optimizers.base import TrajectoryOptimizer
from jepa_robot.planning.pace import Pace

FEWEST = 8  # candidates of an iteration that time is short for
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
        ended: when, on the search's clock.
    """

    plans: Tensor
    actions: Tensor
    energy: Tensor
    history: list[Tensor]
    spread: Tensor
    carried: Tensor
    evaluated: int
    stopped: str
    ended: float


class Search:
    """Minimises an objective with an optimizer; anytime.

    Without a deadline the same generators give the same result. With one, candidates are evaluated in pieces of
    which the next still fits by the pace of those before; and where there is no time for all, every iteration has as
    many fewer, since several small ones find more than a single large one.

    Args:
        iterations: at most; with ``extend`` and a deadline they go on until the deadline.
        chunk: candidates evaluated at once; 0: as `run` is told.
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
        # Of evaluations without and with gradients, by the candidates of all searches together.
        self.paces = {False: Pace(), True: Pace()}

    def run(
        self,
        objective: Objective,
        generators: Sequence[torch.Generator],
        warm_start: Tensor | None = None,
        deadline: float | None = None,
        at_once: int = 0,
    ) -> SearchResult:
        """Search; ``warm_start`` [E, W, B, A] is where to look first.

        Args:
            at_once: candidates to evaluate at once where ``chunk`` does not say; 0: all.

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
            if deadline is not None:
                plans = plans[:, : self._share(state, len(generators), deadline, self.iterations - len(history))]
            wants, most = optimizer.wants_gradients(state), self.chunk or at_once or plans.shape[1]
            energies, gradients = self._evaluate(objective, plans, most, wants, deadline)
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
            evaluated, stopped, self.clock(),
        )

    def _share(self, state: Any, searches: int, deadline: float, iterations: int) -> int:
        """Candidates of each search in the next iteration, so that what time is left serves all that are still to come.

        Of eight numbers an octave: every size that is new costs the compilation of its kernels.
        """
        pace = self.paces[self.optimizer.wants_gradients(state)]
        share = int(pace.capacity(deadline - self.clock()) / (searches * max(iterations, 1)))
        step = 1 << max(0, share.bit_length() - 4)
        return max(FEWEST, share // step * step)

    def _converged(self, state: Any) -> bool:
        if not self.stop_spread:
            return False
        return bool((self.optimizer.spread(state) <= self.stop_spread * self.optimizer.space.half).all())

    def _evaluate(
        self, objective: Objective, plans: Tensor, at_once: int, wants_gradients: bool, deadline: float | None
    ) -> tuple[Tensor, Tensor | None]:
        """Energies [E, s] and their gradients [E, s, B, A] of the first s candidates for which there was time."""
        (searches, total), done, pace = plans.shape[:2], 0, self.paces[wants_gradients]
        energies, gradients = [plans.new_empty(len(plans), 0, dtype=torch.float32)], [plans[:, :0]]
        while done < total:
            most = min(at_once, total - done)
            begun = self.clock()
            size = most if deadline is None else pace.fits(searches * most, deadline - begun, searches) // searches
            if not size:
                break
            part, slope = self._part(objective, plans[:, done : done + size], wants_gradients)
            energies.append(part)
            gradients.append(slope)
            done += size
            if deadline is not None:
                part.sum().item()  # a GPU has finished
                pace.learn(searches * size, self.clock() - begun)
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
