"""Linear layers, on CPUs by oneDNN's products.

torch hands float32 products on CPUs to MKL, which on AMD's with AVX-512 reaches less than half of what oneDNN does,
which comes with torch too (190 and 417 GFLOP/s on two cores). torch reaches it by an operator that its compiler calls;
there is no public one without a convolution's conditions (1x1 with one thread is MKL's again). Elsewhere, and where the
operator is missing, these are `torch.nn.functional.linear`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Multiplications from which on it pays: oneDNN compiles a kernel for every new number of rows, in half a millisecond.
MANY = 2**20

_operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class Linear(nn.Linear):
    """`torch.nn.Linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in_features] -> [..., out_features]."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: x [..., in], weight [out, in], bias [out] -> [..., out]."""
    if not by_onednn(x, weight):
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias) if torch.is_grad_enabled() else _product(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """GELU of `linear`. Without gradients it is part of the product, or overwrites its result: fresh memory costs
    more than computing it.
    """
    if torch.is_grad_enabled():
        return F.gelu(linear(x, weight, bias))
    if by_onednn(x, weight):
        return _product(x, weight, bias, "gelu", "none")
    return torch.ops.aten.gelu_(F.linear(x, weight, bias))


def by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's product can be used, and is faster."""
    if _operator is None or x.device.type != "cpu" or x.numel() * len(weight) < MANY or torch.compiler.is_compiling():
        return False
    float32 = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return float32 and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none", kind: str = "") -> Tensor:
    return _operator(_dense(x), _dense(weight), bias, then, [], kind)


def _dense(x: Tensor) -> Tensor:
    """The same with its rows or columns one after the other: else oneDNN takes a hundred times as long."""
    return x if x.is_contiguous() or (x.ndim == 2 and x.t().is_contiguous()) else x.contiguous()


class _Linear(torch.autograd.Function):
    """The product and its gradients, which are products too."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        rows, inputs = gradient.flatten(0, -2), x.flatten(0, -2)
        of_x = _product(gradient, weight.t()) if wanted[0] else None
        return of_x, _of_weight(rows, inputs) if wanted[1] else None, rows.sum(0) if wanted[2] else None


def _of_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient [n, out], x [n, in] -> [out, in]. The larger of the two sides is what oneDNN packs."""
    if gradient.shape[1] > x.shape[1]:
        return _product(x.t(), gradient.t()).t().contiguous()
    return _product(gradient.t(), x.t())


def _operations(x: torch.Size, weight: torch.Size, *args: object, **kwargs: object) -> int:
    """Of a product, from the shapes of its operands."""
    return 2 * x.numel() * weight[0]


# For torch's FlopCounterMode(custom_mapping=...), the import of which would cost every start a quarter of a second.
FLOP_FORMULAS = {} if _operator is None else {_operator: _operations}
