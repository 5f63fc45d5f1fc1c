"""Where a task's objects are in every frame: known to a simulator only, recorded to judge what a model has learnt.

No model, planner or normalisation reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jepa_robot.errors import DataError

_MEND = "record the episode again"


@dataclass(frozen=True)
class Objects:
    """The objects' K coordinates in n frames.

    Attributes:
        names: of the coordinates, such as ``object_x``.
        units: theirs, such as ``m``.
        values: float32 [n, K].
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Objects:
        """The same of some of the frames."""
        return Objects(self.names, self.units, self.values[rows])

    def dims_text(self) -> str:
        """Names and units, as a file keeps them (JSON)."""
        return json.dumps([list(dim) for dim in zip(self.names, self.units)])

    @classmethod
    def from_text(cls, text: str, values: np.ndarray, where: object) -> Objects:
        """Inverse of `dims_text`.

        Raises:
            DataError: ``text`` is none of those; names ``where``.
        """
        try:
            dims = json.loads(text)
            names, units = zip(*((str(name), str(unit)) for name, unit in dims))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"has the names {text!r}", where=where, expected='[["object_x", "m"], ...]', mend=_MEND
            ) from error
        return cls(names, units, values)

    def check(self, frames: int, where: object) -> None:
        """See `check_shape`, and that every coordinate is finite.

        Raises:
            DataError: names ``where``.
        """
        self.check_shape(frames, where)
        wrong = np.argwhere(~np.isfinite(self.values))
        if len(wrong):
            step, k = wrong[0]
            raise DataError(
                f"{self.names[k]} at step {step} is {self.values[step, k]:g}", where=where, expected="a finite number",
                mend=_MEND,
            )

    def check_shape(self, frames: int, where: object) -> None:
        """Compare with the number of frames, and that every coordinate has a name and a unit.

        Raises:
            DataError: names ``where``.
        """
        wanted = frames, len(self.names)
        found = (np.asarray(self.values).dtype, np.shape(self.values))
        if found != (np.dtype(np.float32), wanted) or len(self.units) != len(self.names):
            raise DataError(
                f"is {found[0]} {list(found[1])} in {len(self.units)} units", where=where,
                expected=f"float32 {list(wanted)}, a unit for each of {len(self.names)} names", mend=_MEND,
            )


def joined(parts: Sequence[Objects | None]) -> Objects | None:
    """All frames of all parts; None unless each has the same coordinates."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts) or len({(part.names, part.units) for part in known}) > 1:
        return None
    return Objects(known[0].names, known[0].units, np.concatenate([part.values for part in known]))
