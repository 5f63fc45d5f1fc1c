"""Rotary position embedding over (time, row, column), as in V-JEPA 2 (arXiv 2506.09985).

Of a head's d dimensions, 2 * floor(floor(d / 3) / 2) rotate with each axis and the rest stays
unrotated. Pair i of an axis turns by ``position * base ** (-2 i / axis_dims)``.

The two members of a pair lie d / 2 apart instead of side by side. That is the same network up to a
fixed permutation of the query and key weights, and rotates with two contiguous products instead of
strided ones, which cost a third of a training step on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0


def axis_pairs(head_dim: int) -> int:
    """Number of rotated pairs that one axis gets in a head of ``head_dim`` dimensions."""
    return (head_dim // 3) // 2


def rotation_table(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines for a set of tokens.

    Args:
        positions: float [L, 3], (time, row, column) of each token. An axis that a token does not
            have (an action has no row) is 0: no rotation.
        head_dim: d, even.

    Returns:
        (cos, sin), each float [L, d]; the sines of each pair's first member carry a minus sign.
    """
    if head_dim % 2:
        raise ValueError(f"head_dim is {head_dim}; expected an even number")
    pairs = axis_pairs(head_dim)
    exponent = torch.arange(pairs, dtype=torch.float64, device=positions.device) / max(pairs, 1)
    frequency = BASE**-exponent
    angles = positions.double()[:, :, None] * frequency  # [L, 3, pairs]
    angles = torch.nn.functional.pad(angles.flatten(1), (0, head_dim // 2 - 3 * pairs))
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate queries or keys ``x`` [..., L, d] by a table of `rotation_table` ([L, d], or broadcastable)."""
    cos, sin = table
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos.to(x.dtype), torch.cat([second, first], dim=-1), sin.to(x.dtype))


def grid_positions(frames: int, rows: int, columns: int) -> Tensor:
    """float [frames * rows * columns, 3]: (time, row, column) of patch tokens in row-major order."""
    axes = [torch.arange(n, dtype=torch.float32) for n in (frames, rows, columns)]
    return torch.cartesian_prod(*axes).reshape(-1, 3)
