"""Where episodes start and what their goal is, from a seed or a generator."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from jepa_robot.errors import TaskError


class SamplesGoals(Protocol):
    """The part of a goal-image task that draws start and goal (``env.unwrapped``)."""

    def sample_start_and_goal(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]: ...


def start_and_goal(task: SamplesGoals, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start and goal state of the episode with this seed, the same in every verb.

    Raises:
        TaskError: the task cannot make one.
    """
    return draw_start_and_goal(task, np.random.default_rng(seed))


def draw_start_and_goal(task: SamplesGoals, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start and goal state drawn from a generator.

    Raises:
        TaskError: the task cannot make one.
    """
    from jepa_envs.goal_image import NoGoalError

    try:
        return task.sample_start_and_goal(rng)
    except (NoGoalError, ValueError) as error:
        raise TaskError(str(error), mend="try another --seed, or another --task-option") from error
