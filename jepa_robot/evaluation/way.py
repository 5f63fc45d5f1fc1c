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

STRAIGHT = 0.1  # how much of its distance to the nearest key moment makes another one, beside that to straight lines


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
    are the corners of the way of the proprioception, each dimension as a share of its range, see `key_moments`.

    Args:
        max_steps: actions of the expert.

    Raises:
        TaskError: the task has no expert, or as many pictures are wanted as it takes steps.
    """
    if max_steps < count + 2:
        raise TaskError(
            f"is given {max_steps} steps", where=f"the expert of task {task.name}",
            expected=f"at least {count + 2}, to take {count} pictures of",
        )
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
    return [seen[i] for i in key_moments(np.stack([one.proprioception for one in seen]) / ranges, count)]


def key_moments(states: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` of states [T, P], between the first and the last, that tell most of the way.

    One after another the state is taken that lies farthest from the straight lines between those taken before
    (Ramer, Douglas and Peucker): a planner goes straight from one picture to the next. On straight parts it is the one
    that is farthest from the ends.

    Raises:
        ValueError: there are fewer states.
    """
    if len(states) < count + 2:
        raise ValueError(f"{len(states)} states; expected at least {count + 2}")
    taken = [0, len(states) - 1]
    for _ in range(count):
        apart = np.full(len(states), -1.0)
        for first, last in zip(taken, taken[1:]):
            inner, line = states[first + 1 : last] - states[first], states[last] - states[first]
            share = np.clip(inner @ line / max(line @ line, 1e-12), 0, 1)
            from_line = np.linalg.norm(inner - share[:, None] * line, axis=1)
            from_ends = np.minimum(np.linalg.norm(inner, axis=1), np.linalg.norm(inner - line, axis=1))
            apart[first + 1 : last] = from_line + STRAIGHT * from_ends
        taken = sorted([*taken, int(apart.argmax())])
    return taken[1:-1]
