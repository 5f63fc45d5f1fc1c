"""Searching action sequences by ask and tell.

An optimizer knows bounds and random numbers, never a model: it proposes candidates, is told their
energies, and proposes better ones. Its state is an immutable value, so a search can be stopped,
looked at or continued at any iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class TrajectoryOptimizer(Protocol):
    """Proposes action sequences inside the bounds, and learns from their energies."""

    def init(self, generator: torch.Generator, warm_start: Tensor | None = None) -> Any:
        """Start a search; ``warm_start`` [H, A] is where to look first."""
        ...

    def ask(self, state: Any) -> Tensor:
        """Candidates [S, H, A], inside the bounds."""
        ...

    def tell(self, state: Any, actions: Tensor, energies: Tensor) -> Any:
        """The state after learning that candidates [S, H, A] have energies [S]."""
        ...

    def best(self, state: Any) -> tuple[Tensor, float]:
        """The best candidate [H, A] told so far and its energy."""
        ...

    def spread(self, state: Any) -> Tensor:
        """Standard deviation of the search distribution, [H, A], in action units."""
        ...


@dataclass(frozen=True)
class SearchResult:
    """Outcome of `search`: best actions [H, A], their energy, the best energy after each iteration, spread [H, A]."""

    actions: Tensor
    energy: float
    history: list[float]
    spread: Tensor


def search(
    optimizer: TrajectoryOptimizer,
    objective: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    iterations: int,
    clock: Callable[[], float],
    warm_start: Tensor | None = None,
    deadline: float | None = None,
) -> SearchResult:
    """Minimise ``objective`` (candidates [S, H, A] -> energies [S]); anytime.

    Runs up to ``iterations`` iterations. With a ``deadline`` (on ``clock``, seconds) an iteration
    is only begun when the longest one so far would still fit; the first always runs.
    """
    state = optimizer.init(generator, warm_start)
    history: list[float] = []
    longest = 0.0
    for _ in range(iterations):
        begun = clock()
        if history and deadline is not None and begun + longest > deadline:
            break
        actions = optimizer.ask(state)
        state = optimizer.tell(state, actions, objective(actions))
        history.append(optimizer.best(state)[1])  # reading the energy also waits for a GPU to finish
        longest = max(longest, clock() - begun)
    actions, energy = optimizer.best(state)
    return SearchResult(actions, energy, history, optimizer.spread(state))
