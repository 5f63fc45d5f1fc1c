"""Options that several verbs have."""

from __future__ import annotations

import json

import click

from jepa_robot.errors import ConfigError

Option = bool | int | float | str | None

# What torch and NumPy both take.
SEED = click.IntRange(min=0, max=2**63 - 1)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else."
)
checkpoint_option = click.option(
    "--checkpoint", help="A .safetensors file or a shipped name.  [default: the task's shipped one]"
)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
camera_option = click.option("--camera", help="One of the task's cameras; its first unless given.")


def _parse_options(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, Option]:
    """``("rotation=true", "action=relative")`` as options by name.

    Raises:
        ConfigError: one is not of that form, or is there twice.
    """
    options: dict[str, Option] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or name in options:
            raise ConfigError(f"{text!r} is no option", where="--task-option", expected="NAME=VALUE, each name once")
        options[name] = _plain(value)
    return options


def _plain(text: str) -> Option:
    """true, false, null or a number, as in JSON; any other text is itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, Option) else text


task_options = click.option(
    "--task-option",
    "task_options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_options,
    help="Option of the task's own, e.g. rotation=true of the tasks with an object; can be repeated.",
)
