"""The tasks that are known by a name, registered with Gymnasium, and those that users register."""

from __future__ import annotations

import importlib

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from jepa_envs.adapter_names import NAMES

TASKS: dict[str, str] = {}
"""Short name of a task of this package -> Gymnasium id."""

ADAPTED_TASKS: dict[str, str] = {}
"""Short name of a task of another package, which an extra brings -> Gymnasium id."""


def _register(short_name: str, entry_point: str, max_episode_steps: int) -> None:
    """Register ``jepa_robot/NAME-v0``, NAME being the entry point's class without ``Env``."""
    TASKS[short_name] = f"jepa_robot/{entry_point.partition(':')[2].removesuffix('Env')}-v0"
    gym.register(id=TASKS[short_name], entry_point=entry_point, max_episode_steps=max_episode_steps)


def _register_with_object(task: str, other: str) -> None:
    """Register a registered task again with its other object, as ``TASK_OBJECT`` and ``jepa_robot/TaskObject-v0``."""
    spec = gym.spec(TASKS[task])
    TASKS[f"{task}_{other}"] = f"jepa_robot/{spec.name}{other.title()}-v0"
    gym.register(
        id=TASKS[f"{task}_{other}"],
        entry_point=spec.entry_point,
        max_episode_steps=spec.max_episode_steps,
        kwargs={"object": other},
    )


_register("panda_reach", "jepa_envs.panda_reach:PandaReachEnv", 50)
_register("panda_grasp", "jepa_envs.panda_grasp:PandaGraspEnv", 50)
_register("panda_reach_with_object", "jepa_envs.panda_reach_with_object:PandaReachWithObjectEnv", 50)
_register("panda_pick_place", "jepa_envs.panda_pick_place:PandaPickPlaceEnv", 80)
_register("panda_push", "jepa_envs.panda_push:PandaPushEnv", 80)
_register_with_object("panda_grasp", "box")
_register_with_object("panda_reach_with_object", "box")
_register_with_object("panda_pick_place", "box")
_register_with_object("panda_push", "cup")
_register("push_t", "jepa_envs.push_t:PushTEnv", 300)
_register("two_rooms", "jepa_envs.two_rooms:TwoRoomsEnv", 100)
for _name in NAMES:
    ADAPTED_TASKS[_name.short_name] = f"jepa_robot/{_name.gymnasium_name}-v0"
    gym.register(
        id=ADAPTED_TASKS[_name.short_name],
        entry_point=_name.entry_point,
        max_episode_steps=_name.max_episode_steps,
        kwargs=_name.kwargs,
    )


def known_tasks() -> str:
    """What can be given as a task, in a line; Metaworld's fifty by an example."""
    few = [name for name in ADAPTED_TASKS if not name.startswith("metaworld_")]
    others = ["metaworld_reach and the others of Metaworld", "MODULE:ID for one that a module of yours registers"]
    return ", ".join([*TASKS, *few, *others])


def task_spec(task: str) -> EnvSpec:
    """What Gymnasium knows of a task.

    Args:
        task: short name, or Gymnasium's id; after ``MODULE:`` where a module has to be imported first, which registers
            it (``my_tasks:my/Reacher-v0``).

    Raises:
        ValueError: the task is unknown, and names the known ones; or the module cannot be imported, or does not
            register the id.
    """
    module, colon, name = task.rpartition(":")
    if not colon:
        spec = gym.registry.get({**TASKS, **ADAPTED_TASKS}.get(task, task))
        if spec is None:
            raise ValueError(f"there is no task {task!r}; expected one of {known_tasks()}")
        return spec
    _import(module)
    spec = gym.registry.get(name)
    if spec is None:
        own = [spec.id for spec in gym.registry.values() if _module_of(spec) == module]
        expected = " or ".join(own) or f"gymnasium.register(id={name!r}, ...) in it"
        raise ValueError(f"module {module!r} registers no {name!r} with Gymnasium, expected {expected}")
    return spec


def task_id(task: str) -> str:
    """The Gymnasium id of a task, which `gymnasium.make` takes; with its ``MODULE:`` where it has one.

    Raises:
        ValueError: as `task_spec`.
    """
    spec = task_spec(task)
    return task if ":" in task else spec.id


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not error.name or not f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"module {module!r} cannot be imported ({error})") from error
        raise ValueError(
            f"there is no module {module!r}, expected one in the current folder, installed, or on PYTHONPATH"
        ) from error
    except Exception as error:  # it is somebody else's code
        raise ValueError(f"module {module!r} cannot be imported ({type(error).__name__}: {error})") from error


def _module_of(spec: EnvSpec) -> str:
    """The module of what makes a task."""
    point = spec.entry_point
    return point.partition(":")[0] if isinstance(point, str) else getattr(point, "__module__", "")
