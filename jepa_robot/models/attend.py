"""Attention with its log-sum-exp, so that attention to two sets of keys can be joined to that to both."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.models.cache import Pair
from jepa_robot.models.linear import by_onednn, linear

# Of a head, from which on two products of oneDNN's are faster than torch's kernel: 1.1 times at 258 queries of 516
# keys, 1.6 times at 2,064 keys, 1.7 times at 8,256 queries of 258 keys.
MANY_SCORES = 2**17
CACHED_SCORES = 2**20  # float32 between them that a CPU's caches hold
SUMS = (1e-30, 1e30)  # of exponentials: in between neither they nor what is summed with them is lost


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of q [B, heads, n, d] to k, v [B, heads, C, d], [B, heads, n, d]."""
    if _by_products(q, k, v):
        return attend(q, k, v)[0]
    return F.scaled_dot_product_attention(q, k, v)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Pair:
    """Attention of q [B, heads, n, d] to k, v [B, heads, C, d], and its log-sum-exp [B, heads, n, 1]."""
    if q.device.type == "cpu" and not torch.is_grad_enabled():  # the kernel has no gradient of the log-sum-exp
        found = _attend_by_products(q, k, v) if _by_products(q, k, v) else None
        if found is not None:
            return found
        out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
        return out, total[..., None]
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).float()
    return scores.softmax(-1).to(v.dtype) @ v, scores.logsumexp(-1, keepdim=True)


def attend_shared(q: Tensor, shared: Pair) -> Pair:
    """`attend` from all candidates' q [E * S, heads, n, d] to k, v [E, heads, C, d], which are read in place."""
    n = q.shape[2]
    together = q.unflatten(0, (len(shared[0]), -1)).transpose(1, 2).flatten(2, 3)  # [E, heads, S * n, d]
    return tuple(part.unflatten(2, (-1, n)).transpose(1, 2).flatten(0, 1) for part in attend(together, *shared))


def join(first: Pair, second: Pair) -> Tensor:
    """Attention to two sets of keys together, from `attend` to each."""
    weight = torch.sigmoid(second[1] - first[1]).to(first[0].dtype)
    return torch.lerp(first[0], second[0].to(first[0].dtype), weight)


def _by_products(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether `_attend_by_products` can be used, and is faster."""
    if torch.is_grad_enabled() or q.shape[2] * k.shape[2] < MANY_SCORES or not len(q):
        return False
    return by_onednn(q[0, 0], k[0, 0]) and v.dtype == q.dtype


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor) -> Pair | None:
    """`attend` as exp(q k^T) v, without the usual subtraction of the largest score; None where that is not exact.

    That saves two of three passes over the scores, which cost a CPU as much as the products do. It is exact unless
    the exponentials leave float32's range, which shows in their sums. Powers of two are computed four times faster
    than those of e.
    """
    (batch, heads, n, d), keys = q.shape, k.shape[2]
    rows, scale = math.ceil(n / math.ceil(n * keys / CACHED_SCORES)), d**-0.5 / math.log(2)
    out, sums = q.new_empty(batch, n, heads, d).transpose(1, 2), q.new_empty(batch, heads, n, 1)
    for head in itertools.product(range(batch), range(heads)):
        k_head, v_head = k[head].contiguous(), v[head].contiguous().t()
        for q_part, out_part, sums_part in zip(*(part[head].split(rows) for part in (q, out, sums))):
            scores = linear(q_part * scale, k_head).exp2_()
            torch.sum(scores, -1, keepdim=True, out=sums_part)
            torch.div(linear(scores, v_head), sums_part, out=out_part)
    low, high = torch.aminmax(sums)
    return (out, sums.log_()) if low > SUMS[0] and high < SUMS[1] else None
