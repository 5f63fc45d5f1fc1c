"""Sketched isotropic Gaussian regularisation: samples shall follow a standard normal distribution.

SIGReg of LeJEPA (arXiv 2511.08544, section 4), also LeWorldModel's (arXiv 2603.19312). By the theorem of Cramer
and Wold a distribution is N(0, I) exactly if its projections on all directions are N(0, 1). So samples are
projected on random directions, and each projection's empirical characteristic function is compared with the
normal's by the statistic of Epps and Pulley. A collapsed representation, a constant, is far from it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SLICES = 256  # directions a step; LeJEPA's results change little from there on
T_MAX = 3.0
KNOTS = 17  # of the trapezoidal rule over [0, T_MAX]


def epps_pulley(x: Tensor) -> Tensor:
    """n times the integral over [-3, 3] of |phi_n(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt, column by column.

    phi_n(t) = mean of exp(i t x) is the empirical characteristic function. Samples [n, s] -> [s]. The integrand
    is even, so that only t >= 0 is computed.
    """
    t = torch.linspace(0, T_MAX, KNOTS, device=x.device)
    normal = torch.exp(-0.5 * t.square())
    weights = torch.full_like(t, 2 * T_MAX / (KNOTS - 1)) * normal
    weights[[0, -1]] *= 0.5
    angles = x[..., None] * t  # [n, s, knots]
    distance = (angles.cos().mean(0) - normal).square() + angles.sin().mean(0).square()
    return len(x) * (distance @ weights)


def directions(dims: int, generator: torch.Generator) -> Tensor:
    """``SLICES`` random unit vectors [dims, slices], on the CPU."""
    return F.normalize(torch.randn(dims, SLICES, generator=generator), dim=0)


def sigreg(x: Tensor, along: Tensor) -> Tensor:
    """Mean of `epps_pulley` over the projections of samples x [n, d] on unit vectors [d, s] -> scalar."""
    with torch.autocast(x.device.type, enabled=False):  # bf16 knows angles to 1 part in 256 only
        return epps_pulley(x.float() @ along).mean()
