"""Demonstrators for tasks in which a Panda goes to a pose.

A state's ``target`` is the commanded pose (x, y, z in metres, closedness); where nothing is in its way, the arm is
within a tenth of a millimetre of it at the end of a step.
"""

from __future__ import annotations

import numpy as np

from jepa_envs.demonstrators import ColouredNoise
from jepa_envs.goal_image import State
from jepa_envs.panda import HIGH, LOW

_BOUNCE = 0.8  # probability that an explorer bounces off a face of the workspace rather than pushing at it


class ReachExpert:
    """Drives straight to the goal, a share of what is left in each step, as far as the bounds allow.

    Args:
        bound: largest action [4].
        gain: share of the remaining way per step.
    """

    def __init__(self, bound: np.ndarray, gain: float = 0.8):
        self._bound, self._gain = bound, gain

    def act(self, state: State, goal_state: State) -> np.ndarray:
        way = self._gain * (np.asarray(goal_state["target"]) - np.asarray(state["target"]))
        way[:3] /= max(1.0, np.abs(way[:3] / self._bound[:3]).max())  # all three alike, so that the way stays straight
        return np.clip(way, -self._bound, self._bound).astype(np.float32)


class WorkspaceExplorer:
    """Wanders smoothly through the whole workspace, whatever the goal.

    Its actions are coloured noise that mostly bounces off the workspace's faces. So it visits all places about
    equally often, its actions hardly depend on where it is, and it still learns what pushing at a face does.

    Args:
        rng: source of randomness; also draws this episode's smoothness and speed.
        bound: largest action [4].
    """

    def __init__(self, rng: np.random.Generator, bound: np.ndarray):
        self._rng, self._bound = rng, bound
        self._noise = ColouredNoise(rng, rng.uniform(0.5, 1.0) * bound, correlation=rng.uniform(0.5, 0.95))

    def act(self, state: State, goal_state: State) -> np.ndarray:
        action = np.clip(self._noise.next(), -self._bound, self._bound)
        after = np.asarray(state["target"]) + action
        turned = ((after < LOW) | (after > HIGH)) & (self._rng.random(4) < _BOUNCE)
        self._noise.turn(turned)
        return np.where(turned, -action, action).astype(np.float32)
