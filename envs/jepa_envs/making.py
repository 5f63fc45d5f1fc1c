"""Making a task's environment, with settings that are checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from jepa_envs.goal_image import GoalImageTask
from jepa_envs.registration import task_spec
from jepa_envs.task_options import arguments, check_options, takes


def make(
    task: str,
    image_size: int | None = None,
    camera: str | None = None,
    variation: str | Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> gym.Env:
    """Make a task's environment.

    Args:
        task: short name or Gymnasium id of a task, or ``MODULE:ID`` (see `jepa_envs.registration.task_spec`).
        image_size: height and width of the pictures in pixels; the task's own where None.
        camera: name of the camera of observations and goal pictures; the task's first where None.
        variation: factors of appearance drawn for each episode: ``"all"``, or some of `jepa_envs.variation.KINDS`.
        options: arguments of the task's own, see `jepa_envs.task_options.own_options`.

    Raises:
        ValueError: the task, the camera, a factor or an option is unknown, and names the known ones; an option has a
            wrong value; its look does not vary; or the environment is no `GoalImageTask`.
        ImportError: it is of another package, which is not installed; names the extra that brings it.
    """
    spec, options = task_spec(task), dict(options or {})
    common = {"image_size": image_size, "camera": camera, "variation": variation or None}
    common = {name: value for name, value in common.items() if value is not None}
    taken = arguments(spec)
    for name in common:
        if not takes(taken, name):
            what = f"the look of {task} does not vary" if name == "variation" else f"{task} takes no {name}"
            raise ValueError(f"{what}; leave {name} out")
    check_options(spec, options)
    env = gym.make(spec, **common, **options)
    _require_protocol(env)
    return env


def _require_protocol(env: gym.Env) -> None:
    missing = [name for name in vars(GoalImageTask) if name[0] != "_" and not hasattr(env.unwrapped, name)]
    if missing:
        env.close()
        raise ValueError(
            f"the environment is no goal-image task, as it lacks {', '.join(missing)}; wrap it in "
            "jepa_envs.adapters.AdaptedTask"
        )
