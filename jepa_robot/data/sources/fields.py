"""Choosing pictures and proprioception among the arrays that a format records at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jepa_robot.data.derive import choose, data_bounds
from jepa_robot.data.source import Progress
from jepa_robot.errors import DataError

Bounds = tuple[np.ndarray, np.ndarray]  # lowest and highest, float64 [D] each


@dataclass(frozen=True)
class Field:
    """What is recorded at one step: an array of this shape and type."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @property
    def width(self) -> int:
        """How many numbers it is."""
        return int(np.prod(self.shape))

    @property
    def is_numbers(self) -> bool:
        """Whether it is one number or a vector."""
        return self.dtype.kind in "fiub" and len(self.shape) <= 1 and self.width > 0

    @property
    def is_picture(self) -> bool:
        """uint8 [H, W, 3] or [3, H, W]; where both could be meant, neither."""
        if self.dtype != np.uint8 or len(self.shape) != 3 or self.width == 0:
            return False
        return (self.shape[0] == 3) != (self.shape[2] == 3)

    @property
    def channels_first(self) -> bool:
        """Whether a picture is [3, H, W]."""
        return self.shape[0] == 3

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture."""
        return self.shape[1:] if self.channels_first else self.shape[:2]


def to_rgb(pictures: np.ndarray, field: Field) -> np.ndarray:
    """uint8 [n, H, W, 3] of pictures that lie as ``field`` says."""
    return pictures.transpose(0, 2, 3, 1) if field.channels_first else pictures


def choose_camera(fields: Mapping[str, Field], wanted: str | None, path: object, preferred: Sequence[str] = ()) -> str:
    """The wanted picture stream, else the first preferred one, else the first.

    Raises:
        DataError: there are no pictures, or not the wanted ones.
    """
    pictures = [name for name, field in fields.items() if field.is_picture]
    expected = "uint8 [H, W, 3] or [3, H, W] a step"
    if wanted in fields and wanted not in pictures:
        raise DataError(f"{wanted} is no picture but {fields[wanted]}", where=path, expected=expected)
    if not pictures:
        found = ", ".join(f"{name} {field}" for name, field in fields.items()) or "nothing"
        raise DataError(f"has no pictures, only {found}", where=path, expected=expected)
    return choose("camera", wanted, pictures, path, preferred)


def choose_state(
    fields: Mapping[str, Field], wanted: Sequence[str] | None, path: object, default: Sequence[str]
) -> list[str]:
    """The wanted arrays that make the proprioceptive state, else the ``default`` ones.

    Raises:
        DataError: one of the wanted is missing, or not a vector of numbers.
    """
    if wanted is None:
        return list(default)
    for name in wanted:
        if name in fields and not fields[name].is_numbers:
            raise DataError(f"{name} is {fields[name]}", where=path, expected="one number or a vector a step")
        choose("state", name, [n for n, field in fields.items() if field.is_numbers], path)
    return list(wanted)


def float_vectors(fields: Mapping[str, Field], without: Sequence[str] = ()) -> list[str]:
    """All fields that are one floating-point number or a vector of them, but those in ``without``."""
    return [n for n, f in fields.items() if f.is_numbers and f.dtype.kind == "f" and n not in without]


def dim_names(name: str, field: Field) -> list[str]:
    """The name itself for one number, else name[0], name[1], ..."""
    return [name] if field.width == 1 else [f"{name}[{i}]" for i in range(field.width)]


def plausible_lengths(claimed: Sequence[int], good: Sequence[bool]) -> np.ndarray:
    """int64 [E], T of every episode; of broken ones as claimed, but at least 1 and no more than any good one has.

    So a broken episode is asked for, which says what is wrong, and a damaged number does not cost memory.
    """
    lengths, good = np.array([min(length, 2**62) for length in claimed], np.int64), np.array(good, bool)
    longest = lengths[good].max(initial=1)
    return np.where(good, lengths, np.clip(lengths, 1, longest))


def bounds_of_readable(
    read: Callable[[int], tuple[np.ndarray, np.ndarray]], episodes: int, dims: tuple[int, int], report: Progress
) -> tuple[Bounds, Bounds]:
    """`data_bounds` of actions and of states; each episode is read once.

    What cannot be read is told when it is asked for.

    Args:
        read: actions [T, A] and states [T + 1, P] of an episode.
        dims: A and P.
        report: called with (episodes done, all of them) after each.
    """

    def arrays() -> Iterator[np.ndarray]:
        for episode in range(episodes):
            try:
                actions, states = read(episode)
            except DataError:
                continue
            finally:
                report(episode + 1, episodes)
            padded = np.pad(actions, ((0, 1), (0, 0)), constant_values=np.nan)  # no action after the last frame
            yield np.concatenate([padded, states], axis=1)

    low, high = data_bounds(arrays(), sum(dims))
    return (low[: dims[0]], high[: dims[0]]), (low[dims[0] :], high[dims[0] :])
