"""``jepa-robot tasks``: which tasks there are, and what one of them is."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from jepa_robot.cli.options import json_option
from jepa_robot.cli.report import dims, pairs, section, table
from jepa_robot.spec import Dim

if TYPE_CHECKING:
    from jepa_envs.task_options import TaskOption


@click.command("tasks")
@click.argument("task", required=False)
@json_option
def command(task: str | None, as_json: bool) -> None:
    """List the tasks, or describe TASK: what is to be done, cameras, actions, states, options of its own."""
    if task is None:
        listed = _all()
        click.echo(json.dumps(listed) if as_json else "\n".join(_list(listed)))
    else:
        facts = _describe(task)
        click.echo(json.dumps(facts) if as_json else "\n".join(_lines(facts)))


def _all() -> list[dict[str, str]]:
    """Name and Gymnasium id of every task, and the extra that brings it where one does; imports no simulator."""
    import jepa_envs
    from jepa_envs.adapter_names import NAMES

    extras = {name.short_name: name.extra for name in NAMES}
    ids = jepa_envs.TASKS | jepa_envs.ADAPTED_TASKS
    return [{"task": name, "id": gymnasium_id, "extra": extras.get(name, "")} for name, gymnasium_id in ids.items()]


def _list(listed: list[dict[str, str]]) -> Iterator[str]:
    yield from table([("task", "Gymnasium id", "extra"), *(tuple(facts.values()) for facts in listed)])
    yield ""
    yield "jepa-robot tasks TASK describes one of them"


def _describe(name: str) -> dict[str, Any]:
    import jepa_envs
    from gymnasium.envs.registration import load_env_creator

    from jepa_envs.task_options import own_options

    from jepa_robot.evaluation.tasks import Task

    with Task(name) as task:
        spec = jepa_envs.task_spec(name)
        return {
            "task": task.name,
            "id": spec.id,
            "text": inspect.getdoc(load_env_creator(spec.entry_point)) or "",
            "max_steps": spec.max_episode_steps,
            "fps": task.contract.fps,
            "image_size": task.contract.camera.height,
            "cameras": list(task.env.cameras),
            "demonstrators": list(task.env.demonstrator_kinds()),
            "actions": [dataclasses.asdict(dim) for dim in task.contract.actions],
            "states": [dataclasses.asdict(dim) for dim in task.contract.states],
            "options": [_option(option) for option in own_options(spec)],
        }


def _option(option: TaskOption) -> dict[str, Any]:
    """As plain data; a default that JSON does not know is what Python prints of it."""
    plain = option.default is None or isinstance(option.default, (bool, int, float, str))
    return {
        "name": option.name,
        "required": option.required,
        "default": option.default if plain else repr(option.default),
        "values": option.values,
        "expected": option.expected,
    }


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield facts["text"].partition("\n\nArgs:")[0].partition("\n\nRaises:")[0].replace("`", "")
    yield ""
    named = {
        "task": facts["task"],
        "Gymnasium id": facts["id"],
        "rate": f"{facts['fps']:g} actions/s",
        "cameras": f"{', '.join(facts['cameras'])}; {facts['image_size']}x{facts['image_size']} unless asked for others",
        "demonstrators": facts["demonstrators"],
    }
    yield from pairs(named)
    for kind in ("actions", "states"):
        yield from section(kind, dims(Dim(**dim) for dim in facts[kind]))
    if facts["options"]:
        from jepa_envs.task_options import as_text

        defaults = {o["name"]: "-" if o["required"] else as_text(o["default"]) for o in facts["options"]}
        rows = [("name", "default", "value"), *((o["name"], defaults[o["name"]], o["expected"]) for o in facts["options"])]
        yield from section("options, as --task-option NAME=VALUE", table(rows))
