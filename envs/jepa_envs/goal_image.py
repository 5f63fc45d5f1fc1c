"""What an environment offers, beyond Gymnasium, to be asked to reach a goal picture."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

State = dict[str, Any]
"""Full state of a simulator as plain data for JSON. Only an environment of the same task can read it."""

LEAST_MOVE = 0.001
"""Metres by which an object has moved at least if it is said to have moved; what only trembles has not."""


class NoGoalError(RuntimeError):
    """A task finds no goal away from its start."""


@runtime_checkable
class GoalImageTask(Protocol):
    """A task whose goal is a picture, implemented by ``env.unwrapped``.

    The planner sees pictures and the proprioception declared in `contract` and nothing else; states serve to make
    goals and to judge success.
    """

    def contract(self) -> dict[str, Any]:
        """Cameras, frame rate and action and proprioception dimensions, as plain data for JSON."""
        ...

    def observe(self) -> dict[str, np.ndarray]:
        """The present observation, as `reset` and `step` return it."""
        ...

    def state(self) -> State:
        """The full present state."""
        ...

    def restore(self, state: State) -> None:
        """Go to a state; the same actions from there give the same observations to the bit.

        Raises:
            ValueError: the state is not one of this environment.
        """
        ...

    def sample_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Draw a start and a goal that is some way from it; the simulation is left as it was.

        Where the appearance varies, both have the one that is drawn with them.

        Raises:
            NoGoalError: none is found.
        """
        ...

    def render_goal(self, state: State) -> np.ndarray:
        """The camera's picture uint8 [H, W, 3] of a state; the simulation is left as it was."""
        ...

    def distance(self, state: State, goal_state: State) -> float:
        """How far a state is from a goal, metres."""
        ...

    def is_success(self, state: State, goal_state: State) -> bool:
        """Whether a state fulfils a goal."""
        ...

    def object_moved(self, before: State, after: State) -> bool | None:
        """Whether the task's object is more than `LEAST_MOVE` from where it was, or turned as visibly.

        None where the task has no object.
        """
        ...

    def object_pose(self, state: State) -> list[tuple[str, str, float]]:
        """Name, unit and value of every coordinate of the task's objects in a state; none where it has no object.

        Recordings keep it, to judge what a model knows of the objects. No planner is given it.
        """
        ...

    def demonstrator_kinds(self) -> tuple[str, ...]:
        """Kinds of scripted demonstrators that there are for this task; may be none."""
        ...

    def make_demonstrator(self, kind: str, rng: np.random.Generator) -> Demonstrator:
        """A new demonstrator, for one episode.

        Raises:
            ValueError: the kind is unknown; names the known ones.
        """
        ...


class Demonstrator(Protocol):
    """Chooses actions for one episode, looking at states, which a planner never sees."""

    def act(self, state: State, goal_state: State) -> np.ndarray:
        """The next action, float32 [A], inside the action bounds."""
        ...
