"""What a file of recorded trajectories holds.

The layout is robomimic's: T observations for T actions under ``data/demo_i``. The frame that the
last action leads to lies beside them in ``final_obs``, so that an episode is T + 1 frames here and
T observations for every other reader. ``datasets/README.md`` lists every key.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np

from jepa_robot.data.objects import Objects
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract, Dim

STATE_KEY = "proprio"
# Where the task's objects are, and the attribute of an episode with their names and units: robomimic's name for it.
OBJECT_KEY, OBJECT_DIMS = "object", "object_dims"
# Attribute of an episode whose rewards were recorded; without it, the zeros there only please robomimic's readers.
REWARDED = "has_rewards"
# Attribute of an episode in whose task there is an object, and somebody looked how often that moved.
OBJECT_MOVES = "object_moves"
COMPRESSIONS = ("blosc", "gzip", "none")
# Recorded actions are float32; a bound that is not exactly representable may be missed by one rounding.
BOUND_TOLERANCE = 1e-5
_MEND = "record the episode again"
# The header of an HDF5 object, where its attributes lie, has 64 KiB.
_FIXED_BYTES = 50_000


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T actions.

    Attributes:
        frames: uint8 [T + 1, H, W, 3] RGB, the contract's first camera.
        states: float32 [T + 1, P], proprioception in physical units.
        actions: float32 [T, A] in physical units; action t leads from frame t to frame t + 1.
        kind: how the actions were chosen, e.g. ``"expert"``.
        seed: what the episode was made from.
        times: float64 [T + 1], when each frame was taken, seconds on any clock; None where nobody knows.
        rewards: float32 [T], what each action earned; None where nobody counted.
        object_moves: how many of the T actions moved the task's object; None where there is none, or nobody looked.
        objects: where the task's objects are in the T + 1 frames; None where there are none, or nobody recorded it.
    """

    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    kind: str = "unknown"
    seed: int = 0
    times: np.ndarray | None = None
    rewards: np.ndarray | None = None
    object_moves: int | None = None
    objects: Objects | None = None

    def check(self, contract: Contract, where: object, step: int = 1) -> None:
        """Compare the episode with ``contract``: shapes, and that every number is finite and in its bounds.

        Args:
            step: `frames` holds every ``step``-th frame only, as in `Source.read_window`.

        Raises:
            DataError: names ``where``, the key, and the step of the first wrong value.
        """
        self.check_shapes(contract, where, step)
        states, actions = f"{where}/obs/{STATE_KEY}", f"{where}/actions"
        _refuse_first(~np.isfinite(self.states), self.states, contract.states, states, finite=True)
        _refuse_first(~np.isfinite(self.actions), self.actions, contract.actions, actions, finite=True)
        slack = BOUND_TOLERANCE * (contract.action_high - contract.action_low)
        outside = (self.actions < contract.action_low - slack) | (self.actions > contract.action_high + slack)
        _refuse_first(outside, self.actions, contract.actions, actions, finite=False)
        if self.rewards is not None and not np.isfinite(self.rewards).all():
            first = int(np.flatnonzero(~np.isfinite(self.rewards))[0])
            raise DataError(
                f"is {self.rewards[first]:g} at step {first}", where=f"{where}/rewards", expected="a finite number",
                mend=_MEND,
            )
        if self.objects is not None:
            self.objects.check(len(self.actions) + 1, f"{where}/obs/{OBJECT_KEY}")

    def check_shapes(self, contract: Contract, where: object, step: int = 1) -> None:
        """Compare types and shapes with ``contract``; see `check`.

        Raises:
            DataError: names ``where`` and the key.
        """
        steps = len(self.actions) if np.ndim(self.actions) else 0
        camera = contract.camera
        if steps == 0:
            raise DataError("has no actions", where=f"{where}/actions", expected="at least one", mend=_MEND)
        wanted = {
            f"obs/{camera.name}": (self.frames, np.uint8, (steps // step + 1, camera.height, camera.width, 3)),
            f"obs/{STATE_KEY}": (self.states, np.float32, (steps + 1, len(contract.states))),
            "actions": (self.actions, np.float32, (steps, len(contract.actions))),
        }
        if self.times is not None:
            wanted["timestamps"] = (self.times, np.float64, (steps + 1,))
        if self.rewards is not None:
            wanted["rewards"] = (self.rewards, np.float32, (steps,))
        if self.objects is not None:
            self.objects.check_shape(steps + 1, f"{where}/obs/{OBJECT_KEY}")
        for key, (array, dtype, shape) in wanted.items():
            found = (np.asarray(array).dtype, np.shape(array))
            if found != (np.dtype(dtype), shape):
                raise DataError(
                    f"is {found[0]} {list(found[1])}",
                    where=f"{where}/{key}",
                    expected=f"{np.dtype(dtype)} {list(shape)} (observations count the final one)",
                    mend=_MEND,
                )


def _refuse_first(wrong: np.ndarray, array: np.ndarray, dims: tuple[Dim, ...], where: str, finite: bool) -> None:
    if wrong.any():
        step, d = (int(i) for i in np.argwhere(wrong)[0])
        dim = dims[d]
        raise DataError(
            f"{dim.name} at step {step} is {array[step, d]:g}",
            where=where,
            expected="a finite number" if finite else f"[{dim.low:g}, {dim.high:g}] {dim.unit}",
            mend=_MEND,
        )


def fixed_text(text: str) -> np.ndarray | str:
    """``text`` as an attribute that lies in the header of its object.

    h5py's usual strings lie in a heap of the file, and the HDF5 library never comes back from some damaged
    heaps. A text that is too long for the header stays one of those.
    """
    data = text.encode()
    return text if len(data) > _FIXED_BYTES else np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))


def text_of(value: object) -> str:
    """An attribute's text, however it was stored."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
