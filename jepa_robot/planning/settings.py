"""What can be set about planning. The values are in ``configs/planner``; here are their names and types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jepa_robot.errors import ConfigError
from jepa_robot.files import configs_folder


@dataclass(frozen=True)
class NormSettings:
    """See `jepa_robot.planning.actions.NormLimit`; ``dims`` are names, none for no limit."""

    dims: list[str]
    order: int
    radius: float


@dataclass(frozen=True)
class ActionSettings:
    """See `jepa_robot.planning.actions.ActionSpace`; dimensions are given by their names."""

    hold: int
    fixed: dict[str, Any]
    levels: dict[str, Any]
    norm: NormSettings


@dataclass(frozen=True)
class EnergySettings:
    """See `jepa_robot.planning.energy`; ``action_cost`` is the weight of `ActionCost`, in the metric space alone,
    whose unit is the model's own error.

    ``space`` is where distances are measured, see `jepa_robot.planning.engine.Engine`.
    """

    space: str
    distance: str
    steps: str
    discount: float
    state: float
    action_cost: float
    smoothness: float
    novelty: float
    functions: list[str]


@dataclass(frozen=True)
class ConstraintSettings:
    """See `jepa_robot.planning.constraints`; ``low`` and ``high`` are limits of states by their names."""

    low: dict[str, Any]
    high: dict[str, Any]
    functions: list[str]
    mode: str
    weight: float


@dataclass(frozen=True)
class ArrivalSettings:
    """See `jepa_robot.planning.arrival.ArrivalRule`."""

    patience: int
    min_improvement: float
    slack: float
    tolerance: float | None


@dataclass(frozen=True)
class PlannerSettings:
    """See `jepa_robot.planning.planner.Planner`, `jepa_robot.planning.engine.Engine` and
    `jepa_robot.planning.search.Search`.

    ``optimizer`` has the ``name`` of one of `jepa_robot.planning.build.OPTIMIZERS`, its ``iterations``, and what its
    constructor takes.
    """

    optimizer: dict[str, Any]
    horizon: int
    execute: int
    context_frames: int
    camera_pose: list[Any]
    max_novelty: float | None
    dtype: str
    compile: bool
    cuda_graphs: bool
    chunk: int
    stop_spread: float
    deadline_ms: float
    extend: bool
    actions: ActionSettings
    energy: EnergySettings
    constraints: ConstraintSettings
    arrival: ArrivalSettings

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PlannerSettings:
        """From plain data, e.g. the ``planner`` group of a configuration.

        Raises:
            ConfigError: a missing or unknown name, or a value of the wrong type.
        """
        return _read(cls, values, "planner")


def default_settings(optimizer: str | None = None) -> PlannerSettings:
    """The shipped settings, with another optimizer of ``configs/planner/optimizer`` where one is named.

    Raises:
        ConfigError: there is none of that name.
    """
    import yaml

    folder = configs_folder() / "planner"
    values = yaml.safe_load((folder / "default.yaml").read_text())
    (chosen,) = [entry["optimizer"] for entry in values.pop("defaults") if isinstance(entry, dict)]
    path = folder / "optimizer" / f"{optimizer or chosen}.yaml"
    if not path.exists():
        known = sorted(other.stem for other in path.parent.glob("*.yaml"))
        expected = f"one of {', '.join(known)}"
        raise ConfigError(f"there is no optimizer {optimizer!r}", where="planner", expected=expected)
    return PlannerSettings.from_dict({**values, "optimizer": yaml.safe_load(path.read_text())})


def _read(cls: type[Any], values: Any, where: str) -> Any:
    names = [f.name for f in dataclasses.fields(cls)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"is {values!r}", where=where, expected=f"a mapping with {', '.join(names)}")
    for wrong, what in ((set(values) - set(names), "unknown"), (set(names) - set(values), "missing")):
        if wrong:
            raise ConfigError(f"{what} setting {', '.join(sorted(map(str, wrong)))}", where=where, expected=names)
    types_ = typing.get_type_hints(cls)
    return cls(**{name: read_value(types_[name], values[name], f"{where}.{name}") for name in names})


def read_value(expected: Any, value: Any, where: str) -> Any:
    """The value, if it is of the expected type: a dataclass, a plain type, a list or a dictionary, or a union.

    Raises:
        ConfigError: it is not.
    """
    if dataclasses.is_dataclass(expected):
        return _read(typing.cast(type, expected), value, where)
    choices = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    allowed = tuple(typing.get_origin(choice) or choice for choice in choices)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise ConfigError(f"is {value!r}", where=where, expected=" or ".join(t.__name__ for t in allowed))
    return value
