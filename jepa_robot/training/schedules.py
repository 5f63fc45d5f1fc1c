"""Learning-rate and momentum schedules, as multiples and values of the step."""

from __future__ import annotations


def warmup_constant_decay(step: int, steps: int, warmup: float, decay: float) -> float:
    """Factor in (0, 1]: linear up over the first ``warmup`` share of the steps, 1, linear down over the last ``decay`` share."""
    up = (step + 1) / max(1.0, warmup * steps)
    down = (steps - step) / max(1.0, decay * steps)
    return min(1.0, up, down)


def linear(step: int, steps: int, start: float, end: float) -> float:
    """Value that goes straight from ``start`` to ``end`` over the steps."""
    return start + (end - start) * step / max(1, steps - 1)
