"""Whether an energy knows how far the goal is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def rank_correlation(energies: Sequence[float], distances: Sequence[float]) -> float | None:
    """Spearman's rank correlation of energies with true distances over an episode, -1 to 1.

    1: the energy falls whenever the distance does. Moments without a finite pair are left out. None where fewer than
    3 are left, or one of the two never changes.
    """
    from scipy.stats import spearmanr  # takes half a second to load

    pairs = np.array([energies, distances], float)
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    if pairs.shape[1] < 3 or (np.ptp(pairs, axis=1) == 0).any():
        return None
    return float(spearmanr(*pairs).statistic)
