"""Demonstrators for tasks in which a Panda goes to a pose.

A state's ``target`` is the commanded pose [P], see `jepa_envs.workspace.Workspace`; where nothing is in its way, the
arm is within a tenth of a millimetre of it at the end of a step.
"""

from __future__ import annotations

import numpy as np

from jepa_envs.demonstrators import ColouredNoise
from jepa_envs.goal_image import State
from jepa_envs.workspace import Workspace

_BOUNCE = 0.8  # probability that an explorer bounces off a face of the workspace rather than pushing at it


class ReachExpert:
    """Drives straight to the goal, a share of what is left in each step, as far as the bounds allow.

    Args:
        workspace: where the hand may go.
        gain: share of the remaining way per step.
    """

    def __init__(self, workspace: Workspace, gain: float = 0.8):
        self._workspace, self._gain = workspace, gain

    def act(self, state: State, goal_state: State) -> np.ndarray:
        bound = self._workspace.bound
        way = self._gain * self._workspace.change(np.asarray(state["target"]), np.asarray(goal_state["target"]))
        way[:3] /= max(1.0, np.abs(way[:3] / bound[:3]).max())  # all three alike, so that the way stays straight
        return np.clip(way, -bound, bound).astype(np.float32)


class WorkspaceExplorer:
    """Wanders smoothly through the whole workspace, whatever the goal.

    Its actions are coloured noise that mostly bounces off the workspace's faces. So it visits all places about
    equally often, its actions hardly depend on where it is, and it still learns what pushing at a face does.

    Args:
        rng: source of randomness; also draws this episode's smoothness and speed.
        workspace: where the hand may go.
    """

    def __init__(self, rng: np.random.Generator, workspace: Workspace):
        self._rng, self._workspace = rng, workspace
        bound = workspace.bound
        self._noise = ColouredNoise(rng, rng.uniform(0.5, 1.0) * bound, correlation=rng.uniform(0.5, 0.95))

    def act(self, state: State, goal_state: State) -> np.ndarray:
        bound = self._workspace.bound
        action = np.clip(self._noise.next(), -bound, bound)
        leaves = self._workspace.leaves(np.asarray(state["target"]), action)
        turned = leaves & (self._rng.random(len(action)) < _BOUNCE)
        self._noise.turn(turned)
        return np.where(turned, -action, action).astype(np.float32)
