"""Rotary position embedding over (time, row, column), as in V-JEPA 2 (arXiv 2506.09985).

Of a head's d dimensions, 2 * floor(floor(d / 3) / 2) rotate with each axis and the rest stays
unrotated. Pair i of an axis turns by ``position * base ** (-2 i / axis_dims)``.

The two members of a pair lie d / 2 apart instead of side by side. That is the same network up to a
fixed permutation of the query and key weights (`paired_order`), and rotates with two contiguous products
instead of strided ones, which cost a third of a training step on a CPU.

V-JEPA 2's released weights were trained with the frequencies of an axis laid out [f, f] over members that
alternate, so the two members of a pair turn by different angles and what is done to a pair is no rotation.
``tiled`` reproduces that; networks of one's own have no use for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0


def axis_pairs(head_dim: int) -> int:
    """Number of rotated pairs that one axis gets in a head of ``head_dim`` dimensions."""
    return (head_dim // 3) // 2


def require_even(head_dim: int) -> None:
    """Heads of which all dimensions are in a pair, or none.

    Raises:
        ValueError: the number is odd.
    """
    if head_dim % 2:
        raise ValueError(f"head_dim is {head_dim}; expected an even number")


def rotation_table(positions: Tensor, head_dim: int, tiled: bool = False) -> tuple[Tensor, Tensor]:
    """Cosines and sines for a set of tokens.

    Args:
        positions: float [..., L, 3], (time, row, column) of each token. An axis that a token does not
            have (an action has no row) is 0: no rotation.
        head_dim: d, even.
        tiled: the frequencies of V-JEPA 2's released weights.

    Returns:
        (cos, sin), each float [..., L, d]; the sines of each pair's first member carry a minus sign.

    Raises:
        ValueError: d is odd.
    """
    require_even(head_dim)
    pairs = axis_pairs(head_dim)
    index = torch.arange(pairs, device=positions.device)
    members = (2 * index % max(pairs, 1), (2 * index + 1) % max(pairs, 1)) if tiled else (index, index)
    cos, sin = [], []
    for member, sign in zip(members, (-1.0, 1.0)):
        frequency = BASE ** -(member.double() / max(pairs, 1))
        angles = (positions.double()[..., None] * frequency).flatten(-2)  # [..., L, 3 * pairs]
        angles = torch.nn.functional.pad(angles, (0, head_dim // 2 - 3 * pairs))
        cos.append(angles.cos().float())
        sin.append(sign * angles.sin().float())
    return torch.cat(cos, dim=-1), torch.cat(sin, dim=-1)


def paired_order(head_dim: int) -> Tensor:
    """int64 [d]: for every dimension of a head here, its place in V-JEPA 2's layout.

    There an axis has its pairs side by side, (0, 1), (2, 3), ..., one axis after the other, and what stays
    unrotated comes last.
    """
    pairs = axis_pairs(head_dim)
    first = torch.arange(0, 6 * pairs, 2)
    rest = torch.arange(6 * pairs, head_dim).chunk(2)
    return torch.cat([first, rest[0], first + 1, *rest[1:]])


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate queries or keys ``x`` [..., L, d] by a table of `rotation_table` ([L, d], or broadcastable)."""
    cos, sin = table
    return _Rotate.apply(x, cos.to(x.dtype), sin.to(x.dtype))


class _Rotate(torch.autograd.Function):
    """x -> x * cos + (x with its halves exchanged) * sin, keeping nothing of x for the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(gradient, cos, sin.roll(sin.shape[-1] // 2, -1)), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half])
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


def grid_positions(frames: int, rows: int, columns: int) -> Tensor:
    """float [frames * rows * columns, 3]: (time, row, column) of patch tokens in row-major order."""
    axes = [torch.arange(n, dtype=torch.float32) for n in (frames, rows, columns)]
    return torch.cartesian_prod(*axes).reshape(-1, 3)
