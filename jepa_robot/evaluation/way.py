"""Sub-goal pictures: what the camera sees on an expert's way to a goal."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_robot.errors import TaskError
from jepa_robot.evaluation.episodes import Goal, drawn_episode
from jepa_robot.evaluation.policies import ExpertPolicy
from jepa_robot.evaluation.tasks import Task
from jepa_robot.planning.types import Observation


@dataclass(frozen=True)
class Moment:
    """What the camera sees, uint8 [height, width, 3], the proprioception float32 [P], and the simulator's state."""

    image: np.ndarray
    proprioception: np.ndarray
    state: dict[str, Any]


def shown_episode(task: Task, seed: int, subgoals: int, max_steps: int) -> tuple[dict[str, Any], Goal]:
    """`drawn_episode`, with so many sub-goals.

    Raises:
        TaskError: the task cannot make one, or has no expert to see the way of.
    """
    start, goal = drawn_episode(task, seed)
    return start, with_way(task, start, goal, subgoals, max_steps, seed) if subgoals else goal


def with_way(task: Task, start: dict[str, Any], goal: Goal, count: int, max_steps: int, seed: int) -> Goal:
    """The goal with pictures of `expert_way`."""
    way = expert_way(task, start, goal, count, max_steps, seed)
    return dataclasses.replace(goal, way=tuple(moment.image for moment in way))


def expert_way(
    task: Task, start: dict[str, Any], goal: Goal, count: int, max_steps: int, seed: int
) -> list[Moment]:
    """``count`` moments of the task's expert on its way from ``start`` to the goal, whether it gets there or not.

    V-JEPA 2-AC (arXiv 2506.09985, section 4.2) grasps, lifts and places by pictures of what is between. These moments
    lie equally far from each other along the way of the proprioception, each dimension as a share of its range.

    Args:
        max_steps: actions of the expert; where it stands still counts for nothing.

    Raises:
        TaskError: the task has no expert.
    """
    if "expert" not in task.env.demonstrator_kinds():
        raise TaskError("has no expert to see the way of", where=f"task {task.name}", mend="leave sub-goals out")
    expert, camera = ExpertPolicy(), task.contract.camera.name
    expert.reset(task, goal, seed)
    frame, _ = task.env.reset(seed=seed, options={"state": start, "goal_state": goal.state})
    observation, seen = Observation.from_dict(frame, camera), []
    for _ in range(max_steps):
        seen.append(Moment(observation.image, observation.state, task.env.state()))
        frame, *_ = task.env.step(expert.decide(observation).action)
        observation = Observation.from_dict(frame, camera)
    ranges = task.contract.state_high - task.contract.state_low
    return [seen[i] for i in evenly_along(np.stack([one.proprioception for one in seen]) / ranges, count)]


def evenly_along(states: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` of states [T, P] between the first and the last, equally far from each other on the way."""
    gone = np.concatenate([[0.0], np.abs(np.diff(states, axis=0)).sum(1).cumsum()])
    return np.searchsorted(gone, gone[-1] * np.arange(1, count + 1) / (count + 1)).tolist()
