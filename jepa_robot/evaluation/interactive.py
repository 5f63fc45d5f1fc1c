"""A goal made by hand: a person drives the task in a window, action by action, and says when it is there."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from jepa_robot.errors import TaskError
from jepa_robot.evaluation.tasks import Task
from jepa_robot.spec import Dim

# Of each dimension of an action the key that increases it, and the one that decreases it.
PAIRS = (
    ("right", "left"), ("up", "down"), ("page up", "page down"), ("home", "end"), ("insert", "delete"), ("8", "7"),
    ("9", "6"),
)  # fmt: skip
SAVE, WAIT, UNDO, LARGER, SMALLER = "enter", "space", "backspace", "=", "-"
_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of an action's bound, which a key stands for
_LOOK_SECONDS = 0.05  # between two looks at whether the window is still open


class Viewer(Protocol):
    """A window on a task, see `jepa_envs.viewer.Viewer`."""

    def show(self) -> None: ...

    def is_open(self) -> bool: ...

    def close(self) -> None: ...


OpenViewer = Callable[[Callable[[str], object]], Viewer]
"""Opens a window, which calls what it is given with the name of each key that is pressed."""


def legend(actions: Sequence[Dim]) -> list[str]:
    """A line for each key."""
    rows = [
        (f"{more} / {less}", f"{dim.name}, up to {max(abs(dim.low), abs(dim.high)):g} {dim.unit}")
        for (more, less), dim in zip(PAIRS, actions)
    ]
    rows += [
        (f"{LARGER} / {SMALLER}", "larger, smaller steps"),
        (WAIT, "let one step pass"),
        (UNDO, "take the last step back"),
        (SAVE, "save what is seen as the goal"),
        ("close the window", "cancel"),
    ]
    width = max(len(keys) for keys, _ in rows)
    return [f"{keys.ljust(width)}  {meaning}" for keys, meaning in rows]


def drive(
    task: Task, start: dict[str, Any], tell: Callable[[str], object], open_viewer: OpenViewer | None = None
) -> dict[str, Any] | None:
    """Let a person drive the task from a start by its own actions.

    Args:
        task: the task; afterwards it stands where it was left.
        start: state to begin in.
        tell: called with each line of the legend when the window is open.
        open_viewer: opens the window; MuJoCo's own viewer unless given.

    Returns:
        The state when it was saved; None where the window was closed.

    Raises:
        TaskError: no window can be opened here, there are more dimensions than keys, or actions are no motions.
    """
    dims = task.contract.actions
    if len(dims) > len(PAIRS):
        raise TaskError(
            f"has {len(dims)} dimensions of action",
            where=f"task {task.name}",
            expected=f"at most {len(PAIRS)} to drive by keys",
        )
    for dim in dims:
        if not dim.low < 0 < dim.high:
            raise TaskError(
                f"has actions that are places, not motions: {dim.name} is {dim.low:g} to {dim.high:g} {dim.unit}",
                where=f"task {task.name}",
                mend="choose motions, if the task has them: --task-option action=relative for push_t",
            )
    keys: queue.SimpleQueue[str] = queue.SimpleQueue()
    task.env.reset(options={"state": start, "goal_state": start})
    try:
        viewer = (task.env.open_viewer if open_viewer is None else open_viewer)(keys.put)
    except RuntimeError as error:
        raise TaskError(str(error), where="--interactive") from error
    for line in legend(dims):
        tell(line)
    moves = {key: (d, sign) for d, pair in enumerate(PAIRS[: len(dims)]) for key, sign in zip(pair, (1, -1))}
    before: list[dict[str, Any]] = []
    share = len(_SHARES) - 2
    try:
        while viewer.is_open():
            try:
                key = keys.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if key == SAVE:
                return task.env.state()
            if key in (LARGER, SMALLER):
                share = min(max(share + (1 if key == LARGER else -1), 0), len(_SHARES) - 1)
            elif key == UNDO and before:
                task.env.restore(before.pop())
            elif key == WAIT or key in moves:
                before.append(task.env.state())
                task.env.step(_action(dims, *moves.get(key, (0, 0)), _SHARES[share]))
            viewer.show()
        return None
    finally:
        viewer.close()


def _action(dims: Sequence[Dim], dim: int, sign: int, share: float) -> np.ndarray:
    """float32 [A]: a share of one dimension's bound in one direction, or rest where ``sign`` is 0."""
    action = np.zeros(len(dims), np.float32)
    if sign:
        action[dim] = share * (dims[dim].high if sign > 0 else dims[dim].low)
    return action
