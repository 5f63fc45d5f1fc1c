"""From settings to a planner."""

from __future__ import annotations

import torch

from jepa_robot.errors import ConfigError
from jepa_robot.planning.arrival import ArrivalRule
from jepa_robot.planning.energy import ActionCost, LatentDistance, WeightedSum
from jepa_robot.planning.optimizers.cem import CEM
from jepa_robot.planning.planner import Planner
from jepa_robot.planning.protocols import Energy, WorldModel
from jepa_robot.planning.settings import PlannerSettings, default_settings
from jepa_robot.spec import Contract

MAX_ACTION_COST = 1e9  # energies are float32


def build_optimizer(contract: Contract, settings: PlannerSettings, device: torch.device | str = "cpu") -> CEM:
    """The optimizer inside the contract's action bounds."""
    return CEM(
        low=torch.from_numpy(contract.action_low).to(device),
        high=torch.from_numpy(contract.action_high).to(device),
        horizon=settings.horizon,
        samples=settings.samples,
        elites=settings.elites,
        momentum=settings.momentum,
        init_std=settings.init_std,
        min_std=settings.min_std,
        keep_elites=settings.keep_elites,
    )


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
    settings = settings if settings is not None else default_settings()
    energy: Energy = LatentDistance(settings.energy.distance, settings.energy.steps)
    if not 0 <= settings.energy.action_cost <= MAX_ACTION_COST:
        raise ConfigError(
            f"is {settings.energy.action_cost:g}",
            where="planner.energy.action_cost",
            expected=f"0 to {MAX_ACTION_COST:g}",
        )
    # Next to the goal every action within the model's error looks as good as any other: the cost takes the smallest.
    if settings.energy.action_cost > 0 and settings.energy.space == "metric":
        low, high = torch.from_numpy(model.contract.action_low), torch.from_numpy(model.contract.action_high)
        cost = ActionCost(torch.maximum(low.abs(), high.abs()).to(model.device))
        energy = WeightedSum([(1.0, energy), (settings.energy.action_cost, cost)])
    return Planner(
        model,
        build_optimizer(model.contract, settings, model.device),
        energy,
        build_arrival(settings),
        iterations=settings.iterations,
        context_frames=settings.context_frames,
        seed=seed,
        space=settings.energy.space,
        max_novelty=settings.max_novelty,
        dtype=settings.dtype,
    )
