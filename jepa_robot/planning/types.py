"""What goes into a planner and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jepa_robot.planning.health import Health


@dataclass(frozen=True)
class Observation:
    """What the robot sees and feels at one time step.

    Attributes:
        image: uint8 [height, width, 3] RGB, the contract's first camera.
        state: float32 [P], proprioception in physical units.
        time: seconds, on the robot's clock.
    """

    image: np.ndarray
    state: np.ndarray
    time: float = 0.0

    @classmethod
    def from_dict(cls, observation: Mapping[str, np.ndarray], camera: str, time: float = 0.0) -> Observation:
        """From a dictionary with the camera's picture under its name and the state under ``proprio``."""
        return cls(observation[camera], observation["proprio"], time)


@dataclass(frozen=True)
class Diagnostics:
    """How a plan came about, and whether it can be trusted.

    Attributes:
        health: figures of the plan.
        warnings: reasons not to trust it, a line each; none where all is well.
        energy_history: lowest energy found up to each iteration.
        terms: the weighted parts of the plan's energy, by name.
        stopped: what ended the search: ``iterations``, ``deadline`` or ``converged``; ``followed`` where there was no
            search, and the rest of an earlier plan goes on.
        latency_s: wall-clock seconds from observation to plan.
        subgoal: index of the sub-goal that the plan is for.
    """

    health: Health
    warnings: tuple[str, ...]
    energy_history: tuple[float, ...]
    terms: Mapping[str, float]
    stopped: str
    latency_s: float
    subgoal: int

    @property
    def iterations(self) -> int:
        """Optimizer iterations that ran."""
        return len(self.energy_history)


@dataclass(frozen=True)
class Plan:
    """Actions to execute, and what the model expects of them.

    Attributes:
        actions: float32 [H, A] in physical units, inside the contract's bounds.
        times: float64 [H], when each action starts, on the observation's clock.
        energy: predicted energy at the end of the plan.
        diagnostics: see `Diagnostics`.
    """

    actions: np.ndarray
    times: np.ndarray
    energy: float
    diagnostics: Diagnostics
