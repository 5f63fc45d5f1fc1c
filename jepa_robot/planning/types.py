"""What goes into a planner and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


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
    """How a plan came about.

    Attributes:
        energy_now: energy of the current frame against the goal (no action).
        novelty: of the current frame, see `jepa_robot.planning.protocols.WorldModel.novelty`.
        energy_history: best energy found up to each iteration.
        elite_std: float32 [A], spread of the final elites, averaged over the horizon, in action units.
        iterations: optimizer iterations that ran.
        latency_s: wall-clock seconds from observation to plan.
    """

    energy_now: float
    novelty: float
    energy_history: list[float] = field(default_factory=list)
    elite_std: np.ndarray | None = None
    iterations: int = 0
    latency_s: float = 0.0


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
