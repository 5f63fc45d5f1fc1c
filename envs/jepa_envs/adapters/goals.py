"""Ways to make a goal: functions that move a task's environment from a start to a goal of its episode.

Each takes the task and a source of randomness, and returns whether what it came to is a goal; where it is not, the task
draws another start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import gymnasium as gym
import numpy as np


class GoalMaking(Protocol):
    """What a task offers to those who make its goals.

    Attributes:
        env: the environment, which may be moved as one likes.
    """

    env: gym.Env

    def reset_env(self, seed: int) -> None:
        """Start an episode of the environment, which follows from the seed alone."""
        ...

    def act_as_expert(self) -> None:
        """One control period of the expert.

        Raises:
            ValueError: there is no expert.
        """
        ...


GoalMaker = Callable[[GoalMaking, np.random.Generator], bool]


def another_reset(task: GoalMaking, rng: np.random.Generator) -> bool:
    """The goal is the start of another episode."""
    task.reset_env(int(rng.integers(2**31)))
    return True


def by_expert(solved: Callable[[gym.Env], bool], steps: int, settle: int = 0) -> GoalMaker:
    """The goal is the last frame of the task's expert.

    Args:
        solved: whether the environment, as it stands, has been solved.
        steps: actions in which the expert has to solve it; otherwise there is no goal.
        settle: actions that it goes on for afterwards.
    """

    def make(task: GoalMaking, rng: np.random.Generator) -> bool:
        for _ in range(steps):
            task.act_as_expert()
            if solved(task.env.unwrapped):
                break
        for _ in range(settle):
            task.act_as_expert()
        return solved(task.env.unwrapped)

    return make
