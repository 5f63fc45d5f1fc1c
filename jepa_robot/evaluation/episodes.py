"""One run of a policy towards a goal, and everything that was seen on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from jepa_robot.errors import NoveltyError
from jepa_robot.evaluation.correlation import rank_correlation
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.planning.types import Observation


@dataclass(frozen=True)
class Goal:
    """Where to go.

    Attributes:
        image: uint8 [height, width, 3] RGB; it and ``way`` are all that a planner is given.
        state: the simulator's state in the picture, to judge success; None when unknown.
        way: sub-goal pictures, to be gone to one after another before ``image``.
    """

    image: np.ndarray
    state: dict[str, Any] | None = None
    way: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What a policy wants to do next.

    Attributes:
        action: float32 [A], physical units.
        arrived: the policy believes that the goal is reached, and wants to stop instead.
        energy: of the current frame; NaN for policies without one.
        planned_energy: expected at the end of the plan; NaN for policies without one.
        latency_s: seconds that the decision took.
        warnings: reasons not to trust it, a line each.
    """

    action: np.ndarray
    arrived: bool = False
    energy: float = float("nan")
    planned_energy: float = float("nan")
    latency_s: float = 0.0
    warnings: tuple[str, ...] = ()


class Policy(Protocol):
    """Decides what to do from observations."""

    def reset(self, task: Task, goal: Goal, seed: int) -> None:
        """Begin an episode."""
        ...

    def decide(self, observation: Observation) -> Decision:
        """The next action."""
        ...


@dataclass(frozen=True)
class Step:
    """One moment of an episode: what was seen, how far the goal was, and what was decided there.

    ``distance_m`` is None without a known goal state. The last moment's action is not executed.
    """

    index: int
    image: np.ndarray
    distance_m: float | None
    decision: Decision


@dataclass(frozen=True)
class EpisodeResult:
    """Outcome of an episode.

    Attributes:
        seed: of the episode.
        goal: where it should go.
        steps: moments, first to last: number of executed actions + 1.
        arrived: the policy stopped of its own accord.
        success: the task's verdict on the true final state; None without a known goal state.
        first_success: number of actions after which the goal was met for the first time; None if never.
        refused: the policy did not begin.
    """

    seed: int
    goal: Goal
    steps: list[Step]
    arrived: bool
    success: bool | None
    first_success: int | None
    refused: bool = False

    @property
    def actions(self) -> int:
        """Number of actions executed."""
        return len(self.steps) - 1

    @property
    def distance_m(self) -> float | None:
        """Distance to the goal at the end."""
        return self.steps[-1].distance_m

    @property
    def closest_m(self) -> float | None:
        """Least distance to the goal on the way."""
        distances = [s.distance_m for s in self.steps if s.distance_m is not None]
        return min(distances, default=None)

    @property
    def final_energy(self) -> float:
        """Energy of the last frame; NaN for policies without one."""
        return self.steps[-1].decision.energy

    @property
    def energy_correlation(self) -> float | None:
        """Rank correlation of the energies with the true distances; None where it is not known."""
        pairs = [(s.decision.energy, s.distance_m) for s in self.steps if s.distance_m is not None]
        return rank_correlation(*zip(*pairs)) if pairs else None

    def without_images(self) -> EpisodeResult:
        """The same without the frames on the way, which are nearly all of its size."""
        none = np.empty((0, 0, 3), np.uint8)
        return dataclasses.replace(self, steps=[dataclasses.replace(s, image=none) for s in self.steps])

    @property
    def latencies_s(self) -> list[float]:
        """Seconds that each decision took, the first included."""
        return [] if self.refused else [s.decision.latency_s for s in self.steps]


def run_episode(
    task: Task,
    policy: Policy,
    start: dict[str, Any],
    goal: Goal,
    max_steps: int,
    seed: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> EpisodeResult:
    """Run ``policy`` from ``start`` until it says that it has arrived, at most ``max_steps`` actions.

    The policy decides once more after the last action, so that it can say that this one brought it there.
    """
    env, contract = task.env, task.contract
    policy.reset(task, goal, seed)
    options = {"state": start} if goal.state is None else {"state": start, "goal_state": goal.state}
    frame, _ = env.reset(seed=seed, options=options)
    steps: list[Step] = []
    first_success: int | None = None
    while True:
        observation = Observation.from_dict(frame, contract.camera.name, time=len(steps) / contract.fps)
        decision = policy.decide(observation)
        distance, success = None, None
        if goal.state is not None:
            state = env.state()
            distance, success = env.distance(state, goal.state), env.is_success(state, goal.state)
            if success and first_success is None:
                first_success = len(steps)
        steps.append(Step(len(steps), observation.image, distance, decision))
        on_step(steps[-1])
        if decision.arrived or len(steps) > max_steps:
            return EpisodeResult(seed, goal, steps, decision.arrived, success, first_success)
        frame, *_ = env.step(decision.action)


class _Stand:
    """Decides nothing."""

    def reset(self, task: Task, goal: Goal, seed: int) -> None:
        self._action = np.zeros(len(task.contract.actions), np.float32)

    def decide(self, observation: Observation) -> Decision:
        return Decision(self._action)


def drawn_episode(task: Task, seed: int) -> tuple[dict[str, Any], Goal]:
    """Start state and goal of the episode with this seed, the same in every verb.

    Raises:
        TaskError: the task cannot make one.
    """
    start, state = start_and_goal(task.env, seed)
    return start, Goal(task.env.render_goal(state), state)


def attempt(
    task: Task, policy: Policy, start: dict[str, Any], goal: Goal, max_steps: int, seed: int
) -> EpisodeResult:
    """`run_episode`; one whose policy refuses the goal ends where it starts."""
    try:
        return run_episode(task, policy, start, goal, max_steps, seed)
    except NoveltyError:
        return dataclasses.replace(run_episode(task, _Stand(), start, goal, 0, seed), refused=True)
