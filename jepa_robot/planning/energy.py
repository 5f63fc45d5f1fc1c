"""Energies: how far candidates end from the goal, and what they cost. They add up: `jepa_robot.planning.weighted_sum`.

Each takes what the model expects of candidates and the target, and returns energies [E, S], lower ones better. All of
them can be differentiated with respect to actions, states and features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.errors import ConfigError
from jepa_robot.planning.protocols import Prediction, Target
from jepa_robot.spec import Dim

Distance = Literal["l2", "l1", "cosine"]
Steps = Literal["last", "all", "discounted"]

# Each of one goal [E, 1, 1, M] to frames [E, S, H, M] -> [E, S, H]. The losses make one temporary array, not two.
_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": lambda frames, goal: F.mse_loss(frames, goal.expand_as(frames), reduction="none").mean(-1),
    "l1": lambda frames, goal: F.l1_loss(frames, goal.expand_as(frames), reduction="none").mean(-1),
    "cosine": lambda frames, goal: 1 - F.cosine_similarity(frames, goal, dim=-1),
}
PERIODS = {"rad": 2 * math.pi, "deg": 360.0}


class StepWeights:
    """How much the predictions after each of H steps count; the weights add up to 1.

    Args:
        steps: ``last``: only the last one. ``all``: equally, so that a plan that arrives early beats one that only
            arrives at the end. ``discounted``: step h, from 0, by ``discount**h``.
        discount: of ``discounted``; below 1 early steps count more, above 1 late ones (DINO-WM, arXiv 2411.04983,
            calls it base).
    """

    def __init__(self, steps: Steps, discount: float = 1.0):
        if steps not in ("last", "all", "discounted"):
            raise ConfigError(f"steps are {steps!r}", where="planner.energy", expected="last, all or discounted")
        if not 0 < discount < float("inf"):
            raise ConfigError(f"discount is {discount}", where="planner.energy", expected="a number above 0")
        self.last, self.discount = steps == "last", discount if steps == "discounted" else 1.0

    def counted(self, frames: Tensor) -> Tensor:
        """Those of [E, S, H, ...] that count at all."""
        return frames[:, :, -1:] if self.last else frames

    def average(self, values: Tensor) -> Tensor:
        """Values [E, S, h] of the counted steps -> [E, S]."""
        if self.discount == 1:
            return values.mean(-1)
        steps = torch.arange(values.shape[-1], device=values.device, dtype=values.dtype)
        return (values * (steps * math.log(self.discount)).softmax(0)).sum(-1)  # of any H without overflow


class LatentDistance:
    """Distance of the predicted frames to the nearest of the goal pictures.

    ``l2`` is the mean squared difference, ``l1`` the mean absolute one, ``cosine`` one minus the cosine of the angle.
    Of G pictures the one counts to which a whole plan comes nearest.
    """

    def __init__(self, distance: Distance = "l2", steps: Steps = "last", discount: float = 1.0):
        if distance not in _DISTANCES:
            expected = f"one of {', '.join(_DISTANCES)}"
            raise ConfigError(f"distance is {distance!r}", where="planner.energy", expected=expected)
        self.distance, self.weights = _DISTANCES[distance], StepWeights(steps, discount)

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S]."""
        frames = self.weights.counted(prediction.features).float()
        goals = target.features.float().unbind(1)  # G of [E, M]
        return torch.stack(
            [self.weights.average(self.distance(frames, goal[:, None, None])) for goal in goals]
        ).amin(0)


class StateDistance:
    """Mean squared difference of the predicted proprioception to the wanted one, over the dimensions that are wanted.

    0 where nothing is wanted. Angles are compared one by one, the short way around.

    Args:
        dims: of the states, which say what is an angle.
        scale: [P], what differences are divided by.
    """

    def __init__(self, dims: Sequence[Dim], scale: Tensor, steps: Steps = "last", discount: float = 1.0):
        if not dims:
            raise ConfigError("there is no state to compare", where="planner.energy.state", expected="a weight of 0")
        self.scale, self.weights = scale, StepWeights(steps, discount)
        self.periods = scale.new_tensor([PERIODS.get(dim.unit, 0.0) for dim in dims])  # 0: never begins again
        self.frequencies = (1 / self.periods).where(self.periods > 0, 0)

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S]."""
        states = self.weights.counted(prediction.states)
        if target.state is None:
            return states.new_zeros(states.shape[:2])
        wanted = ~target.state.isnan()  # [E, P]
        goal = target.state.where(wanted, 0)[:, None, None]
        off = (states - goal).where(wanted[:, None, None], 0)
        off = off - (off * self.frequencies).round() * self.periods
        squared = (off / self.scale).square().sum(-1)  # [E, S, h]
        return self.weights.average(squared) / wanted.sum(-1, keepdim=True).clamp_min(1)


class ActionCost:
    """Mean squared action, each dimension divided by its largest magnitude ``scale`` [A]; infinite ones cost nothing."""

    def __init__(self, scale: Tensor):
        self.scale = scale

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S]."""
        return (prediction.actions / self.scale).square().mean((-2, -1))


class Smoothness:
    """Mean squared change from each action to the next, each dimension divided by its largest magnitude ``scale`` [A].

    The first change is from the action executed last.
    """

    def __init__(self, scale: Tensor):
        self.scale = scale

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S]."""
        actions = prediction.actions
        before = prediction.previous[:, None, None].expand(-1, actions.shape[1], -1, -1)
        return (torch.cat((before, actions), 2).diff(dim=2) / self.scale).square().mean((-2, -1))


class Novelty:
    """How far the predicted frames are from the training data, where a model knows nothing: mean novelty above 1.

    Args:
        novelty: a model's, see `jepa_robot.planning.protocols.WorldModel.novelty`.
    """

    def __init__(self, novelty: Callable[[Tensor], Tensor]):
        self.novelty = novelty

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S]."""
        return F.relu(self.novelty(prediction.latents).float() - 1).mean(-1)
