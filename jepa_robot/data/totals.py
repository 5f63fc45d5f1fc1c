"""What only all episodes together show: constant and clipped actions, units that cannot be, duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jepa_robot.data.checks import Finding, quaternion_starts
from jepa_robot.data.format import BOUND_TOLERANCE, STATE_KEY
from jepa_robot.data.trace import Trace
from jepa_robot.spec import Contract, Dim

# A demonstrator at its speed limit is there for a fifth of the steps; more has been cut off.
CLIPPED_SHARE = 0.3
# Extremes of the data are where an action was cut off when it is at both for this share; one alone may be a home pose.
BOTH_SIDES = 0.05
# An action that is at its bounds nearly always, or has so few values, is a switch: it belongs there.
SWITCH_SHARE, SWITCH_VALUES = 0.8, 3
# Two turns in radians; in degrees, half of all headings are beyond that.
MOST_RADIANS = 4 * np.pi
# A joint that says degrees and never leaves one turn of radians, though it moves.
MOST_RADIANS_AS_DEGREES = 2 * np.pi
# Hands stay within metres of their base, and a hand that is moved by a metre in one step is not safe.
MOST_METRES, MOST_METRES_A_STEP = 10.0, 1.0
# One action of its state's unit moves the state by about 1; factors of wrong units, found to within a fifth ...
UNIT_FACTORS = {1000.0: "m and mm", 0.001: "mm and m", 180 / np.pi: "rad and deg", np.pi / 180: "deg and rad"}
FACTOR_TOLERANCE = 0.2
# ... where the action explains at least this share of the state's changes.
FACTOR_R2 = 0.5


class Totals:
    """Sums over all episodes; nothing grows with their length."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        a, p = len(contract.actions), len(contract.states)
        self._low = [np.full(n, np.inf) for n in (a, p)]
        self._high = [np.full(n, -np.inf) for n in (a, p)]
        self._rows = 0
        self._at_bounds = np.zeros((2, a), np.int64)  # at the lower, at the upper
        self._at_extremes = np.zeros((2, a), np.int64)  # at the lowest, at the highest that there was so far
        self._values: list[set[float]] = [set() for _ in range(a)]
        self._products = np.zeros((3, a))  # of action and change of the state that it integrates into: aa, as, ss
        self._digests: dict[bytes, str] = {}

    def add(self, trace: Trace) -> list[Finding]:
        """Count an episode; a finding where it was there before."""
        self._count_extremes(trace)
        for i, array in enumerate((trace.actions, trace.states)):
            finite = np.isfinite(array)
            self._low[i] = np.minimum(self._low[i], np.where(finite, array, np.inf).min(axis=0))
            self._high[i] = np.maximum(self._high[i], np.where(finite, array, -np.inf).max(axis=0))
        self._rows += len(trace)
        low, high = self._contract.action_low, self._contract.action_high
        slack = BOUND_TOLERANCE * (high - low)
        self._at_bounds += [(trace.actions <= low + slack).sum(axis=0), (trace.actions >= high - slack).sum(axis=0)]
        for values, column in zip(self._values, trace.actions.T):
            if len(values) <= SWITCH_VALUES:
                values.update(np.unique(column)[: SWITCH_VALUES + 1].tolist())
        self._add_products(trace)
        first = self._digests.setdefault(trace.digest, trace.name)
        if first == trace.name:
            return []
        return [Finding(trace.name, "actions", None, "duplicate", f"the episode has the content of {first}")]

    def findings(self) -> list[Finding]:
        """Everything that all episodes together show."""
        c, found = self._contract, []
        for key, dims, low, high in zip(("actions", f"obs/{STATE_KEY}"), (c.actions, c.states), self._low, self._high):
            found += constant_dims(key, dims, low, high)
            found += unlikely_units(key, dims, low, high)
        values = np.array([len(v) for v in self._values])
        bounds, extremes = (counts / max(self._rows, 1) for counts in (self._at_bounds, self._at_extremes))
        # Bounds that no action reaches (robomimic's [-1, 1]) do not hide that actions were cut off before.
        cut = extremes.min(axis=0) >= BOTH_SIDES
        ends = [replace(d, low=float(lo), high=float(hi)) for d, lo, hi in zip(c.actions, self._low[0], self._high[0])]
        dims = [end if narrower else dim for end, dim, narrower in zip(ends, c.actions, cut)]
        found += clipped_actions(dims, np.where(cut, np.maximum(bounds, extremes), bounds), values)
        return found + wrong_factors(c, self._products)

    def _count_extremes(self, trace: Trace) -> None:
        """Before `_low` and `_high` know the episode: actions that equal the lowest and the highest of all so far."""
        for side, (known, beyond) in enumerate(((self._low[0], np.minimum), (self._high[0], np.maximum))):
            finite = np.where(np.isfinite(trace.actions), trace.actions, known)
            extreme = beyond(known, beyond.reduce(finite, axis=0))
            self._at_extremes[side][extreme != known] = 0
            self._at_extremes[side] += (trace.actions == extreme).sum(axis=0)

    def _add_products(self, trace: Trace) -> None:
        names = [dim.name for dim in self._contract.states]
        for i, dim in enumerate(self._contract.actions):
            if dim.integrates is not None:
                action = trace.actions[:, i].astype(np.float64)
                change = np.diff(trace.states[:, names.index(dim.integrates)].astype(np.float64))
                both = np.isfinite(action) & np.isfinite(change)
                action, change = action[both], change[both]
                self._products[:, i] += [action @ action, action @ change, change @ change]


