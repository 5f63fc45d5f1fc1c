"""A point on a table, seen as a bright spot: a world model and a robot that are exact by construction."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jepa_robot.planning import Observation, Planner, PlannerSettings, build_planner, default_settings
from jepa_robot.spec import Camera, Contract, Dim

SIZE = 32  # pixels of the square picture; the table is [0, 1] x [0, 1] metres
STEP = 0.1  # metres a step at most
START, GOAL = (0.2, 0.25), np.array([0.7, 0.8], np.float32)

CONTRACT = Contract(
    task="point",
    cameras=(Camera("front", SIZE, SIZE),),
    fps=5.0,
    actions=tuple(Dim(f"d{name}", "m", "table", -STEP, STEP, integrates=name) for name in "xy"),
    states=tuple(Dim(name, "m", "table", 0.0, 1.0) for name in "xy"),
)


def draw(position: np.ndarray) -> np.ndarray:
    """uint8 [SIZE, SIZE, 3]: a Gaussian spot at position [2]."""
    axis = (np.arange(SIZE) + 0.5) / SIZE
    rows, columns = np.exp(-(((axis - position[1]) / 0.08) ** 2)), np.exp(-(((axis - position[0]) / 0.08) ** 2))
    return np.repeat((255 * rows[:, None] * columns[None]).astype(np.uint8)[..., None], 3, axis=-1)


class PointModel:
    """Latents [.., N=1, D=2] are the spot's centre of mass; actions move it."""

    contract = CONTRACT
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.encoded = 0
        self.contexts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        assert frames.dtype == torch.uint8 and frames.ndim == 5
        self.encoded += frames.shape[0] * frames.shape[1]
        mass = frames[..., 0].float()
        axis = (torch.arange(SIZE) + 0.5) / SIZE
        total = mass.sum((-2, -1))
        return torch.stack(((mass.sum(-2) @ axis) / total, (mass.sum(-1) @ axis) / total), -1)[..., None, :]

    def context(self, latents: torch.Tensor, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        self.contexts.append((latents, states, actions))
        return latents[:, None, None, -1]

    def rollout(self, context: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return (context + actions.cumsum(2)[..., None, :]).clamp(0, 1)

    def candidates_at_once(self, horizon: int) -> int:
        return 0

    def advance(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return (states + actions).clamp(0, 1)

    def novelty(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.ones(latents.shape[:-2])

    def metric(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.flatten(-2)


class PointRobot:
    """The real point."""

    def __init__(self, position: tuple[float, float]) -> None:
        self.position = np.array(position, np.float32)
        self.time = 0.0

    def observe(self) -> Observation:
        return Observation(draw(self.position), self.position.copy(), self.time)

    def step(self, action: np.ndarray) -> None:
        self.position = np.clip(self.position + action, 0, 1).astype(np.float32)
        self.time += 0.2

    def run(self, planner: Planner, steps: int) -> list[float]:
        """Distances to `GOAL` after each step."""
        distances = []
        for _ in range(steps):
            self.step(planner.act(self.observe()))
            distances.append(float(np.linalg.norm(self.position - GOAL)))
        return distances


@pytest.fixture
def toy() -> SimpleNamespace:
    return SimpleNamespace(Model=PointModel, Robot=PointRobot, draw=draw, contract=CONTRACT, step=STEP, start=START, goal=GOAL)


@pytest.fixture
def settings() -> PlannerSettings:
    shipped = default_settings()
    # The toy's metric space is not scaled by the error of a trained model: no tolerance or cost fits it.
    arrival = dataclasses.replace(shipped.arrival, tolerance=None)
    energy = dataclasses.replace(shipped.energy, action_cost=0.0)
    optimizer = {**shipped.optimizer, "samples": 64, "iterations": 4, "elites": 8, "keep_elites": 3}
    return dataclasses.replace(shipped, optimizer=optimizer, horizon=3, arrival=arrival, energy=energy)


@pytest.fixture
def planner(toy: SimpleNamespace, settings: PlannerSettings) -> Planner:
    """On its way to `GOAL`."""
    planner = build_planner(toy.Model(), settings, seed=3)
    planner.reset(toy.draw(GOAL))
    return planner
