"""Stopping a run whose encoder has come to show the same for every frame."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jepa_robot.errors import TrainingError

# Both are needed: the latents' standard deviation over frames is below this share of that before the first step, ...
LEAST_SHARE = 0.05
# ... and at least this share of the dimensions is dead (`jepa_robot.training.health.dead_dims`). In 45 runs of the
# recipes on 18 tasks the deviation never fell below 0.136, a quarter of that of random weights. Without terms against
# collapse it fell to 0.013 of it and all dimensions died, at an effective rank of 165: what is left is noise.
DEAD_SHARE = 0.5
# Or one direction is all that varies, of many before. Those runs had an effective rank of 114 or more.
LEAST_RANK, RANK_BEFORE = 2.0, 20.0
EVALUATIONS = 2  # in a row: one may be of a moment that passes


@dataclass
class CollapseWatch:
    """Looks at the figures of a run's evaluations.

    Attributes:
        mend: what can be changed against a collapse.
        std, rank: ``latent_std`` and ``effective_rank`` before the first step; None where no encoder is trained.
        suspicious: evaluations in a row, up to the last one, that looked collapsed.
    """

    mend: str
    std: float | None = None
    rank: float | None = None
    suspicious: int = 0

    def begin(self, figures: Mapping[str, float]) -> None:
        """Take the figures before the first step as what is normal."""
        self.std, self.rank = figures.get("latent_std"), figures.get("effective_rank")

    def state_dict(self) -> dict[str, float | int | None]:
        """What `load_state_dict` needs to go on in a resumed run."""
        return {"std": self.std, "rank": self.rank, "suspicious": self.suspicious}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.std, self.rank, self.suspicious = state["std"], state["rank"], state["suspicious"]

    def look(self, figures: Mapping[str, float], step: int, where: str | os.PathLike[str]) -> None:
        """Look at the figures after ``step`` steps.

        Raises:
            TrainingError: the encoder has collapsed; names what was measured and what to change.
        """
        if self.std is None or self.rank is None:
            return
        std, rank, dead = figures["latent_std"], figures["effective_rank"], figures["dead_dims"]
        constant = std < LEAST_SHARE * self.std and dead >= DEAD_SHARE
        collapsed = constant or (rank < LEAST_RANK and self.rank >= RANK_BEFORE)
        self.suspicious = self.suspicious + 1 if collapsed else 0
        if self.suspicious >= EVALUATIONS:
            raise TrainingError(
                f"the encoder has collapsed: at step {step} its latents' standard deviation over frames is {std:.2g} "
                f"({self.std:.2g} before the first step), {100 * dead:.0f}% of their dimensions are dead, and their "
                f"effective rank is {rank:.3g} ({self.rank:.3g})",
                where=where,
                mend=f"{self.mend}, in another out=FOLDER",
            )
