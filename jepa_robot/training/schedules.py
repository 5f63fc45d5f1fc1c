"""What changes over a run: the learning rate as a multiple, the teacher's momentum, the weight decay."""

from __future__ import annotations

import math


def warmup_constant_decay(step: int, steps: int, warmup: float, decay: float, shape: str = "linear") -> float:
    """Factor in (0, 1]: up over the first ``warmup`` share of the steps, 1, down over the last ``decay`` share.

    Down in a straight line, or with ``shape`` "cosine" along half a cosine: with decay = 1 - warmup that is the
    warm-up and cosine of V-JEPA and I-JEPA.
    """
    up = (step + 1) / max(1.0, warmup * steps)
    down = min(1.0, (steps - step) / max(1.0, decay * steps))
    if shape == "cosine":
        down = 0.5 * (1 - math.cos(math.pi * down))
    return min(1.0, up, down)


def linear(start: float, end: float, step: int, steps: int) -> float:
    """From ``start`` at step 0 to ``end`` at step ``steps`` in a straight line: V-JEPA's momentum of the teacher."""
    return start + (end - start) * step / steps


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """From ``start`` at step 0 to ``end`` at step ``steps`` along half a cosine: V-JEPA's weight decay."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * step / steps))
