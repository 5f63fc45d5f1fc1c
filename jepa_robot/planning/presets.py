"""Planner settings in a file of one's own: what differs from the shipped ones, as YAML.

    optimizer: {name: icem, samples: 32}
    horizon: 2

`plan --planner FILE` and `evaluate --planner FILE` take such a file, and `jepa-robot tune planner` writes one. A robot
without Hydra reads it with `load_preset`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import yaml

from jepa_robot.errors import ConfigError
from jepa_robot.planning.settings import PlannerSettings, default_settings

_EXPECTED = "YAML with settings of the planner, such as horizon: 2"


def read_preset(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file says, as plain data.

    Raises:
        ConfigError: it cannot be read, or is no YAML mapping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read ({' '.join(str(error).split())})", where=path, expected=_EXPECTED) from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"is {type(values).__name__}", where=path, expected=_EXPECTED)
    return dict(values)


def load_preset(path: str | os.PathLike[str]) -> PlannerSettings:
    """The shipped settings with those of the file in their place.

    Raises:
        ConfigError: it cannot be read, or has a setting that there is not, or one of the wrong type.
    """
    return changed(default_settings(), read_preset(path))


def changed(settings: PlannerSettings, values: Mapping[str, Any]) -> PlannerSettings:
    """The settings with others in their place; another optimizer comes with its own shipped settings.

    Raises:
        ConfigError: a setting that there is not, or one of the wrong type.
    """
    base = dataclasses.asdict(settings)
    chosen = values.get("optimizer")
    if isinstance(chosen, Mapping) and chosen.get("name", base["optimizer"]["name"]) != base["optimizer"]["name"]:
        base["optimizer"] = default_settings(str(chosen["name"])).optimizer
        values = {**values, "optimizer": {**chosen, "name": base["optimizer"]["name"]}}  # vjepa2_ac is a cem
    return PlannerSettings.from_dict(_merged(base, values))


def differing(settings: PlannerSettings) -> dict[str, Any]:
    """What a file of these settings has to say: all in which they differ from the shipped ones, as plain data."""
    name = settings.optimizer["name"]
    values = dataclasses.asdict(settings)
    found = _differences(values, dataclasses.asdict(default_settings(name)))
    if "optimizer" in found or name != default_settings().optimizer["name"]:
        found["optimizer"] = {"name": name, **found.get("optimizer", {})}
    return found


def _differences(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        other = others.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            if inner := _differences(value, other):
                found[key] = inner
        elif value != other:
            found[key] = value
    return found


def overrides(values: Mapping[str, Any], prefix: str = "planner") -> list[str]:
    """The settings as overrides of a configuration, ``planner.horizon=2``, the choice of an optimizer first."""
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            if (prefix, key) == ("planner", "optimizer") and "name" in value:
                found.append(f"planner/optimizer={value['name']}")
                value = {k: v for k, v in value.items() if k != "name"}
            found += overrides(value, f"{prefix}.{key}")
        else:
            found.append(f"{prefix}.{key}={_text(value)}")
    return sorted(found, key=lambda text: not text.startswith("planner/"))


def _text(value: Any) -> str:
    """A value as an override has it."""
    if isinstance(value, list):
        return f"[{','.join(_text(item) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
