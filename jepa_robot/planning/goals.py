"""What a run goes for: one picture, several of which any will do, or one sub-goal after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_robot.errors import GoalError
from jepa_robot.spec import Dim

Picture = np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class SubGoal:
    """A part of the way.

    Attributes:
        pictures: any of them is as good; uint8 [height, width, 3] RGB, or latents [N, D].
        state: float32 [P], wanted proprioception, physical units, NaN for what may be anything; None: all of it.
        steps: after which to go on, arrived or not; None: not before arrival.

    Raises:
        GoalError: no picture, one of them is none, or a number that cannot be.
    """

    pictures: tuple[Picture, ...]
    state: np.ndarray | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.pictures:
            raise GoalError("a sub-goal has no picture", expected="at least one")
        for picture in self.pictures:
            if isinstance(picture, np.ndarray):
                right = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
            else:
                right = isinstance(picture, Tensor) and picture.ndim == 2 and picture.is_floating_point()
            if not right:
                expected = "uint8 [height, width, 3] RGB, or latents: a tensor [N, D]"
                raise GoalError(f"goal picture is {describe(picture)}", expected=expected)
            if isinstance(picture, Tensor) and not bool(torch.isfinite(picture).all()):
                raise GoalError("goal latents have numbers that are not finite", expected="latents of an encoder")
        if self.state is not None:
            if not isinstance(self.state, np.ndarray) or self.state.dtype != np.float32 or self.state.ndim != 1:
                raise GoalError(f"goal state is {describe(self.state)}", expected="float32 [P]")
            if np.isinf(self.state).any():
                raise GoalError(f"goal state is {self.state.tolist()}", expected="finite numbers, or NaN for any")
        if self.steps is not None and self.steps < 1:
            raise GoalError(f"a sub-goal has {self.steps} steps", expected="at least 1, or None: until arrival")


@dataclass(frozen=True, eq=False)
class Goal:
    """Sub-goals, one after another; most often one."""

    subgoals: tuple[SubGoal, ...]

    def __post_init__(self) -> None:
        if not self.subgoals:
            raise GoalError("a goal has no sub-goal", expected="at least one")

    @classmethod
    def of(cls, picture: Picture, state: np.ndarray | None = None) -> Goal:
        """One picture, or its latents."""
        return cls.any_of([picture], state)

    @classmethod
    def any_of(cls, pictures: Sequence[Picture], state: np.ndarray | None = None) -> Goal:
        """Several pictures, each of which is as good."""
        return cls((SubGoal(tuple(pictures), state),))

    @classmethod
    def sequence(cls, pictures: Sequence[Picture], steps: Sequence[int | None] | None = None) -> Goal:
        """One picture after another.

        Args:
            steps: of each, see `SubGoal`; None: each until arrival.
        """
        steps = [None] * len(pictures) if steps is None else steps
        if len(steps) != len(pictures):
            raise GoalError(f"{len(steps)} numbers of steps for {len(pictures)} pictures", expected="one a picture")
        return cls(tuple(SubGoal((picture,), steps=count) for picture, count in zip(pictures, steps)))


class SubgoalSequence:
    """Which sub-goal is the current one.

    The next one's turn comes on arrival at the current one, or after as many actions as that has steps: V-JEPA 2-AC
    (arXiv 2506.09985) picks and places by three pictures with a fixed number of steps each. The last one stays.

    Attributes:
        index: of the current one, from 0.
        actions: executed since it became the current one.
    """

    def __init__(self, goal: Goal):
        self.goal = goal
        self.index, self.actions = 0, 0

    @property
    def current(self) -> SubGoal:
        return self.goal.subgoals[self.index]

    @property
    def last(self) -> bool:
        """Whether the current one is the goal's last."""
        return self.index == len(self.goal.subgoals) - 1

    @property
    def over(self) -> bool:
        """Whether the current one's steps are used up."""
        return self.current.steps is not None and self.actions >= self.current.steps

    def update(self, arrived: bool) -> bool:
        """Take a new frame, and whether it is at the current sub-goal; True where another one's turn has come."""
        if self.last or not (arrived or self.over):
            return False
        self.index, self.actions = self.index + 1, 0
        return True

    def acted(self) -> None:
        """An action was executed."""
        self.actions += 1


def state_goal(dims: Sequence[Dim], values: Mapping[str, float]) -> np.ndarray:
    """Wanted proprioception float32 [P], NaN where ``values``, by names of dimensions, has none.

    Raises:
        GoalError: an unknown dimension, or a value outside its bounds.
    """
    names = [dim.name for dim in dims]
    state = np.full(len(dims), np.nan, np.float32)
    for name, value in values.items():
        if name not in names:
            raise GoalError(f"there is no state {name!r}", where="goal state", expected=f"one of {', '.join(names)}")
        dim = dims[names.index(name)]
        if not dim.low <= value <= dim.high:
            expected = f"{dim.low:g} to {dim.high:g} {dim.unit}"
            raise GoalError(f"{name} is {value:g}", where="goal state", expected=expected)
        state[names.index(name)] = value
    return state


def describe(value: object) -> str:
    """An array's format and shape, or anything else's type, for messages."""
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__
