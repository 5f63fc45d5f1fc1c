"""What spoils training, looked for in one episode at a time.

Each check is a function of one `Trace` that answers with findings: at most one for a fault in an
array of an episode, with the first step at which it shows and how often it does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jepa_robot.data.format import BOUND_TOLERANCE, OBJECT_KEY, STATE_KEY
from jepa_robot.data.trace import Trace
from jepa_robot.spec import Contract, Dim

# States may leave their bounds by this share of the range: a robot overshoots, and readings are noisy.
STATE_TOLERANCE = 0.01
# Fewer actions than this are no movement, and less than most training windows ...
MIN_STEPS = 4
# ... and an episode of less than this share of the median length was broken off.
SHORT_SHARE = 0.1
# Pictures stand still while the robot moves by this share of a state's range: in 62 000 rendered frames of 64 px,
# where fingers can close unseen behind the hand, 0.05 is found once and this never.
FROZEN_MOVE = 0.1
# A step that moves the robot by this share of a range shows in a picture most of the time, ...
REPEAT_MOVE = 0.01
# ... so that a camera as fast as the data rarely repeats itself then; one of half the rate does every second time.
REPEAT_SHARE, MIN_REPEATS = 0.2, 3
# Frames 1.5 intervals apart lie nearer to two intervals than to one: at least one frame is missing.
GAP_INTERVALS = 1.5
# Clocks and cameras keep their rate better than this.
RATE_TOLERANCE = 0.05
# float32 quaternions, even when rounded to two digits, are closer to norm 1.
QUATERNION_TOLERANCE = 0.02


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        episode: its name; None where the fault concerns the whole source.
        key: the array: ``actions``, ``obs/...`` or ``timestamps``.
        step: where it first shows, an index into the array; None where it shows everywhere.
        kind: which check found it.
        message: what is wrong, and how much of it.
    """

    episode: str | None
    key: str
    step: int | None
    kind: str
    message: str

    def __str__(self) -> str:
        where = [] if self.episode is None else [self.episode]
        step = "" if self.step is None else f" step {self.step}"
        return f"{'/'.join([*where, self.key])}{step}: {self.message}"


def not_finite(trace: Trace, contract: Contract) -> list[Finding]:
    """NaN or infinite actions, states, time stamps, rewards and positions of objects."""
    found = []
    arrays = [(key, array, [dim.name for dim in dims]) for key, array, dims in _arrays(trace, contract)]
    if trace.objects is not None:
        arrays.append((f"obs/{OBJECT_KEY}", trace.objects.values, list(trace.objects.names)))
    for key, array, names in arrays:
        wrong = ~np.isfinite(array)
        if wrong.any():
            step, d = np.argwhere(wrong)[0]
            found.append(
                Finding(trace.name, key, int(step), "not_finite", f"{names[d]} is {array[step, d]}{_more(wrong)}")
            )
    for key, values in (("timestamps", trace.times), ("rewards", trace.rewards)):
        if values is not None and not np.isfinite(values).all():
            wrong = ~np.isfinite(values)
            step = int(wrong.argmax())
            found.append(Finding(trace.name, key, step, "not_finite", f"is {values[step]}{_more(wrong)}"))
    return found


def out_of_bounds(trace: Trace, contract: Contract) -> list[Finding]:
    """Actions outside the contract's bounds, and states clearly so."""
    found = []
    for key, array, dims in _arrays(trace, contract):
        low, high = np.array([d.low for d in dims]), np.array([d.high for d in dims])
        slack = (BOUND_TOLERANCE if key == "actions" else STATE_TOLERANCE) * (high - low)
        wrong = np.isfinite(array) & ((array < low - slack) | (array > high + slack))
        if wrong.any():
            step, d = np.argwhere(wrong)[0]
            dim = dims[d]
            message = f"{dim.name} is {array[step, d]:g}, outside [{dim.low:g}, {dim.high:g}] {dim.unit}{_more(wrong)}"
            found.append(Finding(trace.name, key, int(step), "out_of_bounds", message))
    return found


def short(trace: Trace, median: float) -> list[Finding]:
    """Very few actions, on their own or beside the ``median`` length of all episodes."""
    if len(trace) >= max(MIN_STEPS, SHORT_SHARE * median):
        return []
    message = f"only {len(trace)} actions; half of all episodes have {median:g} or more"
    return [Finding(trace.name, "actions", None, "short", message)]


def blank_pictures(trace: Trace, contract: Contract) -> list[Finding]:
    """Frames that are black, or of one colour throughout."""
    if not trace.blank.any():
        return []
    step = int(trace.blank.argmax())
    message = f"frame is black or of one colour{_more(trace.blank)}"
    return [Finding(trace.name, f"obs/{contract.camera.name}", step, "blank", message)]


