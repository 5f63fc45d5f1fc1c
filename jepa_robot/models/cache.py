"""Keys and values of rollouts: what candidates have in common is kept once, what is their own beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Cache:
    """Keys and values of one block, for E environments with S candidates each.

    Attributes:
        shared: (k, v), each [E, heads, C, d]: what all candidates have in common, never copied for each of them.
        own: (k, v), each [E * S, heads, O, d]: what each candidate has added, or None.
        room: memory that ``own`` lies at the start of, [E * S, heads, R, d] twice, or None.
    """

    shared: Pair | None = None
    own: Pair | None = None
    room: Pair | None = None

    def append(self, k: Tensor, v: Tensor, room: int = 0) -> Cache:
        """With more of each candidate's own, [E * S, heads, n, d].

        Args:
            room: tokens that will be appended in all. Memory for them is taken at the first, except where gradients
                are wanted: what has been used must not change then.
        """
        memory, length, end = self.room, 0, k.shape[2]
        if self.own is None:
            if room <= end or k.requires_grad or v.requires_grad:
                return replace(self, own=(k, v))
            memory = tuple(x.new_empty(len(x), room, *x.shape[1::2]).transpose(1, 2) for x in (k, v))
        else:
            length, end = self.own[0].shape[2], end + self.own[0].shape[2]
        if memory is None:
            return replace(self, own=tuple(torch.cat(pair, dim=2) for pair in zip(self.own, (k, v))))
        for part, x in zip(memory, (k, v)):
            part[:, :, length:end] = x
        return Cache(self.shared, tuple(part[:, :, :end] for part in memory), memory)

    def share(self, k: Tensor, v: Tensor) -> Cache:
        """With more that all candidates have in common, [E, heads, n, d]."""
        if self.shared is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(self.shared, (k, v)))
        return replace(self, shared=(k, v))


@dataclass(frozen=True)
class Common:
    """What a block has computed of tokens that all candidates have in common, before each adds one of its own.

    Attributes:
        tokens: [E, m, width], what went into the block.
        queries: [E, heads, m, d].
        attended: see `attend`, of these queries to the shared keys and values, themselves among them.
        cache: with their keys and values.
    """

    tokens: Tensor
    queries: Tensor
    attended: Pair
    cache: Cache
