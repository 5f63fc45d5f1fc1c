"""Rotations as Euler angles xyz about fixed axes, in batches on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def compose(turn: Tensor, angles: Tensor) -> Tensor:
    """Euler angles [..., 3] of R(turn) R(angles), where R(a, b, c) = Rz(c) Ry(b) Rx(a); radians.

    The second angle comes out within +-pi / 2, the others within +-pi.
    """
    with torch.autocast(turn.device.type, enabled=False):  # bf16 would round an angle by half a degree
        product = _matrix(turn.float()) @ _matrix(angles.float())
    roll = torch.atan2(product[..., 2, 1], product[..., 2, 2])
    pitch = torch.asin(product[..., 2, 0].neg().clamp(-1, 1))
    yaw = torch.atan2(product[..., 1, 0], product[..., 0, 0])
    return torch.stack([roll, pitch, yaw], dim=-1)


def _matrix(angles: Tensor) -> Tensor:
    """[..., 3] -> [..., 3, 3]."""
    (sa, sb, sc), (ca, cb, cc) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = [
        cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa,
        sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa,
        -sb, cb * sa, cb * ca,
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
