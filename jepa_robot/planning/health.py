"""Whether a plan can be trusted: figures that say so, and reasons not to in one line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace

BOUND = 1e-3  # of a dimension's range: an action as near to a bound is on it
QUIET = 0.05  # of the largest change in a run: below, a frame's change is noise, which no model predicts


@dataclass(frozen=True)
class Surprise:
    """How far a frame is from what was predicted for it, in the space in which energies are measured.

    Attributes:
        error: mean squared difference of the frame and its prediction.
        change: mean squared difference of the frame and the one before.
        predicted_energy, energy: that the plan expected in the end, and that was met after its first action.
        poor_steps: newest steps in a row of which each was predicted no better than by copying the frame before.
    """

    error: float
    change: float
    predicted_energy: float
    energy: float
    poor_steps: int

    @property
    def ratio(self) -> float:
        """Error over change: 0 is exact, 1 as bad as copying the frame before; infinite where nothing changed."""
        return self.error / self.change if self.change > 0 else (0.0 if self.error == 0 else float("inf"))


@dataclass(frozen=True)
class Expectation:
    """What a plan expects of the frame after its next action.

    Attributes:
        now: [M], the frame that this one starts from.
        features: [M], the frame after.
        energy: at the end of the plan.
    """

    now: Tensor
    features: Tensor
    energy: float


class ModelError:
    """Compares what plans predict for the next frame with that frame: one robot's run.

    Steps in which neither much was predicted to change nor much did are left out: at rest all change is noise.

    Args:
        floor: changes (mean squared) that are noise in any case: 1 in a metric space whose unit is the model's error.
    """

    def __init__(self, floor: float = 0.0):
        self.floor = floor
        self.reset()

    def reset(self) -> None:
        """Forget the run so far."""
        self._expected: Expectation | None = None
        self._largest, self._poor_steps = 0.0, 0

    def expect(self, expectation: Expectation) -> None:
        """Take what the newest plan expects; only what is executed is to be expected."""
        self._expected = expectation

    def observe(self, features: Tensor, energy: float) -> Surprise | None:
        """Take the next frame [M] and its energy; None where nothing was expected."""
        if self._expected is None:
            return None
        expected, self._expected = self._expected, None
        error = _mean_square(features - expected.features)
        change = _mean_square(features - expected.now)
        moved = max(change, _mean_square(expected.features - expected.now))
        self._largest = max(self._largest, moved)
        if moved > max(self.floor, QUIET * self._largest):
            self._poor_steps = self._poor_steps + 1 if error >= change else 0
        return Surprise(error, change, expected.energy, energy, self._poor_steps)


@dataclass(frozen=True)
class Health:
    """Figures of one plan.

    Attributes:
        energy_now, energy_predicted: of the current frame, and at the end of the plan.
        novelty: of the current frame, see `jepa_robot.planning.protocols.WorldModel.novelty`.
        spread: float32 [A], see `spread_of_range`.
        on_bound: see `on_bound`.
        evaluated: candidates whose energies were computed.
        dropped: of those, how many had no finite energy, by the name of the term.
        violations: by how much the plan violates constraints, by name; only those that it does. Limits of a state
            are in fractions of its range.
        surprise: how the current frame differs from the last plan's prediction; None for the first one.
    """

    energy_now: float
    energy_predicted: float
    novelty: float
    spread: np.ndarray
    on_bound: float
    evaluated: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    surprise: Surprise | None = None

    @property
    def feasible(self) -> bool:
        """Whether the plan keeps to all constraints, as far as the model can tell."""
        return not self.violations


@dataclass(frozen=True)
class Limits:
    """Beyond which a plan should not be trusted.

    Attributes:
        novelty: of the current frame.
        poor_steps: steps in a row that were predicted no better than by copying the frame before.
        dropped: share of the candidates without a finite energy.
        near: energy below which it is no wonder that no plan comes nearer: in a metric space whose unit is the model's
            error a few; infinite where energies have no such unit.
    """

    novelty: float = 30.0
    poor_steps: int = 3
    dropped: float = 0.5
    near: float = 4.0


def warnings(health: Health, limits: Limits, searched: bool = True) -> list[str]:
    """Reasons not to trust a plan, a line each; not ``searched``, those that can come up while it is followed.

    Left out is what also happens where all is well: first actions on their bounds (the goal is far), a wide spread
    (nothing depends on a dimension), and at the goal, that no plan comes nearer.
    """
    found = []
    if searched and health.evaluated == 0:
        found.append("no candidate was evaluated before the deadline: this is what is left of the last plan, or staying")
    if not health.novelty <= limits.novelty:
        found.append(
            f"the camera's picture is unlike the training data (novelty {health.novelty:.1f}, trusted up to "
            f"{limits.novelty:g}): predictions mean nothing there"
        )
    if health.violations:
        which = ", ".join(f"{name} by {amount:.2g}" for name, amount in health.violations.items())
        found.append(
            f"no plan was found that keeps to all constraints; this one violates {which} (states: of their range)"
        )
    if (surprise := health.surprise) is not None and surprise.poor_steps >= limits.poor_steps:
        found.append(
            f"for {surprise.poor_steps} steps the frames were predicted no better than by copying the one before "
            f"(error {surprise.ratio:.1f} times the change): the model or the robot does not do what is expected"
        )
    judged = searched and health.evaluated and health.feasible and health.energy_now > limits.near
    if judged and not health.energy_predicted < health.energy_now:
        found.append(
            f"no plan comes nearer to the goal than standing still (energy {health.energy_predicted:.4g}, now "
            f"{health.energy_now:.4g})"
        )
    for name, count in health.dropped.items():
        if searched and count > limits.dropped * health.evaluated:
            found.append(f"energy {name!r} is not a finite number for {count} of {health.evaluated} candidates")
    return found


def spread_of_range(spread: Tensor, space: ActionSpace) -> np.ndarray:
    """Standard deviations [B, A] of what is still searched -> float32 [A], over all blocks, as fractions of the range.

    0 for dimensions that are not searched.
    """
    width = 2 * space.half
    return (spread.square().mean(0).sqrt() / width).where(width > 0, 0).cpu().numpy().astype(np.float32)


def on_bound(action: Tensor, space: ActionSpace) -> float:
    """Share of an action's [A] dimensions that are on a bound, of those with a choice in between.

    The dimensions of a limited norm are all on a bound where the norm is at its limit.
    """
    near = BOUND * (space.high - space.low)
    touches = (action <= space.low + near) | (action >= space.high - near)
    if (limit := space.limit) is not None:
        dims = list(limit.dims)
        touches[dims] |= torch.linalg.vector_norm(action[dims], limit.order) >= limit.radius * (1 - BOUND)
    free = [i for i in range(space.dims) if i not in space.fixed and i not in space.levels]
    return float(touches[free].float().mean()) if free else 0.0


def _mean_square(difference: Tensor) -> float:
    return float(difference.float().square().mean())
