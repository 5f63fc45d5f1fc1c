"""Scripted demonstrators for PandaReach, from which trajectories are recorded.

They look at states, which a planner never sees. A state's ``target`` is the commanded pose (x, y, z in metres,
closedness); the arm is within a tenth of a millimetre of it at the end of a step.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from jepa_envs.goal_image import State
from jepa_envs.panda import HIGH, LOW
from jepa_envs.panda_reach import ACTION_HIGH

_BOUND = ACTION_HIGH.astype(float)


class Demonstrator(Protocol):
    """Chooses actions for one episode."""

    def act(self, state: State, goal_state: State) -> np.ndarray:
        """The next action, float32 [4], inside the action bounds."""
        ...


class Expert:
    """Drives straight to the goal, a share of what is left in each step, as far as the bounds allow.

    Args:
        gain: share of the remaining way per step.
    """

    def __init__(self, gain: float = 0.8):
        self._gain = gain

    def act(self, state: State, goal_state: State) -> np.ndarray:
        way = self._gain * (np.asarray(goal_state["target"]) - np.asarray(state["target"]))
        way[:3] /= max(1.0, np.abs(way[:3] / _BOUND[:3]).max())  # all three alike, so that the way stays straight
        return np.clip(way, -_BOUND, _BOUND).astype(np.float32)


class NoisyExpert:
    """An expert of random haste whose hand wanders: its errors show how to recover.

    Args:
        rng: source of randomness.
        noise: standard deviation of the noise, as a share of the action bounds.
        correlation: of the noise from step to step.
    """

    def __init__(self, rng: np.random.Generator, noise: float = 0.5, correlation: float = 0.7):
        self._expert = Expert(gain=rng.uniform(0.3, 0.9))
        self._noise = _ColouredNoise(rng, noise, correlation)

    def act(self, state: State, goal_state: State) -> np.ndarray:
        action = self._expert.act(state, goal_state) + self._noise.next()
        return np.clip(action, -_BOUND, _BOUND).astype(np.float32)


class Explorer:
    """Wanders smoothly through the whole workspace, whatever the goal.

    Its actions are coloured noise that mostly bounces off the workspace's faces. So it visits all places about
    equally often, its actions hardly depend on where it is, and it still learns what pushing at a face does.

    Args:
        rng: source of randomness; also draws this episode's smoothness and speed.
        bounce: probability of bouncing off a face rather than pushing at it.
    """

    def __init__(self, rng: np.random.Generator, bounce: float = 0.8):
        self._rng = rng
        self._bounce = bounce
        self._noise = _ColouredNoise(rng, scale=rng.uniform(0.5, 1.0), correlation=rng.uniform(0.5, 0.95))

    def act(self, state: State, goal_state: State) -> np.ndarray:
        action = np.clip(self._noise.next(), -_BOUND, _BOUND)
        after = np.asarray(state["target"]) + action
        turned = ((after < LOW) | (after > HIGH)) & (self._rng.random(4) < self._bounce)
        self._noise.turn(turned)
        return np.where(turned, -action, action).astype(np.float32)


class _ColouredNoise:
    """Stationary first-order noise float64 [4]; ``scale`` is a share of the action bounds."""

    def __init__(self, rng: np.random.Generator, scale: float, correlation: float):
        self._rng, self._std, self._correlation = rng, scale * _BOUND, correlation
        self._value = rng.normal(0.0, self._std)

    def next(self) -> np.ndarray:
        fresh = self._rng.normal(0.0, self._std)
        self._value = self._correlation * self._value + np.sqrt(1 - self._correlation**2) * fresh
        return self._value

    def turn(self, dimensions: np.ndarray) -> None:
        self._value = np.where(dimensions, -self._value, self._value)


KINDS = ("expert", "noisy", "explore")


def make_demonstrator(kind: str, rng: np.random.Generator) -> Demonstrator:
    """A new demonstrator, for one episode.

    Raises:
        ValueError: the kind is unknown; names the known ones.
    """
    if kind == "expert":
        return Expert()
    if kind == "noisy":
        return NoisyExpert(rng)
    if kind == "explore":
        return Explorer(rng)
    raise ValueError(f"demonstrator {kind!r} is unknown, expected one of {KINDS}")
