"""From settings to a planner."""

from __future__ import annotations

import inspect
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from jepa_robot.errors import ConfigError
from jepa_robot.planning.actions import ActionSpace, NormLimit
from jepa_robot.planning.arrival import ArrivalRule
from jepa_robot.planning.constraints import Constrained, UserConstraint, state_boxes
from jepa_robot.planning.energy import (
    ActionCost,
    LatentDistance,
    Novelty,
    Smoothness,
    StateDistance,
)
from jepa_robot.planning.engine import Engine
from jepa_robot.planning.optimizers.base import TrajectoryOptimizer
from jepa_robot.planning.optimizers.cem import CEM
from jepa_robot.planning.optimizers.gradient import Gradient
from jepa_robot.planning.optimizers.hybrid import Hybrid
from jepa_robot.planning.optimizers.icem import ICEM
from jepa_robot.planning.optimizers.mppi import MPPI
from jepa_robot.planning.optimizers.predictive_sampling import PredictiveSampling
from jepa_robot.planning.planner import Planner
from jepa_robot.planning.protocols import Constraint, WorldModel
from jepa_robot.planning.search import Search
from jepa_robot.planning.settings import ActionSettings, PlannerSettings, default_settings, read_value
from jepa_robot.planning.user import UserEnergy
from jepa_robot.planning.weighted_sum import Term, WeightedSum
from jepa_robot.spec import Contract, Dim

OPTIMIZERS: Mapping[str, type[TrajectoryOptimizer]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "predictive_sampling": PredictiveSampling,
    "gradient": Gradient,
    "hybrid": Hybrid,
}
MAX_WEIGHT = 1e9  # energies are float32


def build_space(contract: Contract, settings: PlannerSettings, device: torch.device | str = "cpu") -> ActionSpace:
    """The possible plans: the contract's bounds, and what the settings say beyond them.

    Raises:
        ConfigError: the settings name an unknown dimension, or leave nothing that is possible.
    """
    limits: ActionSettings = settings.actions
    norm = None
    if limits.norm.dims:
        dims = tuple(_index(contract.actions, name, "planner.actions.norm.dims") for name in limits.norm.dims)
        norm = NormLimit(dims, limits.norm.order, limits.norm.radius)
    levels = {
        _index(contract.actions, name, "planner.actions.levels"): [
            _number(value, f"planner.actions.levels.{name}")
            for value in (values if isinstance(values, Sequence) else [values])
        ]
        for name, values in limits.levels.items()
    }
    return ActionSpace(
        torch.from_numpy(contract.action_low).to(device),
        torch.from_numpy(contract.action_high).to(device),
        settings.horizon,
        limits.hold,
        _by_index(contract.actions, limits.fixed, "planner.actions.fixed"),
        levels,
        norm,
        [dim.name for dim in contract.actions],
    )


def build_search(
    space: ActionSpace, settings: PlannerSettings, clock: Callable[[], float] = time.perf_counter
) -> Search:
    """The optimizer that the settings name, and the loop around it.

    Raises:
        ConfigError: an unknown optimizer, or a setting that it does not have, lacks or cannot take.
    """
    values = dict(settings.optimizer)
    name, iterations = values.pop("name", None), values.pop("iterations", None)
    where = "planner.optimizer"
    if name not in OPTIMIZERS:
        raise ConfigError(f"is {name!r}", where=f"{where}.name", expected=f"one of {', '.join(OPTIMIZERS)}")
    made = OPTIMIZERS[name]
    wanted = {n: p for n, p in inspect.signature(made).parameters.items() if n != "space"}
    unknown = set(values) - set(wanted)
    missing = {n for n, p in wanted.items() if p.default is p.empty} - set(values)
    for wrong, what in ((unknown, "unknown"), (missing, "missing")):
        if wrong:
            raise ConfigError(f"{what} setting {', '.join(sorted(wrong))}", where=where, expected=sorted(wanted))
    hints = typing.get_type_hints(made.__init__)
    values = {n: read_value(hints[n], value, f"{where}.{n}") for n, value in values.items()}
    return Search(
        made(space, **values),
        read_value(int, iterations, f"{where}.iterations"),
        clock,
        settings.chunk,
        settings.stop_spread,
        settings.extend,
    )


