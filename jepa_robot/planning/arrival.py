"""When to stop: decided from the pictures alone."""

from __future__ import annotations

from jepa_robot.errors import ConfigError


class ArrivalRule:
    """Says that the goal is reached when the current frame's energy stops falling.

    Energies of a learned model have no absolute scale, so by default only a plateau counts: for
    ``patience`` steps in a row the lowest energy seen has not fallen by more than the fraction
    ``min_improvement``. On a plateau the robot trembles by the model's error, so it stops where the energy is
    at most ``slack`` times the lowest seen, or anywhere after twice the patience. ``tolerance`` is for models
    whose energies are calibrated: an energy at or below it means arrival at once. A plateau far from the goal
    ends the run as well, so arrival is the planner's belief; whether it is true is for the task to say.
    """

    def __init__(self, patience: int, min_improvement: float, slack: float, tolerance: float | None = None):
        if patience < 1:
            raise ConfigError(f"patience is {patience}", where="planner", expected="at least 1 step")
        if not 0 <= min_improvement < 1:
            raise ConfigError(f"min_improvement is {min_improvement}", where="planner", expected="0 to below 1")
        if not slack >= 1:
            raise ConfigError(f"slack is {slack}", where="planner", expected="at least 1")
        if tolerance is not None and not tolerance >= 0:
            raise ConfigError(f"tolerance is {tolerance}", where="planner", expected="at least 0, or null")
        self.patience, self.min_improvement, self.slack, self.tolerance = patience, min_improvement, slack, tolerance
        self.reset()

    def reset(self) -> None:
        """Forget the run so far."""
        self._lowest = float("inf")
        self._steps_without = 0

    def update(self, energy: float, step: bool = True) -> bool:
        """Take the energy of the newest frame; True when the goal counts as reached.

        Args:
            step: False for the same moment once more, which is none without progress.
        """
        if energy < self._lowest * (1 - self.min_improvement) or self._lowest == float("inf"):
            self._lowest, self._steps_without = energy, 0
        else:
            self._steps_without += step
        if self.tolerance is not None and energy <= self.tolerance:
            return True
        near_lowest = energy <= self.slack * self._lowest
        return self._steps_without >= (self.patience if near_lowest else 2 * self.patience)
