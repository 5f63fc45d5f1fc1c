"""Options that several verbs have."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jepa_robot.errors import ConfigError

Option = bool | int | float | str | None
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# What torch and NumPy both take.
SEED = click.IntRange(min=0, max=2**63 - 1)
# Actions in an episode.
STEPS = click.IntRange(1, 100_000)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else."
)
checkpoint_option = click.option(
    "--checkpoint", help="A .safetensors file or a shipped name.  [default: the task's shipped one]"
)


def _together(*options: Decorator) -> Decorator:
    """Options in the order of help as one decorator."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _parse_options(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, Option]:
    """``("gear=2", "action=relative")`` as options by name.

    Raises:
        ConfigError: one is not of that form, or is there twice.
    """
    return {name: _plain(value) for name, value in _named(parameter, texts, "NAME=VALUE")}


def parse_numbers(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    """``("x=0.4", "z=0.2")`` as numbers by name.

    Raises:
        ConfigError: one is not of that form, or is there twice.
    """
    numbers: dict[str, float] = {}
    form = "NAME=NUMBER"
    for name, value in _named(parameter, texts, form):
        try:
            numbers[name] = float(value)
        except ValueError:
            numbers[name] = math.nan
        if not math.isfinite(numbers[name]):
            raise _not_of_form(parameter, f"{name}={value}", form)
    return numbers


def _named(parameter: click.Parameter, texts: tuple[str, ...], form: str) -> list[tuple[str, str]]:
    """Names and values of ``NAME=VALUE``.

    Raises:
        ConfigError: one is not of that form, or is there twice.
    """
    named: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in named:
            raise _not_of_form(parameter, text, form)
        named[name] = value
    return list(named.items())


def _not_of_form(parameter: click.Parameter, text: str, form: str) -> ConfigError:
    return ConfigError(f"is {text!r}", where=parameter.opts[0], expected=f"{form}, each name once")


def _plain(text: str) -> Option:
    """true, false, null or a number, as in JSON; any other text is itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, Option) else text


def _parse_variation(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """``"light,camera"`` or ``"all"`` as factors; none where the option is not given.

    Raises:
        ConfigError: a factor is unknown, or there is none.
    """
    if text is None:
        return ()
    from jepa_envs.variation import KINDS, parse

    try:
        factors = parse(text)
    except ValueError as error:
        raise ConfigError(str(error), where="--variation") from error
    if not factors:
        raise ConfigError("names no factor", where="--variation", expected=f"all, or some of {','.join(KINDS)}")
    return factors


def scene_options(camera_help: str = "One of the task's cameras; its first unless given.") -> Decorator:
    """How a task is made: ``camera``, ``task_options`` by name, and ``variation``, a tuple of factors."""
    return _together(
        click.option("--camera", help=camera_help),
        click.option(
            "--task-option",
            "task_options",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_parse_options,
            help="Option of the task's own, which `jepa-robot tasks TASK` lists; can be repeated.",
        ),
        click.option(
            "--variation",
            metavar="all|FACTOR,...",
            callback=_parse_variation,
            help="Draw the scene's look for each episode: all, or some of light,colour,camera,distractors.",
        ),
    )


subgoal_options = _together(
    click.option(
        "--subgoals", type=click.IntRange(0, 100), default=0, show_default=True,
        help="Pictures of the task's expert on its way, to be gone to one after another before the goal's.",
    ),
    click.option(
        "--goal-steps", type=click.IntRange(min=0), default=0, show_default=True,
        help="Actions after which to go on to the next picture, arrived or not; 0: not before arrival.",
    ),
)
"""What is shown of the way: ``subgoals`` and ``goal_steps``, see `require_subgoals`."""


def require_subgoals(subgoals: int, goal_steps: int) -> None:
    """
    Raises:
        ConfigError: there are steps for sub-goals, and no sub-goals.
    """
    if goal_steps and not subgoals:
        raise ConfigError(f"is {goal_steps}, and there are no sub-goals", where="--goal-steps", mend="add --subgoals N")


planning_options = _together(
    click.option("--task", help="Task to plan in, or MODULE:ID of one of yours.  [default: panda_reach]"),
    scene_options(),
    checkpoint_option,
    click.option("--max-steps", type=STEPS, help="Actions before an episode ends.  [default: the task's]"),
    click.option(
        "--planner", type=click.Path(path_type=Path),
        help="YAML file with settings of the planner, such as `tune planner` writes; KEY=VALUE goes before it.",
    ),
    click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]..."),
)
"""In a task: ``task``, those of `scene_options`, ``checkpoint``, ``max_steps``, ``planner`` and ``overrides``."""