def frozen_pictures(trace: Trace, contract: Contract) -> list[Finding]:
    """Frames that stay the same, pixel for pixel, while the robot moves."""
    span = contract.state_high - contract.state_low
    key, found = f"obs/{contract.camera.name}", []
    frozen, alone = 0, trace.repeated.copy()
    first, longest = None, 0
    for start, stop in runs(trace.repeated):  # frames start to stop, both included, are the same
        moved = _largest(np.abs(trace.states[start : stop + 1] - trace.states[start]) / span)
        if moved >= FROZEN_MOVE:
            first = start if first is None else first
            frozen, longest = frozen + 1, max(longest, stop - start)
            alone[start:stop] = False
    if first is not None:
        message = f"frame stays the same for {longest} step{'s' * (longest > 1)} while the robot moves"
        message += f" (and {frozen - 1} more times)" * (frozen > 1)
        found.append(Finding(trace.name, key, first, "frozen", message))
    steps = np.abs(np.diff(trace.states, axis=0)) / span
    moving = np.nan_to_num(steps).max(axis=1, initial=0.0) >= REPEAT_MOVE
    repeats = int((alone & moving).sum())
    if repeats >= MIN_REPEATS and repeats >= REPEAT_SHARE * moving.sum():
        message = f"{repeats} of {int(moving.sum())} steps of a moving robot show the same frame twice"
        found.append(Finding(trace.name, key, int((alone & moving).argmax()), "repeated", message))
    return found


def lost_frames(trace: Trace, contract: Contract) -> list[Finding]:
    """Time stamps that run backwards, leave gaps, or have another rate than the contract's."""
    if trace.times is None or not np.isfinite(trace.times).all():
        return []
    found = []
    intervals, period = np.diff(trace.times), 1 / contract.fps
    typical = _typical(intervals)
    backwards = intervals <= 0
    if backwards.any():
        step = int(backwards.argmax())
        message = f"the next frame is {-intervals[step]:g} s earlier{_more(backwards)}"
        if intervals[step] == 0:
            message = f"the next frame has the same time{_more(backwards)}"
        found.append(Finding(trace.name, "timestamps", step, "time_order", message))
    if typical > 0 and abs(typical - period) > RATE_TOLERANCE * period:
        message = f"frames are {typical:.4g} s apart ({1 / typical:.4g} a second), not {contract.fps:g} a second"
        found.append(Finding(trace.name, "timestamps", None, "rate", message))
        period = typical
    gaps = intervals > GAP_INTERVALS * period
    if gaps.any():
        step = int(gaps.argmax())
        missing = round(float(intervals[step]) / period) - 1
        message = f"the next frame is {intervals[step]:.4g} s later instead of {period:.4g}"
        message += f": about {max(missing, 1)} missing{_more(gaps)}"
        found.append(Finding(trace.name, "timestamps", step, "gap", message))
    return found


def still_actions(trace: Trace, contract: Contract) -> list[Finding]:
    """One action from beginning to end although the robot moves: commands that were not recorded."""
    if len(trace) < MIN_STEPS or not (trace.actions == trace.actions[0]).all():
        return []
    there_and_back = np.abs(trace.states - trace.states[0]) / (contract.state_high - contract.state_low)
    steps = np.diff(trace.states, axis=0)
    # A constant velocity is one action too: its steps are all alike.
    alike = np.allclose(steps, steps.mean(axis=0), atol=0.1 * np.abs(steps).max(initial=0.0))
    if alike or _largest(there_and_back) < FROZEN_MOVE:
        return []
    return [Finding(trace.name, "actions", None, "constant", "never change although the robot does different things")]


def quaternions(trace: Trace, contract: Contract) -> list[Finding]:
    """Groups of four dimensions named as a quaternion whose norm is not 1 (states only: actions may be changes)."""
    found = []
    for start in quaternion_starts(contract.states):
        norms = np.linalg.norm(trace.states[:, start : start + 4].astype(np.float64), axis=1)
        wrong = np.isfinite(norms) & (np.abs(norms - 1) > QUATERNION_TOLERANCE)
        if wrong.any():
            step, names = int(wrong.argmax()), [d.name for d in contract.states[start : start + 4]]
            message = f"quaternion {names[0]} to {names[3]} has norm {norms[step]:.3g}{_more(wrong)}"
            found.append(Finding(trace.name, f"obs/{STATE_KEY}", step, "quaternion", message))
    return found


def quaternion_starts(dims: Sequence[Dim]) -> list[int]:
    """Where four dimensions of a quaternion begin: named ...quat..., or qx, qy, qz, qw in any order."""
    starts, run = [], 0
    for i, dim in enumerate(dims):
        run = run + 1 if re.search(r"quat|(^|[^a-z])q_?[wxyz]$", dim.name.lower()) else 0
        if run == 4:
            starts.append(i - 3)
            run = 0
    return starts


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of every run of true values of bool [T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def _arrays(trace: Trace, contract: Contract) -> list[tuple[str, np.ndarray, tuple[Dim, ...]]]:
    return [("actions", trace.actions, contract.actions), (f"obs/{STATE_KEY}", trace.states, contract.states)]


def _typical(intervals: np.ndarray) -> float:
    """Mean of the intervals without gaps; 0 where time does not run forwards."""
    median = np.median(intervals)
    regular = intervals[(intervals > 0) & (intervals <= GAP_INTERVALS * median)]
    return float(regular.mean()) if len(regular) else 0.0


def _largest(values: np.ndarray) -> float:
    return float(np.nan_to_num(values, posinf=0.0).max(initial=0.0))


def _more(wrong: np.ndarray) -> str:
    others = int(wrong.sum()) - 1
    return f" (and {others} more)" if others else ""
