"""Which window is the n-th sample of a training run: a function of the seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 4096  # samples whose sources are drawn together


class SampleOrder:
    """Endless samples from several groups of windows, mixed with weights.

    Within a group every window comes once an epoch, in an order set by (seed, group, epoch). The n-th
    sample follows from n alone, so that any process can compute it and a run goes on anywhere.

    Args:
        counts: windows in each group; at least one in all of them.
        weights: relative frequency of each group; None: as many samples as it has windows.
        seed: of the order.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float] | None, seed: int):
        self.counts = np.asarray(counts, np.int64)
        share = self.counts if weights is None else np.where(self.counts > 0, np.asarray(weights, float), 0.0)
        if not share.sum() > 0:
            raise ValueError("no group with windows has a weight above 0")
        self._share, self._seed = share / share.sum(), seed
        self._drawn = [np.zeros(len(self.counts), np.int64)]  # samples of each group before each block
        self._shuffled: dict[int, tuple[int, np.ndarray]] = {}  # group -> (epoch, its permutation), the newest

    def samples(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Groups int64 [count] and windows int64 [count] of the samples ``first`` to ``first + count - 1``."""
        numbers = np.arange(first, first + count)
        if len(self.counts) == 1:
            return np.zeros(count, np.int64), self._windows(0, numbers)
        groups, windows = np.empty(count, np.int64), np.empty(count, np.int64)
        for block in range(first // _BLOCK, (first + count - 1) // _BLOCK + 1):
            drawn = self._groups(block)
            inside = (numbers >= block * _BLOCK) & (numbers < (block + 1) * _BLOCK)
            offset = numbers[inside] - block * _BLOCK
            groups[inside] = drawn[offset]
            for group in range(len(self.counts)):
                mine = drawn == group
                rank = self._before(block)[group] + np.cumsum(mine) - 1  # of each sample among its group's
                chosen = mine[offset]
                windows[np.flatnonzero(inside)[chosen]] = self._windows(group, rank[offset[chosen]])
        return groups, windows

    def _windows(self, group: int, ranks: np.ndarray) -> np.ndarray:
        """The group's samples number ``ranks``."""
        count = int(self.counts[group])
        epochs = ranks // count
        found = np.empty(len(ranks), np.int64)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            found[inside] = self._permutation(group, int(epoch))[ranks[inside] % count]
        return found

    def _permutation(self, group: int, epoch: int) -> np.ndarray:
        if self._shuffled.get(group, (None,))[0] != epoch:
            rng = np.random.default_rng((self._seed, 0, group, epoch))
            self._shuffled[group] = epoch, rng.permutation(int(self.counts[group]))
        return self._shuffled[group][1]

    def _groups(self, block: int) -> np.ndarray:
        return np.random.default_rng((self._seed, 1, block)).choice(len(self.counts), _BLOCK, p=self._share)

    def _before(self, block: int) -> np.ndarray:
        """Samples of each group in all blocks before this one."""
        while len(self._drawn) <= block:
            drawn = np.bincount(self._groups(len(self._drawn) - 1), minlength=len(self.counts))
            self._drawn.append(self._drawn[-1] + drawn)
        return self._drawn[block]
