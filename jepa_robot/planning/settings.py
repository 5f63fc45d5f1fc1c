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
class EnergySettings:
    """See `jepa_robot.planning.energy.LatentDistance`; ``action_cost`` is the weight of `ActionCost`, in the
    metric space alone, whose unit is the model's own error.

    ``space`` is where distances are measured, see `jepa_robot.planning.planner.Planner`.
    """

    space: str
    distance: str
    steps: str
    action_cost: float


@dataclass(frozen=True)
class ArrivalSettings:
    """See `jepa_robot.planning.arrival.ArrivalRule`."""

    patience: int
    min_improvement: float
    slack: float
    tolerance: float | None


@dataclass(frozen=True)
class PlannerSettings:
    """See `jepa_robot.planning.optimizers.cem.CEM` and `jepa_robot.planning.planner.Planner`."""

    samples: int
    iterations: int
    elites: int
    horizon: int
    momentum: float
    init_std: float
    min_std: float
    keep_elites: int
    context_frames: int
    max_novelty: float | None
    dtype: str
    energy: EnergySettings
    arrival: ArrivalSettings

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PlannerSettings:
        """From plain data, e.g. the ``planner`` group of a configuration.

        Raises:
            ConfigError: a missing or unknown name, or a value of the wrong type.
        """
        return _read(cls, values, "planner")


def default_settings(name: str = "cem") -> PlannerSettings:
    """The settings in ``configs/planner/<name>.yaml``."""
    import yaml

    path = configs_folder() / "planner" / f"{name}.yaml"
    return PlannerSettings.from_dict(yaml.safe_load(path.read_text()))


def _read(cls: type[Any], values: Any, where: str) -> Any:
    names = [f.name for f in dataclasses.fields(cls)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"is {values!r}", where=where, expected=f"a mapping with {', '.join(names)}")
    for wrong, what in ((set(values) - set(names), "unknown"), (set(names) - set(values), "missing")):
        if wrong:
            raise ConfigError(f"{what} setting {', '.join(sorted(map(str, wrong)))}", where=where, expected=names)
    types_ = typing.get_type_hints(cls)
    return cls(**{name: _value(types_[name], values[name], f"{where}.{name}") for name in names})


def _value(expected: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(expected):
        return _read(typing.cast(type, expected), value, where)
    allowed = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise ConfigError(f"is {value!r}", where=where, expected=" or ".join(t.__name__ for t in allowed))
    return value
