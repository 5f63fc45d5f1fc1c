"""Which frame an action belongs to: estimated from how the robot moves.

Action t is to lead from frame t to frame t + 1. Whether it does is seen in the proprioception: for
every lag L, the changes state[t + 1 + L] - state[t + L] are explained with action[t] by least
squares, and the lag that explains best is where the actions are. An action that is a target
position instead of a change explains only together with where the robot is, so that states which
such actions follow are part of both the model and what it is compared with.

All lags are measured on the same rows t, out of sample: each of a few groups of rows with the
coefficients of the others. The groups also tell how far a difference of two lags can be trusted,
which a fixed margin does not when actions resemble their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepa_robot.spec import Contract

LAGS = tuple(range(-3, 4))
GROUPS = 8
# Rows that go to one group together: neighbours are alike, and would tell of each other across groups.
BLOCK = 12
# Only so many states are looked at: the sums grow with their square, and a robot has fewer joints.
MAX_STATES = 64
# A state of which no lag explains a tenth is not moved by the actions (an object, a camera's pose).
EXPLAINED = 0.1
# Fewer rows than this for every coefficient, or at all, say nothing.
ROWS_PER_COEFFICIENT, MIN_ROWS = 4, 40
# A best lag other than 0 is clear when it explains this much more, ...
MARGIN = 0.02
# ... and the logarithm of the ratio of what is left is this many standard errors (chance: about 1 in 400).
STANDARD_ERRORS = 4.0
# An action that follows a state's own value this closely is a target for that state.
TARGET_CORRELATION = 0.9
_PERIODS = {"rad": 2 * np.pi, "deg": 360.0}


@dataclass(frozen=True)
class Alignment:
    """At which lag actions explain the changes of the states.

    Attributes:
        r2: for each lag the share explained, a mean over ``states``; empty where it cannot be estimated.
        best: the lag with the highest; None where it cannot be estimated.
        shifted: ``best`` is not 0, and clearly better than 0.
        rows: steps that it was estimated from.
        states: names of those that actions explain.
        targets: names of actions taken as target positions.
        reason: why it cannot be estimated, else None.
    """

    r2: dict[int, float]
    best: int | None
    shifted: bool
    rows: int
    states: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    reason: str | None = None


class AlignmentEstimator:
    """Sums over episodes, from which `estimate` finds the lag; its size does not depend on the data's.

    Args:
        contract: of the episodes; says which states are angles, and which actions are changes.
    """

    def __init__(self, contract: Contract) -> None:
        self._actions = contract.actions
        self._states = contract.states[:MAX_STATES]
        self._angles = [j for j, dim in enumerate(self._states) if dim.unit in _PERIODS]
        self._periods = np.array([_PERIODS[self._states[j].unit] for j in self._angles])
        size = 1 + len(self._actions) + 2 * len(self._states)
        # For each group and lag, products of all pairs of (1, action[t], state[t + lag], its change).
        self._sums = np.zeros((GROUPS, len(LAGS), size, size))
        self._rows = np.zeros(GROUPS, np.int64)
        self._block = 0
        self._scale: tuple[np.ndarray, ...] | None = None

    def add(self, states: np.ndarray, actions: np.ndarray) -> None:
        """Count an episode; rows that are not finite are left out.

        Args:
            states: float32 [T + 1, P].
            actions: float32 [T, A].
        """
        states = states[:, :MAX_STATES].astype(np.float64)
        actions = actions.astype(np.float64)
        if self._scale is None:
            self._scale = (*_centre_and_spread(actions), *_centre_and_spread(states))
        first, last = -LAGS[0], len(actions) - LAGS[-1]  # rows for which every lag exists
        for start in range(first, last, BLOCK):
            rows = self._products(states, actions, np.arange(start, min(start + BLOCK, last)))
            group = self._block % GROUPS
            self._sums[group] += rows.transpose(0, 2, 1) @ rows
            self._rows[group] += rows.shape[1]
            self._block += 1

    def estimate(self) -> Alignment:
        """The lag at which actions best explain changes of the states, over everything added."""
        rows, used = int(self._rows.sum()), self._rows > 0
        a, p = len(self._actions), len(self._states)
        targets = self._targets() if rows else {}
        base = [0] + [1 + a + j for j in sorted(set(targets.values()))]
        full = base + list(range(1, 1 + a))
        if rows < max(MIN_ROWS, ROWS_PER_COEFFICIENT * len(full)) or used.sum() < 2:
            return Alignment({}, None, False, rows, reason="too few steps")
        changes = list(range(1 + a + p, 1 + a + 2 * p))
        unexplained = self._errors(used, full, changes)  # [G, lags, P]
        total = self._errors(used, base, changes)
        moving = total.sum(axis=0).min(axis=0) > 1e-9 * rows
        total_sum = np.where(moving, total.sum(axis=0), 1.0)
        r2 = 1 - unexplained.sum(axis=0) / total_sum  # [lags, P]
        kept = moving & (r2.max(axis=0) >= EXPLAINED)
        if not kept.any():
            reason = "actions explain the changes of no state" if moving.any() else "no state ever changes"
            return Alignment({}, None, False, rows, reason=reason)
        mean = r2[:, kept].mean(axis=1)
        best, zero = int(mean.argmax()), LAGS.index(0)
        share = (unexplained / total_sum)[:, :, kept].mean(axis=2)  # [G, lags]
        gain, error = _log_ratio(share[:, zero], share[:, best])
        shifted = best != zero and mean[best] - mean[zero] > MARGIN and gain > STANDARD_ERRORS * error
        return Alignment(
            r2={lag: float(value) for lag, value in zip(LAGS, mean)},
            best=LAGS[best],
            shifted=bool(shifted),
            rows=rows,
            states=tuple(dim.name for dim, keep in zip(self._states, kept) if keep),
            targets=tuple(self._actions[i].name for i in targets),
        )

    # -- internals --------------------------------------------------------------------------

    def _products(self, states: np.ndarray, actions: np.ndarray, at: np.ndarray) -> np.ndarray:
        """[lags, rows, 1 + A + 2P] of the finite ones among rows ``at``, scaled to about 1."""
        assert self._scale is not None
        action_centre, action_spread, state_centre, state_spread = self._scale
        one = np.ones((len(at), 1))
        action = (actions[at] - action_centre) / action_spread
        table = []
        for lag in LAGS:
            state = states[at + lag]
            change = states[at + lag + 1] - state
            change[:, self._angles] -= self._periods * np.round(change[:, self._angles] / self._periods)
            table.append(np.hstack([one, action, (state - state_centre) / state_spread, change / state_spread]))
        stacked = np.stack(table)
        return stacked[:, np.isfinite(stacked).all(axis=(0, 2))]

    def _targets(self) -> dict[int, int]:
        """Action -> the state that it is a target for."""
        a, p = len(self._actions), len(self._states)
        highest = np.full((a, p), -1.0)
        for sums in self._sums.sum(axis=0):
            means = sums[0] / sums[0, 0]
            covariance = sums / sums[0, 0] - np.outer(means, means)
            spread = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
            correlation = covariance / np.outer(spread, spread)
            highest = np.maximum(highest, correlation[1 : 1 + a, 1 + a : 1 + a + p])
        return {
            i: int(highest[i].argmax())
            for i, dim in enumerate(self._actions)
            if p and dim.integrates is None and dim.composes is None and highest[i].max() > TARGET_CORRELATION
        }

    def _errors(self, used: np.ndarray, inputs: list[int], outputs: list[int]) -> np.ndarray:
        """Squared errors [G, lags, outputs] of each group, with the coefficients of all others."""
        sums = self._sums[used]
        total = sums.sum(axis=0)
        errors = np.zeros((len(sums), len(LAGS), len(outputs)))
        for group, own in enumerate(sums):
            others = total - own
            for lag in range(len(LAGS)):
                xx, xy = others[lag][np.ix_(inputs, inputs)], others[lag][np.ix_(inputs, outputs)]
                weights = np.linalg.pinv(xx, rcond=1e-9, hermitian=True) @ xy
                held = own[lag]
                errors[group, lag] = (
                    held[outputs, outputs]
                    - 2 * (weights * held[np.ix_(inputs, outputs)]).sum(axis=0)
                    + (weights * (held[np.ix_(inputs, inputs)] @ weights)).sum(axis=0)
                )
        return np.maximum(errors, 0.0)


def _log_ratio(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """log(sum(a) / sum(b)) of errors [G], and its standard error by the jackknife over groups.

    Only groups without which the ratio would be lower count, twice: one odd row (a wall that stopped the robot) may be
    all that is left in ``b``, and without it the ratio would be ever so much higher, which makes it no less certain.
    """
    a, b = a + 1e-9, b + 1e-9  # nothing left is as good as next to nothing
    ratio = np.log(a.sum() / b.sum())
    lower = np.minimum(np.log((a.sum() - a) / (b.sum() - b)) - ratio, 0.0)
    count = len(a)
    return float(ratio), float(np.sqrt(2 * (count - 1) / count * (lower**2).sum()))


def _centre_and_spread(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [D] of the finite values of [T, D]; 0 and 1 where there are none or one."""
    finite = np.isfinite(array)
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, array, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(finite, array - mean, 0.0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, 1.0)
