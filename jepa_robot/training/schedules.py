"""The learning-rate schedule, as a multiple."""

from __future__ import annotations


def warmup_constant_decay(step: int, steps: int, warmup: float, decay: float) -> float:
    """Factor in (0, 1]: up over the first ``warmup`` share of the steps, 1, down over the last ``decay`` share."""
    up = (step + 1) / max(1.0, warmup * steps)
    down = (steps - step) / max(1.0, decay * steps)
    return min(1.0, up, down)
