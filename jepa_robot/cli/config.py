"""Compose a verb's configuration from ``configs/`` and the overrides on its command line.

The tree under ``configs/`` holds the one copy of every default, and so says which keys exist and what type each
has: an override may replace a value by one of the same type, or choose another member of a group
(``planner/optimizer=icem``), and nothing else. Only a section that is empty there (``options: {}``) takes any key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jepa_robot.cli.ranges import check_ranges
from jepa_robot.errors import ConfigError
from jepa_robot.files import configs_folder

_ANY = "NAME"  # stands for any key of a section


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration ``configs/<name>.yaml`` with overrides such as ``seed=3`` applied.

    Returns:
        A resolved, read-only configuration; unknown keys raise on access.

    Raises:
        ConfigError: an override cannot be parsed, names an unknown key or group member, or has a value of the
            wrong type or an impossible one; or a required key has no value.
    """
    root = configs_folder()
    parsed = [_parse(text) for text in overrides]
    groups, values = [], []
    for override in parsed:
        is_group = (root / override.key_or_group).is_dir()
        if is_group:
            _check_member(override, root / override.key_or_group)
        (groups if is_group else values).append(override)

    defaults = _compose(root, name, groups)
    for override in values:
        _check_key(override, _keys(defaults))
    config = _compose(root, name, [_added(o) if _is_open(_keys(defaults), o.key_or_group) else o for o in parsed])
    last = {override.key_or_group: override for override in values}  # of several for one key the last one holds
    for key, override in last.items():
        value = _typed(override, OmegaConf.select(config, key), _default(defaults, key))
        OmegaConf.update(config, key, value, force_add=False)

    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{', '.join(missing)} not given", mend=f"add {' '.join(f'{key}=...' for key in missing)}")
    check_ranges(config)
    OmegaConf.set_readonly(config, True)
    return config


def _parse(text: str) -> Override:
    try:
        override = _parse_override(text)
    except HydraException as error:
        quoting = """put quotes around a value with special characters, e.g. "data='my file.h5'\""""
        raise ConfigError("cannot be parsed", where=_named(text), expected="KEY=VALUE", mend=quoting) from error
    if not override.key_or_group or override.package is not None:
        raise ConfigError("names no key", where=_named(text), expected="KEY=VALUE")
    if override.is_delete() or override.is_add() or override.is_force_add():
        raise ConfigError(
            "adds or removes a key", where=_named(text), expected="KEY=VALUE, a new value for a key that exists"
        )
    if override.is_sweep_override():
        raise ConfigError("has several values", where=_named(text), expected="one value, or a list [a,b]")
    if override.value() == MISSING:
        raise ConfigError("is a mark for what is missing", where=_named(text), expected="KEY=VALUE")
    return override


def _parse_override(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def _compose(root: Path, name: str, overrides: Iterable[Override]) -> DictConfig:
    lines = [override.input_line for override in overrides]
    try:
        with initialize_config_dir(str(root), version_base="1.3"):
            config = hydra_compose(name, lines)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(str(error), where=f"{root / name}.yaml {' '.join(lines)}") from error
    return config


def _check_member(override: Override, group: Path) -> None:
    known = sorted(path.stem for path in group.glob("*.yaml"))
    value = override.value()
    if value not in known:
        raise ConfigError(
            f"there is no {override.key_or_group} {value!r}",
            where=_named(override.input_line),
            expected=_one_of(known, str(value)),
        )


def _is_open(known: list[str], key: str) -> bool:
    """Whether a key is one of a section that takes any."""
    return f"{key.rpartition('.')[0]}.{_ANY}" in known


def _added(override: Override) -> Override:
    """The override as Hydra wants it for a key that is not there yet."""
    return _parse_override(f"++{override.input_line}")


def _check_key(override: Override, known: list[str]) -> None:
    key = override.key_or_group
    if key in known or _is_open(known, key):
        return
    if any(other.startswith(f"{key}.") for other in known):
        inside = [other for other in known if other.startswith(f"{key}.")]
        raise ConfigError(
            "replaces a whole section", where=_named(override.input_line), expected=f"its keys: {', '.join(inside)}"
        )
    raise ConfigError("there is no such key", where=_named(override.input_line), expected=_one_of(known, key))


def _typed(override: Override, value: Any, default: Any) -> Any:
    """The value in the type of its default; a default of null says nothing about the type."""
    if default is None:
        return value
    kind = "list" if OmegaConf.is_list(default) else type(default).__name__
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "bool" if isinstance(value, bool):
            return value
        case "int" if number and math.isfinite(value) and value == int(value):
            return int(value)
        case "float" if number and not math.isnan(value):
            return float(value)
        case "str" if default == MISSING and OmegaConf.is_list(value):  # one path, or several
            return [str(item) for item in value]
        case "str" if value is not None and not OmegaConf.is_config(value):
            return str(value)
        case "list" if OmegaConf.is_list(value):
            return value
    names = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a string", "list": "a list"}
    instead = "" if default == MISSING else f" (the default is {default})"
    raise ConfigError("wrong type of value", where=_named(override.input_line), expected=f"{names[kind]}{instead}")


def _default(defaults: DictConfig, key: str) -> Any:
    """The default of a key; ``???`` where the user has to give a value: all of those are paths, so strings."""
    head, _, last = key.rpartition(".")
    parent = OmegaConf.select(defaults, head) if head else defaults
    return MISSING if OmegaConf.is_missing(parent, last) else OmegaConf.select(parent, last)


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Dotted names of all values, ``SECTION.NAME`` for a section that takes any."""
    found = [] if config else [f"{prefix}{_ANY}"]
    for key in config:
        name = f"{prefix}{key}"
        missing = OmegaConf.is_missing(config, key)
        found += _keys(config[key], f"{name}.") if not missing and OmegaConf.is_dict(config[key]) else [name]
    return found


def _one_of(known: list[str], wrong: str) -> str:
    """The close matches, or everything that there is."""
    return " or ".join(get_close_matches(wrong, known)) or f"one of {', '.join(known)}"


def _named(text: str) -> str:
    return f"override {text!r}"
