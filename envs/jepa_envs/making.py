"""Making a task's environment, with settings that are checked before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from jepa_envs.goal_image import GoalImageTask
from jepa_envs.registration import task_spec

_COMMON = ("render_mode", "image_size", "camera", "variation")


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
        options: arguments of the task's own, such as ``rotation``.

    Raises:
        ValueError: the task, the camera, a factor or an option is unknown, and names the known ones; an option has a
            wrong value; its look does not vary; or the environment is no `GoalImageTask`.
        ImportError: it is of another package, which is not installed; names the extra that brings it.
    """
    spec, options = task_spec(task), dict(options or {})
    common = {"image_size": image_size, "camera": camera, "variation": variation or None}
    common = {name: value for name, value in common.items() if value is not None}
    arguments = _arguments(spec)
    for name in common:
        if not _takes(arguments, name):
            what = f"the look of {task} does not vary" if name == "variation" else f"{task} takes no {name}"
            raise ValueError(f"{what}; leave {name} out")
    _check_options(_own_options(spec, arguments), options)
    env = gym.make(spec, **common, **options)
    _require_protocol(env)
    return env


def _arguments(spec: EnvSpec) -> dict[str, inspect.Parameter]:
    """Of what makes the environment, by name."""
    maker = spec.entry_point if callable(spec.entry_point) else load_env_creator(spec.entry_point)
    return dict(inspect.signature(maker).parameters)


def _takes(arguments: Mapping[str, inspect.Parameter], name: str) -> bool:
    return name in arguments or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in arguments.values())


def _own_options(spec: EnvSpec, arguments: dict[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    """Arguments that not every task has, and that are left open by its registration."""
    return {name: p for name, p in arguments.items() if name not in _COMMON and name not in spec.kwargs}


def _check_options(known: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    named = [name for name, p in known.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    for name, value in options.items():
        if name in _COMMON or not _takes(known, name):
            expected = f"one of {', '.join(named)}" if named else "none"
            raise ValueError(f"there is no option {name!r}, expected {expected}")
        if name in named and not _fits(value, known[name].default):
            kinds = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
            raise ValueError(f"option {name} is {value!r}, expected {kinds[type(known[name].default)]}")


def _fits(value: Any, default: Any) -> bool:
    """Whether a value has the type of an option's default; what has none, or another one, is for the task to check."""
    match default:
        case bool() | str():
            return isinstance(value, type(default))
        case int():
            return isinstance(value, int) and not isinstance(value, bool)
        case float():
            return isinstance(value, (int, float)) and not isinstance(value, bool)
    return True


def _require_protocol(env: gym.Env) -> None:
    missing = [name for name in vars(GoalImageTask) if name[0] != "_" and not hasattr(env.unwrapped, name)]
    if missing:
        env.close()
        raise ValueError(
            f"the environment is no goal-image task, as it lacks {', '.join(missing)}; wrap it in "
            "jepa_envs.adapters.AdaptedTask"
        )
