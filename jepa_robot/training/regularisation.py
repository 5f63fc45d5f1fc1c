"""The terms against collapse, on one vector a frame: VICReg's two, and SIGReg."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jepa_robot.training.losses import variance_covariance
from jepa_robot.training.sigreg import directions, sigreg


class Weights(Protocol):
    """Settings with the weights of the terms: `losses.variance_covariance`'s two, and `sigreg.sigreg`'s."""

    variance: float
    covariance: float
    gaussian: float


def wanted(weights: Weights) -> bool:
    """Whether any term counts."""
    return bool(weights.variance or weights.covariance or weights.gaussian)


def collapse_terms(summary: Tensor, weights: Weights, rng: np.random.Generator) -> dict[str, Tensor]:
    """The terms that count, of one vector a frame [n, d], as scalars by name.

    Args:
        rng: of SIGReg's directions.
    """
    terms = {}
    if weights.variance or weights.covariance:
        terms["variance"], terms["covariance"] = variance_covariance(summary)
    if weights.gaussian:
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        terms["gaussian"] = sigreg(summary, directions(summary.shape[1], generator).to(summary.device))
    return terms


def weighted(terms: dict[str, Tensor], weights: Weights) -> Tensor | float:
    """The sum of those of `collapse_terms`."""
    return sum(getattr(weights, name) * terms[name] for name in ("variance", "covariance", "gaussian") if name in terms)
