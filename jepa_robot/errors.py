"""Errors that a user can mend. The command line prints one line of them and exits 2."""

from __future__ import annotations


class JepaRobotError(Exception):
    """What went wrong, where, what was expected there, and what to do about it, on one line.

    Args:
        what: what is wrong, e.g. ``"picture is 32x32 pixels"``.
        where: the file, option or field concerned.
        expected: what would have been right.
        mend: what the user can do next.
    """

    def __init__(self, what: str, *, where: object = None, expected: object = None, mend: str | None = None):
        self.what, self.where, self.expected, self.mend = what, where, expected, mend
        parts = [f"{where}: {what}" if where is not None else what]
        if expected is not None:
            parts.append(f"expected {expected}")
        if mend is not None:
            parts.append(mend)
        super().__init__(" ".join("; ".join(parts).split()))


class ContractError(JepaRobotError):
    """Two sides disagree about frames, actions or proprioception."""


class DataError(JepaRobotError):
    """Recorded trajectories cannot be read, or are not what they claim to be."""


class CheckpointError(JepaRobotError):
    """A checkpoint cannot be read, or does not hold the model asked for."""


class GoalError(JepaRobotError):
    """A goal picture cannot be used."""


class NoveltyError(GoalError):
    """A goal picture is unlike everything that the model was trained on."""


class ConfigError(JepaRobotError):
    """An option, override or configuration value is wrong."""


class TaskError(JepaRobotError):
    """A task is unknown, or its simulator cannot run here."""


class PlanningError(JepaRobotError):
    """No plan can be made: an observation or the model's numbers are unusable."""


class TrainingError(JepaRobotError):
    """Training cannot start, or went wrong for certain (not-a-number, collapse)."""


class OutputError(JepaRobotError):
    """A result cannot be written (disk full, no permission, path in use)."""
