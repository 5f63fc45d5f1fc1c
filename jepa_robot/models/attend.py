"""Attention with its log-sum-exp, so that attention to two sets of keys can be joined to that to both."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.models.cache import Pair

# From where on three matrix operations are faster than torch's kernel: 1.1 times at 512 keys, 1.2 to 1.3 at 2048.
MANY_QUERIES, MANY_KEYS = 64, 384
CACHED_SCORES = 2**21  # float32 between them that a CPU's caches hold
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
    many = len(q) and q.shape[2] >= MANY_QUERIES and k.shape[2] >= MANY_KEYS
    if not many or q.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return q.dtype == k.dtype == v.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor) -> Pair | None:
    """`attend` as exp(q k^T) v, without the usual subtraction of the largest score; None where that is not exact.

    That saves two of three passes over the scores, which cost a CPU as much as the products do. It is exact unless
    the exponentials leave float32's range, which shows in their sums.
    """
    (batch, heads, n, d), keys = q.shape, k.shape[2]
    items = max(1, CACHED_SCORES // (heads * n * keys))  # at once
    rows = math.ceil(n / max(1, round(heads * n * keys / CACHED_SCORES)))  # of one item, where it has more scores
    out, sums = q.new_empty(batch, n, heads, d).transpose(1, 2), q.new_empty(batch, heads, n, 1)
    memory = q.new_empty(items * heads * rows * keys)
    for some in zip(*(part.split(items) for part in (q, k, v, out, sums))):
        q_some, k_some, v_some = (part.flatten(0, 1) for part in some[:3])
        for q_part, out_part, sums_part in zip(*(part.split(rows, -2) for part in (q_some, *some[3:]))):
            scores = memory[: len(q_part) * q_part.shape[1] * keys].view(-1, q_part.shape[1], keys)
            torch.baddbmm(scores, q_part, k_some.transpose(1, 2), beta=0, alpha=d**-0.5, out=scores).exp_()
            torch.sum(scores.view(*sums_part.shape[:3], keys), -1, keepdim=True, out=sums_part)
            torch.div((scores @ v_some).view(out_part.shape), sums_part, out=out_part)
    low, high = torch.aminmax(sums)
    return (out, sums.log_()) if low > SUMS[0] and high < SUMS[1] else None
