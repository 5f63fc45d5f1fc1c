"""What the scripted demonstrators of all tasks have in common. Each task makes its own."""

from __future__ import annotations

import numpy as np

from jepa_envs.goal_image import Demonstrator, State


class NoisyExpert:
    """An expert whose hand wanders: its errors show how to recover.

    Args:
        expert: what it would like to do.
        noise: what is added, [A].
        low, high: action bounds [A].
    """

    def __init__(self, expert: Demonstrator, noise: ColouredNoise, low: np.ndarray, high: np.ndarray):
        self._expert, self._noise = expert, noise
        self._low, self._high = low, high

    def act(self, state: State, goal_state: State) -> np.ndarray:
        action = self._expert.act(state, goal_state) + self._noise.next()
        return np.clip(action, self._low, self._high).astype(np.float32)


class ColouredNoise:
    """Stationary first-order noise float64 [A].

    Args:
        rng: source of randomness.
        std: standard deviation [A].
        correlation: from step to step.
    """

    def __init__(self, rng: np.random.Generator, std: np.ndarray, correlation: float):
        self._rng, self._std, self._correlation = rng, std, correlation
        self._value = rng.normal(0.0, self._std)

    def next(self) -> np.ndarray:
        """The next value [A]."""
        fresh = self._rng.normal(0.0, self._std)
        self._value = self._correlation * self._value + np.sqrt(1 - self._correlation**2) * fresh
        return self._value

    def turn(self, dimensions: np.ndarray) -> None:
        """Change the sign of some dimensions, bool [A]."""
        self._value = np.where(dimensions, -self._value, self._value)
