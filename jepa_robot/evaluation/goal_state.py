"""Goals given as a state of the simulator: a JSON file, or a goal picture that carries one.

A JSON file holds the state as ``env.unwrapped.state()`` gives it, an object whose ``task`` says of which task it is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jepa_robot.errors import GoalError
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.tasks import Task
from jepa_robot.files import atomic_path

EXPECTED = "a state as env.state() gives it, as JSON, or a picture drawn by: jepa-robot goal"
_PNG = b"\x89PNG"
# Share of its range by which a proprioception may be beyond its bounds: an arm overshoots a little.
_OVERSHOOT = 0.05


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, Any], str | None]:
    """A state, and the task that it is of, where the file says that.

    Raises:
        GoalError: the file is missing, unreadable or holds no state.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        what = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise GoalError(what, where=path, expected=EXPECTED) from error
    if content.startswith(_PNG):
        picture = GoalPicture.load(path)
        if picture.state is None:
            raise GoalError("is a picture that carries no state", where=path, expected=EXPECTED)
        return picture.state, picture.task
    try:
        state = json.loads(content)
    except UnicodeDecodeError as error:
        raise GoalError("is neither JSON nor a PNG", where=path, expected=EXPECTED) from error
    except (ValueError, RecursionError) as error:
        raise GoalError(f"is not JSON ({error})", where=path, expected=EXPECTED) from error
    if not isinstance(state, dict):
        raise GoalError(f"holds {_KINDS.get(type(state), 'a number')}", where=path, expected=EXPECTED)
    task = state.get("task")
    if task is not None and not isinstance(task, str):
        raise GoalError("has a task that is no name", where=path, expected=EXPECTED)
    return state, task


_KINDS = {list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}


@contextlib.contextmanager
def saving_state(state: dict[str, Any], path: str | os.PathLike[str]) -> Iterator[None]:
    """Write a state as `read_state` reads it, which is there once the block succeeds.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(state) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        yield


def factors_of(state: dict[str, Any]) -> tuple[str, ...]:
    """The factors of appearance that a state has values for: a task has to vary them to show it."""
    appearance = state.get("appearance")
    return tuple(appearance) if isinstance(appearance, dict) else ()


def require_reachable(task: Task, state: dict[str, Any], where: str) -> tuple[str, ...]:
    """Check that a state is one of the task, with its proprioception inside the bounds that actions keep to.

    Returns:
        What else speaks against it as a goal, a line each; tasks of one's own need not know any of it.

    Raises:
        GoalError: it is not, or bodies are inside each other.
    """
    task.check_state(state, where)
    try:
        proprioception = task.proprioception(state)
    except (ValueError, TypeError) as error:
        raise GoalError(f"has an appearance that task {task.name} cannot have ({error})", where=where) from error
    for dim, value in zip(task.contract.states, proprioception.tolist(), strict=True):
        room = _OVERSHOOT * (dim.high - dim.low)
        if not dim.low - room <= value <= dim.high + room:
            raise GoalError(
                f"is a state that cannot be reached: {dim.name} is {value:.4g} {dim.unit}",
                where=where,
                expected=f"{dim.low:g} to {dim.high:g}",
            )
    if not hasattr(task.env, "goal_doubts"):
        return ()
    try:
        doubts: tuple[str, ...] = task.env.goal_doubts(state)
    except ValueError as error:
        raise GoalError(f"is a state that cannot be: {error}", where=where, mend="draw it again") from error
    return doubts
