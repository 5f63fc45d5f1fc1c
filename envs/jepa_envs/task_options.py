"""Options of a task's own: the arguments of what makes it that not every task has."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any

from gymnasium.envs.registration import EnvSpec, load_env_creator

COMMON = ("render_mode", "image_size", "camera", "variation")
"""What every task may be asked for."""

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", NoneType: "null"}
_OPEN = inspect.Parameter.empty


@dataclass(frozen=True)
class TaskOption:
    """An option.

    Attributes:
        required: it has no default.
        default: its value where it is not given.
        values: all that it may be; None where that is not said.
        expected: in words, what it may be.
        kinds: types of which one is its value's; none where any may be.
    """

    name: str
    required: bool
    default: Any
    values: tuple[Any, ...] | None
    expected: str
    kinds: tuple[type, ...] = ()

    def fits(self, value: Any) -> bool:
        """Whether it may have a value."""
        if self.values is not None:
            return any(value == known and type(value) is type(known) for known in self.values)
        return not self.kinds or type(value) in self.kinds or (type(value) is int and float in self.kinds)


def arguments(spec: EnvSpec) -> dict[str, inspect.Parameter]:
    """Of what makes a task's environment, by name; annotations are types where they can be found."""
    maker = spec.entry_point if callable(spec.entry_point) else load_env_creator(spec.entry_point)
    try:
        return dict(inspect.signature(maker, eval_str=True).parameters)
    except (NameError, AttributeError, TypeError, SyntaxError):  # of somebody else's code, for type checkers alone
        return dict(inspect.signature(maker).parameters)


def takes(known: Mapping[str, inspect.Parameter], name: str) -> bool:
    """Whether one of these arguments has a name, or takes any."""
    return name in known or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())


def own_options(spec: EnvSpec) -> tuple[TaskOption, ...]:
    """Those options that a task's registration leaves open."""
    open_ = {name: p for name, p in arguments(spec).items() if name not in COMMON and name not in spec.kwargs}
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return tuple(_option(name, p) for name, p in open_.items() if p.kind not in variadic)


def check_options(spec: EnvSpec, options: Mapping[str, Any]) -> None:
    """Check options before anything is built.

    Raises:
        ValueError: one is unknown, missing, or has a value that it cannot have; says what is possible.
    """
    known = {option.name: option for option in own_options(spec)}
    for name, value in options.items():
        if name not in known and (name in COMMON or name in spec.kwargs or not takes(arguments(spec), name)):
            expected = f"one of {', '.join(known)}" if known else "none"
            raise ValueError(f"there is no option {name!r}, expected {expected}")
        if name in known and not known[name].fits(value):
            raise ValueError(f"option {name} is {value!r}, expected {known[name].expected}")
    for option in known.values():
        if option.required and option.name not in options:
            raise ValueError(f"option {option.name} is missing, expected {option.expected}")


def _option(name: str, parameter: inspect.Parameter) -> TaskOption:
    required = parameter.default is _OPEN
    default = None if required else parameter.default
    parts = _parts(parameter.annotation)
    literals = [value for part in parts if typing.get_origin(part) is typing.Literal for value in typing.get_args(part)]
    if literals:
        values = (*literals, *([None] if NoneType in parts else []))
        return TaskOption(name, required, default, values, f"one of {', '.join(map(as_text, values))}")
    kinds = parts if parts and all(part in _WORDS for part in parts) else (type(default),)
    if kinds == (NoneType,) or kinds[0] not in _WORDS:
        return TaskOption(name, required, default, None, "any value")
    return TaskOption(name, required, default, None, " or ".join(_WORDS[kind] for kind in kinds), kinds)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type; none where there is no annotation, or one that is not a type."""
    if annotation is _OPEN or isinstance(annotation, str):
        return ()
    is_union = isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union
    return typing.get_args(annotation) if is_union else (annotation,)


def as_text(value: Any) -> str:
    """A value as it is given on a command line."""
    return value if isinstance(value, str) else json.dumps(value, default=repr)