def constant_dims(key: str, dims: Sequence[Dim], low: np.ndarray, high: np.ndarray) -> list[Finding]:
    """Dimensions that have one value in all episodes; ``low`` and ``high`` [D] are the extremes found.

    Parts of a quaternion may: a hand that turns about one axis only does not change two of them.
    """
    turning = {start + i for start in quaternion_starts(dims) for i in range(4)}
    return [
        Finding(None, key, None, "constant", f"{dim.name} is {lo:g} in every step of every episode")
        for i, (dim, lo, hi) in enumerate(zip(dims, low, high))
        if lo == hi and i not in turning
    ]


def clipped_actions(dims: Sequence[Dim], at_bounds: np.ndarray, values: np.ndarray) -> list[Finding]:
    """Actions of which a large share lies exactly at the bounds.

    Args:
        dims: with the bounds: the contract's, or the extremes that the data keep to.
        at_bounds: [2, A], shares of the steps at the lower and upper bound.
        values: [A], different values of each action (counting may stop after a few).
    """
    found = []
    for dim, (low, high), count in zip(dims, at_bounds.T, values):
        switch = count <= SWITCH_VALUES or low + high >= SWITCH_SHARE
        # What cannot be negative (the opening of a gripper) rests at its stop by nature.
        if low + high >= CLIPPED_SHARE and not switch and dim.low < 0:
            message = f"{dim.name} is at its bounds in {100 * (low + high):.0f}% of the steps"
            message += f" ({dim.low:g}: {100 * low:.0f}%, {dim.high:g}: {100 * high:.0f}%): cut off there?"
            found.append(Finding(None, "actions", None, "clipped", message))
    return found


def unlikely_units(key: str, dims: Sequence[Dim], low: np.ndarray, high: np.ndarray) -> list[Finding]:
    """Radians that look like degrees, degrees like radians, metres like millimetres; by the extremes found [D]."""
    found = []
    for dim, lo, hi in zip(dims, low, high):
        if not lo <= hi:
            continue  # never finite
        largest = max(abs(lo), abs(hi))
        metres = MOST_METRES_A_STEP if dim.integrates is not None else MOST_METRES
        looks = None
        if dim.unit == "rad" and largest > MOST_RADIANS:
            looks = "degrees"
        elif dim.unit == "deg" and key != "actions" and 0 < largest <= MOST_RADIANS_AS_DEGREES and lo < hi:
            looks = "radians"
        elif dim.unit == "m" and largest > metres:
            looks = "millimetres"
        if looks is not None:
            message = f"{dim.name} is from {lo:g} to {hi:g} {dim.unit}: looks like {looks}"
            found.append(Finding(None, key, None, "units", message))
    return found


def wrong_factors(contract: Contract, products: np.ndarray) -> list[Finding]:
    """Actions that move the state that they are added to by a factor between two units.

    Args:
        products: [3, A], sums of action * action, action * change and change * change.
    """
    found = []
    units = {dim.name: dim.unit for dim in contract.states}
    for dim, (aa, ac, cc) in zip(contract.actions, products.T):
        if dim.integrates is None:
            continue
        if dim.unit != units[dim.integrates]:
            message = f"{dim.name} is in {dim.unit}, but is added to {dim.integrates} in {units[dim.integrates]}"
            found.append(Finding(None, "actions", None, "units", message))
        elif aa > 0 and cc > 0 and ac**2 / (aa * cc) >= FACTOR_R2:
            for factor, names in UNIT_FACTORS.items():
                if abs(ac / aa / factor - 1) <= FACTOR_TOLERANCE:
                    message = f"{dim.name} of 1 moves {dim.integrates} by {ac / aa:.3g}: looks like {names}"
                    found.append(Finding(None, "actions", None, "units", message))
    return found
