"""One of each optimizer, spaces of every kind, and what it is to be possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from optimizer_problems import Problem
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace, NormLimit
from jepa_robot.planning.optimizers.cem import CEM
from jepa_robot.planning.optimizers.gradient import Gradient
from jepa_robot.planning.optimizers.hybrid import Hybrid
from jepa_robot.planning.optimizers.icem import ICEM
from jepa_robot.planning.optimizers.mppi import MPPI
from jepa_robot.planning.optimizers.predictive_sampling import PredictiveSampling
from jepa_robot.planning.search import Search, SearchResult

SETTINGS: dict[str, tuple[type, dict[str, Any]]] = {
    "cem": (
        CEM,
        dict(samples=256, elites=20, momentum=0.1, momentum_std=0.3, init_std=0.7, min_std=0.01, keep_elites=3),
    ),
    "icem": (
        ICEM,
        dict(
            samples=512, elites=24, momentum=0.1, momentum_std=0.3, init_std=0.7, min_std=0.01, keep_elites=5, beta=0.5,
            sample_decay=1.1,
        ),
    ),
    "mppi": (MPPI, dict(samples=256, temperature=0.1, init_std=0.7, min_std=0.01, momentum_std=0.3)),
    "predictive_sampling": (PredictiveSampling, dict(samples=256, init_std=0.5, min_std=0.01, std_decay=1.15)),
    "gradient": (Gradient, dict(starts=8, method="adam", learning_rate=0.2, init_std=0.7)),
    "hybrid": (
        Hybrid,
        dict(
            samples=128, elites=12, momentum=0.1, init_std=0.7, min_std=0.05, keep_elites=3, beta=0.5,
            sample_decay=1.1, sampling_iterations=6, method="adam", learning_rate=0.1,
        ),
    ),
}  # fmt: skip
ITERATIONS = {"cem": 25, "icem": 25, "mppi": 25, "predictive_sampling": 40, "gradient": 80, "hybrid": 60}
NAMES = list(SETTINGS)


def make(name: str, space: ActionSpace, **changed: Any) -> Any:
    """The optimizer of that name, with some settings changed."""
    made, settings = SETTINGS[name]
    return made(space, **{**settings, **changed})


def generators(seeds: list[int] | range) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def solve(
    optimizer: Any,
    problem: Problem,
    iterations: int,
    seeds: list[int] | range | None = None,
    warm_start: Tensor | None = None,
) -> SearchResult:
    """A search for each instance, by default seeded by its number."""
    seeds = range(len(problem.optimum)) if seeds is None else seeds
    return Search(optimizer, iterations, clock=lambda: 0.0).run(problem.energy, generators(seeds), warm_start)


def above_optimum(problem: Problem, actions: Tensor) -> Tensor:
    """How far above the optimum the energies of answers [E, H, A] are, [E]."""
    return problem.energy(actions[:, None])[:, 0] - problem.optimum


def success_rate(problem: Problem, actions: Tensor) -> float:
    return float((above_optimum(problem, actions) <= problem.tolerance).float().mean())


def random_space(seed: int, horizon: int | None = None) -> ActionSpace:
    """Bounds, a norm, fixed and discrete dimensions and a hold, drawn with the seed."""
    rng = np.random.default_rng(seed)
    dims = 5
    low, high = -rng.uniform(0.01, 2, dims), rng.uniform(0.01, 2, dims)
    shuffled = [int(i) for i in rng.permutation(dims)]
    fixed = {shuffled[0]: float(rng.uniform(low[shuffled[0]], high[shuffled[0]]))} if rng.random() < 0.5 else {}
    levels = {}
    if rng.random() < 0.6:
        i = shuffled[1]
        levels[i] = [float(v) for v in rng.uniform(low[i], high[i], rng.integers(1, 5)).astype(np.float32)]
    limit = None
    if rng.random() < 0.7:
        limit = NormLimit(tuple(shuffled[2:]), int(rng.integers(1, 3)), float(rng.uniform(0.01, 1.5)))
    return ActionSpace(
        torch.tensor(low).float(),
        torch.tensor(high).float(),
        horizon if horizon is not None else int(rng.integers(1, 7)),
        int(rng.integers(1, 4)),
        fixed,
        levels,
        limit,
    )


def assert_possible(space: ActionSpace, plans: Tensor) -> None:
    """By the definitions, rather than by the projection."""
    assert plans.shape[-2:] == (space.blocks, space.dims)
    numbers = plans.double().numpy()
    assert (numbers >= space.low.double().numpy()).all() and (numbers <= space.high.double().numpy()).all()
    if space.limit is not None:
        length = np.linalg.norm(numbers[..., list(space.limit.dims)], space.limit.order, axis=-1)
        assert (length <= space.limit.radius * (1 + 1e-6)).all()
    for i, values in space.levels.items():
        assert np.isin(numbers[..., i], values.double().numpy()).all()
    for i, value in space.fixed.items():
        assert (numbers[..., i] == float(value)).all()
