"""The options that say how a source of recorded trajectories is read: the same for every verb."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from jepa_robot.data.source import SourceOptions
from jepa_robot.errors import ConfigError
from jepa_robot.spec import Contract

_OPTIONS = (
    click.argument("source", type=click.Path(path_type=Path)),
    click.option("--format", help="Format of SOURCE; found by looking unless given."),
    click.option("--camera", help="Picture stream, as SOURCE calls it."),
    click.option("--state", multiple=True, help="Array of the proprioceptive state; several are put together."),
    click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Frames a second, where SOURCE is silent."),
    click.option("--image-size", type=click.IntRange(min=8), help="Cut to the middle square, scaled to these pixels."),
    click.option("--task", help="What the contract calls the task."),
    click.option(
        "--contract",
        type=click.Path(path_type=Path),
        help="JSON or YAML file: names, units, frames and bounds of everything; `data info --json` prints one to edit.",
    ),
)


def source_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the argument SOURCE and these options, as ``path``, ``format`` and ``options``."""

    @functools.wraps(verb)
    def with_source(
        source: Path,
        format: str | None,
        camera: str | None,
        state: tuple[str, ...],
        fps: float | None,
        image_size: int | None,
        task: str | None,
        contract: Path | None,
        **others: Any,
    ) -> Any:
        given = None if contract is None else read_contract(contract)
        options = SourceOptions(camera, state or None, fps, image_size, task, given)
        return verb(path=source, format=format, options=options, **others)

    for option in reversed(_OPTIONS):
        with_source = option(with_source)
    return with_source


def read_contract(path: Path) -> Contract:
    """A contract from a JSON or YAML file: on its own, or as ``contract`` of what `data info --json` prints.

    Raises:
        ConfigError: the file cannot be read, or is neither JSON nor YAML.
        ContractError: it is not a contract.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=path, expected="a contract as JSON or YAML") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        language = "YAML" if path.suffix in (".yaml", ".yml") else "JSON"
        raise ConfigError(f"is not {language} ({error})", where=path, expected="a contract") from error
    if isinstance(data, dict) and isinstance(data.get("contract"), dict):
        data = data["contract"]
    return Contract.from_dict(data, path)
