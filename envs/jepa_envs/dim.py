"""Dimensions of actions and of the proprioception, as the contract declares them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Dim:
    """One dimension of an action or of the proprioception, as the contract declares it.

    ``integrates`` (actions only) names the proprioception that this action is added to, ``composes`` the one of its
    three angles (Euler xyz) that goes with this one of a rotation.
    """

    name: str
    unit: str
    low: float
    high: float
    frame: str
    integrates: str | None = None
    composes: str | None = None

    def to_dict(self) -> dict[str, Any]:
        ends = {"low": round(float(self.low), 6), "high": round(float(self.high), 6)}
        return dataclasses.asdict(self) | ends | {"mean": None, "std": None}


def bounds(dims: Sequence[Dim]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds, float32."""
    return np.array([dim.low for dim in dims], np.float32), np.array([dim.high for dim in dims], np.float32)
