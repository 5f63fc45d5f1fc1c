"""Which checkpoint a verb takes."""

from __future__ import annotations

from jepa_robot.errors import CheckpointError, ConfigError
from jepa_robot.evaluation.tasks import registered
from jepa_robot.models.checkpoint import resolve


def checkpoint_for(task: str, given: str | None) -> str:
    """The checkpoint as given, else the task's name, which is that of its shipped one.

    Raises:
        CheckpointError: none is given, and the task has no shipped one.
        ConfigError: the name that is given is empty.
        TaskError: none is given, and the task is unknown.
    """
    if given is None:
        try:
            resolve(task)
        except CheckpointError as error:
            registered(task)
            mend = "name one of yours: --checkpoint FILE.safetensors"
            raise CheckpointError("has no shipped checkpoint", where=f"task {task}", mend=mend) from error
        return task
    if not given:
        raise ConfigError("is empty", where="--checkpoint", expected="a .safetensors file or a shipped name")
    return given