def build_energy(model: WorldModel, settings: PlannerSettings) -> Constrained:
    """What is searched for, and what is kept to.

    Raises:
        ConfigError: a weight is out of range, or a function cannot be found.
    """
    chosen, contract = settings.energy, model.contract
    low, high = (torch.from_numpy(bound).to(model.device) for bound in (contract.action_low, contract.action_high))
    reach = torch.maximum(low.abs(), high.abs())
    state_low, state_high = (
        torch.from_numpy(bound).to(model.device) for bound in (contract.state_low, contract.state_high)
    )
    for name in ("state", "action_cost", "smoothness", "novelty"):
        weight = getattr(chosen, name)
        if not 0 <= weight <= MAX_WEIGHT:
            raise ConfigError(f"is {weight:g}", where=f"planner.energy.{name}", expected=f"0 to {MAX_WEIGHT:g}")
    terms = [Term("goal", 1.0, LatentDistance(chosen.distance, chosen.steps, chosen.discount))]
    # Next to the goal every action within the model's error looks as good as any other: the cost takes the smallest.
    rests = torch.tensor(contract.rests_at_zero(), device=model.device)
    if chosen.action_cost > 0 and chosen.space == "metric" and bool(rests.any()):
        cost = ActionCost(reach.where(rests, torch.inf))
        terms.append(Term("action_cost", chosen.action_cost, cost, standing="never"))
    if chosen.smoothness > 0:
        terms.append(Term("smoothness", chosen.smoothness, Smoothness(reach), standing="never"))
    if chosen.state > 0:
        distance = StateDistance(contract.states, state_high - state_low, chosen.steps, chosen.discount)
        terms.append(Term("state", chosen.state, distance))
    if chosen.novelty > 0:
        terms.append(Term("novelty", chosen.novelty, Novelty(model.novelty)))
    terms += [Term(name, 1.0, UserEnergy(name), standing="if finite") for name in chosen.functions]
    kept = settings.constraints
    return Constrained(WeightedSum(terms), build_constraints(contract, settings), kept.mode, kept.weight)


def build_constraints(contract: Contract, settings: PlannerSettings) -> list[Constraint]:
    """What plans must keep to.

    Raises:
        ConfigError: an unknown state, or a function that cannot be found.
    """
    low, high = (
        _by_index(contract.states, getattr(settings.constraints, side), f"planner.constraints.{side}")
        for side in ("low", "high")
    )
    made: list[Constraint] = [*state_boxes(contract.states, low, high)]
    return made + [UserConstraint(name) for name in settings.constraints.functions]


def build_arrival(settings: PlannerSettings) -> ArrivalRule:
    """The arrival rule; its tolerance holds in the metric space alone, whose unit is the model's own error."""
    arrival = settings.arrival
    tolerance = arrival.tolerance if settings.energy.space == "metric" else None
    return ArrivalRule(arrival.patience, arrival.min_improvement, arrival.slack, tolerance)


def build_planner(model: WorldModel, settings: PlannerSettings | None = None, seed: int = 0) -> Planner:
    """A planner for ``model`` on the model's device, with the shipped settings unless others are given.

    Raises:
        ConfigError: a setting is out of range.
    """
    return build_planners(model, 1, settings, seed)[0]


def build_planners(
    model: WorldModel, count: int, settings: PlannerSettings | None = None, seed: int = 0
) -> list[Planner]:
    """Planners for as many robots, that can plan as one batch, see `jepa_robot.planning.planner.plan_together`.

    Raises:
        ConfigError: a setting is out of range.
    """
    settings = settings if settings is not None else default_settings()
    if settings.camera_pose:
        _able(model, "set_camera_pose", "planner.camera_pose")(settings.camera_pose)
    if settings.compile:
        _able(model, "compile_rollouts", "planner.compile")()
    if settings.cuda_graphs:
        _able(model, "graph_rollouts", "planner.cuda_graphs")()
    search = build_search(build_space(model.contract, settings, model.device), settings)
    engine = Engine(model, search, build_energy(model, settings), settings.energy.space, settings.dtype)
    return [
        Planner(
            engine,
            build_arrival(settings),
            context_frames=settings.context_frames,
            execute=settings.execute,
            seed=seed,
            max_novelty=settings.max_novelty,
            deadline_ms=settings.deadline_ms,
        )
        for _ in range(count)
    ]


def _able(model: WorldModel, method: str, where: str) -> Callable[..., None]:
    """What a model can do beyond `WorldModel`."""
    if not hasattr(model, method):
        raise ConfigError(f"{type(model).__name__} has no method {method}", where=where, mend="leave this setting out")
    return getattr(model, method)


def _by_index(dims: Sequence[Dim], values: Mapping[str, Any], where: str) -> dict[int, float]:
    """Numbers given by names of dimensions."""
    return {_index(dims, name, where): _number(value, f"{where}.{name}") for name, value in values.items()}


def _index(dims: Sequence[Dim], name: str, where: str) -> int:
    names = [dim.name for dim in dims]
    if name not in names:
        raise ConfigError(f"there is no dimension {name!r}", where=where, expected=f"one of {', '.join(names)}")
    return names.index(name)


def _number(value: Any, where: str) -> float:
    return read_value(float, value, where)
