"""All checks of all episodes of a source, each read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jepa_robot.data import checks
from jepa_robot.data.alignment import Alignment, AlignmentEstimator
from jepa_robot.data.checks import Finding
from jepa_robot.data.source import Source
from jepa_robot.data.totals import Totals
from jepa_robot.data.trace import read_trace
from jepa_robot.errors import DataError

EPISODE_CHECKS = (
    checks.not_finite,
    checks.out_of_bounds,
    checks.blank_pictures,
    checks.frozen_pictures,
    checks.lost_frames,
    checks.still_actions,
    checks.quaternions,
)


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        episodes: that were read.
        steps: their actions.
        unreadable: episodes that could not be decoded; each is a finding, too.
        alignment: of actions and frames.
        findings: everything that is wrong, in the order of the episodes, then what concerns all of them.
    """

    episodes: int
    steps: int
    unreadable: int
    alignment: Alignment
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def inspect(
    source: Source, skip_broken: bool = False, progress: Callable[[int, int], None] = lambda done, total: None
) -> Report:
    """Read every episode once and check it.

    Args:
        skip_broken: make an episode that cannot be decoded a finding instead of an error.
        progress: called with (episodes done, all of them) after each.

    Raises:
        DataError: an episode cannot be decoded; with ``skip_broken``, none can.
    """
    contract = source.contract
    totals, estimator = Totals(contract), AlignmentEstimator(contract)
    median = float(np.median(source.lengths))
    findings: list[Finding] = []
    episodes = steps = 0
    broken: DataError | None = None
    for index in range(len(source)):
        try:
            trace = read_trace(source, index)
        except DataError as error:
            if not skip_broken:
                raise
            broken = broken or error
            findings.append(Finding(source.names[index], "episode", None, "unreadable", str(error)))
        else:
            for check in EPISODE_CHECKS:
                findings += check(trace, contract)
            findings += checks.short(trace, median)
            findings += totals.add(trace)
            estimator.add(trace.states, trace.actions)
            episodes, steps = episodes + 1, steps + len(trace)
        progress(index + 1, len(source))
    if broken is not None and episodes == 0:
        raise broken
    alignment = estimator.estimate()
    findings += totals.findings() + misaligned(alignment)
    return Report(episodes, steps, len(source) - episodes, alignment, tuple(findings))


def misaligned(alignment: Alignment) -> list[Finding]:
    """Actions that belong to other frames than those that they lie beside."""
    if not alignment.shifted or alignment.best is None:
        return []
    lag, r2 = alignment.best, alignment.r2
    late = "frames lag behind actions" if lag > 0 else "actions lag behind frames"
    message = (
        f"action t explains the change from frame t{lag:+d} to t{lag + 1:+d} (R2 {r2[lag]:.2f}) and not "
        f"the one from t to t+1 (R2 {r2[0]:.2f}): {late} by {abs(lag)} step{'s' * (abs(lag) > 1)}"
    )
    return [Finding(None, "actions", None, "alignment", message.replace("t+0", "t"))]
