"""Numbers that describe recorded trajectories, gathered one episode at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jepa_robot.data.source import Source
from jepa_robot.data.trace import chunks
from jepa_robot.errors import DataError

# Rows kept for percentiles: of 100 000, the 99th percentile is known to about 0.03 percent points of rank.
SAMPLE_ROWS = 100_000
PERCENTILES = (1, 50, 99)
# How an episode was made is read with its first pictures; of so many episodes at most, evenly spaced.
KIND_EPISODES = 200


class RunningStats:
    """Count, mean, standard deviation, extremes and percentiles of the finite values of D columns.

    Bounded memory: percentiles are those of all rows up to ``SAMPLE_ROWS``, and of a uniform random
    sample of so many when there are more.

    Attributes:
        rows: rows seen.
        count: int64 [D], finite values.
        mean, low, high: float64 [D]; not a number where there was no finite value.

    Args:
        dims: D.
        rng: draws the sample.
    """

    def __init__(self, dims: int, rng: np.random.Generator) -> None:
        self.rows = 0
        self.count = np.zeros(dims, np.int64)
        self._mean = np.zeros(dims)
        self._squares = np.zeros(dims)
        self._low, self._high = np.full(dims, np.inf), np.full(dims, -np.inf)
        self._rng = rng
        self._sample = np.zeros((0, dims), np.float32)
        self._keys = np.zeros(0)

    def add(self, rows: np.ndarray) -> None:
        """Count float [n, D]."""
        if not len(rows):
            return
        values = rows.astype(np.float64)
        finite = np.isfinite(values)
        count = finite.sum(axis=0)
        mean = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(finite, values - mean, 0.0) ** 2).sum(axis=0)
        # Chan, Golub and LeVeque: two groups' means and squared deviations make those of both.
        total = np.maximum(self.count + count, 1)
        delta = np.where(count > 0, mean - self._mean, 0.0)
        self._mean += delta * count / total
        self._squares += squares + delta**2 * self.count * count / total
        self.count += count
        self._low = np.minimum(self._low, np.where(finite, values, np.inf).min(axis=0))
        self._high = np.maximum(self._high, np.where(finite, values, -np.inf).max(axis=0))
        self.rows += len(rows)
        self._draw(rows)

    @property
    def mean(self) -> np.ndarray:
        return self._known(self._mean)

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation float64 [D]."""
        return self._known(np.sqrt(self._squares / np.maximum(self.count, 1)))

    @property
    def low(self) -> np.ndarray:
        return self._known(self._low)

    @property
    def high(self) -> np.ndarray:
        return self._known(self._high)

    def percentiles(self) -> np.ndarray:
        """float64 [len(PERCENTILES), D], linearly interpolated."""
        values = np.where(np.isfinite(self._sample), self._sample, np.nan).astype(np.float64)
        known = self.count > 0
        result = np.full((len(PERCENTILES), len(known)), np.nan)
        if known.any():
            seen = np.isfinite(values).any(axis=0) & known
            result[:, seen] = np.nanpercentile(values[:, seen], PERCENTILES, axis=0)
        return result

    @property
    def sampled(self) -> bool:
        """Whether percentiles are those of a sample."""
        return self.rows > len(self._sample)

    def _draw(self, rows: np.ndarray) -> None:
        """Every row has a random key; those with the lowest keys are the sample."""
        keys = np.concatenate([self._keys, self._rng.random(len(rows))])
        sample = np.concatenate([self._sample, rows.astype(np.float32)])
        if len(keys) > SAMPLE_ROWS:
            keep = np.argpartition(keys, SAMPLE_ROWS)[:SAMPLE_ROWS]
            keys, sample = keys[keep], sample[keep]
        self._keys, self._sample = keys, sample

    def _known(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.count > 0, values, np.nan)


class PixelStats:
    """Mean and standard deviation of each colour channel, for pixels scaled to [0, 1]."""

    def __init__(self) -> None:
        self._histogram = np.zeros((3, 256), np.int64)

    def add(self, frames: np.ndarray) -> None:
        """Count uint8 [T, H, W, 3]."""
        for frame in frames:  # one at a time: counting needs 8 bytes a pixel
            for channel in range(3):
                self._histogram[channel] += np.bincount(frame[..., channel].ravel(), minlength=256)

    def mean_std(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [3] each; not a number without a picture."""
        values = np.arange(256) / 255.0
        total = self._histogram.sum(axis=1, keepdims=True)
        weights = np.where(total > 0, self._histogram / np.maximum(total, 1), np.nan)
        mean = weights @ values
        return mean, np.sqrt(np.maximum(weights @ values**2 - mean**2, 0.0))


@dataclass(frozen=True)
class Statistics:
    """Of chosen episodes of a source."""

    episodes: int
    actions: RunningStats
    states: RunningStats
    pixels: PixelStats


def gather_statistics(
    source: Source,
    episodes: Sequence[int],
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """Read ``episodes`` (as indices), a piece at a time.

    Args:
        seed: of the sample that percentiles are taken from.
        progress: called with (episodes done, all of them) after each.

    Raises:
        DataError: an episode cannot be decoded.
    """
    rng = np.random.default_rng(seed)
    contract = source.contract
    actions, states = RunningStats(len(contract.actions), rng), RunningStats(len(contract.states), rng)
    pixels = PixelStats()
    for done, index in enumerate(episodes, start=1):
        for start, piece in chunks(source, index):
            new = slice(min(start, 1), None)  # without the frame that the piece before ended with
            actions.add(piece.actions)
            states.add(piece.states[new])
            pixels.add(piece.frames[new])
        progress(done, len(episodes))
    return Statistics(len(episodes), actions, states, pixels)


def count_kinds(source: Source) -> tuple[dict[str, int], int]:
    """How often each kind of episode occurs, among at most ``KIND_EPISODES`` evenly spaced ones.

    Returns:
        Kinds, the most frequent first, and the number of episodes that cannot be decoded.
    """
    kinds: Counter[str] = Counter()
    unreadable = 0
    for index in spaced(len(source), KIND_EPISODES):
        try:
            kinds[source.read(index, 0, 1).kind] += 1
        except DataError:
            unreadable += 1
    return dict(kinds.most_common()), unreadable


def spaced(count: int, most: int) -> list[int]:
    """At most ``most`` of range(count), evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
