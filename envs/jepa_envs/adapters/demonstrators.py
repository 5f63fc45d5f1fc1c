"""Demonstrators for environments that are driven by a policy of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jepa_envs.demonstrators import ColouredNoise
from jepa_envs.goal_image import State

Act = Callable[[State, State], np.ndarray]
"""State and goal state -> action float32 [A]."""


class EnvExpert:
    """The environment's expert.

    Args:
        act: its action in a state.
    """

    def __init__(self, act: Act):
        self._act = act

    def act(self, state: State, goal_state: State) -> np.ndarray:
        return self._act(state, goal_state)


class Wanderer:
    """Moves at random; now and then it follows the expert for a while, and so comes to where things happen.

    Args:
        rng: source of randomness.
        low, high: action bounds [A].
        expert: whom to follow; nobody where None.
    """

    def __init__(self, rng: np.random.Generator, low: np.ndarray, high: np.ndarray, expert: EnvExpert | None):
        self._rng, self._low, self._high, self._expert = rng, low, high, expert
        self._noise = ColouredNoise(rng, 0.35 * (high - low), correlation=0.8)
        self._following, self._left = False, 0

    def act(self, state: State, goal_state: State) -> np.ndarray:
        if self._left == 0:
            self._following = self._expert is not None and self._rng.random() < 0.5
            self._left = int(self._rng.integers(5, 16))
        self._left -= 1
        action = (self._low + self._high) / 2 + self._noise.next()
        if self._following:
            action = self._expert.act(state, goal_state) + 0.3 * (action - (self._low + self._high) / 2)
        return np.clip(action, self._low, self._high).astype(np.float32)
