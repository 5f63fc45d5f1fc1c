"""An episode without its pictures: its small arrays, and what the checks need to know of the frames.

Pictures are read a few at a time and dropped again, so that the longest episode needs no more
memory than a short one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jepa_robot.data.format import Episode
from jepa_robot.data.objects import Objects, joined
from jepa_robot.data.source import Source

# Pictures in memory at once; large enough that opening a video for each piece costs little.
CHUNK_BYTES = 64 * 1024 * 1024
# A picture whose darkest and brightest values are closer than this shows nothing; video black is 16.
BLANK_CONTRAST = 16
# Contrast is looked for in every 4th row and column: whatever is worth seeing is larger.
BLANK_STRIDE = 4


@dataclass(frozen=True)
class Trace:
    """One episode of T actions, T + 1 frames.

    Attributes:
        name: of the episode, as its source calls it.
        states: float32 [T + 1, P].
        actions: float32 [T, A].
        times: float64 [T + 1] seconds, or None.
        kind: how the actions were chosen.
        blank: bool [T + 1], frames of one colour.
        repeated: bool [T], frame t + 1 is frame t, pixel for pixel.
        digest: of everything above and of all pictures, the name and kind excepted.
        rewards: float32 [T], or None.
        objects: of the T + 1 frames, or None.
    """

    name: str
    states: np.ndarray
    actions: np.ndarray
    times: np.ndarray | None
    kind: str
    blank: np.ndarray
    repeated: np.ndarray
    digest: bytes
    rewards: np.ndarray | None = None
    objects: Objects | None = None

    def __len__(self) -> int:
        return len(self.actions)


def chunks(source: Source, index: int) -> Iterator[tuple[int, Episode]]:
    """(start, frames start to start + n) of an episode; each piece begins with the last frame of the one before.

    Raises:
        DataError: it cannot be decoded.
    """
    camera, total = source.contract.camera, int(source.lengths[index])
    steps = max(1, CHUNK_BYTES // (3 * camera.height * camera.width) - 1)
    for start in range(0, total, steps):
        yield start, source.read(index, start, min(start + steps, total))


def read_trace(source: Source, index: int) -> Trace:
    """Read an episode, pictures and all, once.

    Raises:
        DataError: it cannot be decoded.
    """
    states, actions, times, rewards, objects, blank, repeated = [], [], [], [], [], [], []
    digest = hashlib.blake2b(digest_size=16)
    kind = ""
    for start, piece in chunks(source, index):
        new = slice(min(start, 1), None)  # without the frame that the piece before ended with
        states.append(piece.states[new])
        actions.append(piece.actions)
        if piece.times is not None:
            times.append(piece.times[new])
        if piece.rewards is not None:
            rewards.append(piece.rewards)
        objects.append(None if piece.objects is None else piece.objects[new])
        blank.append(blank_frames(piece.frames[new]))
        repeated.append(repeated_frames(piece.frames))
        kind = piece.kind
        digest.update(np.ascontiguousarray(piece.frames[new]))
    arrays = [np.concatenate(pieces) for pieces in (states, actions, *([times] if times else []))]
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return Trace(
        name=source.names[index], states=arrays[0], actions=arrays[1], times=arrays[2] if times else None, kind=kind,
        blank=np.concatenate(blank), repeated=np.concatenate(repeated), digest=digest.digest(),
        rewards=np.concatenate(rewards) if rewards else None, objects=joined(objects),
    )


def blank_frames(frames: np.ndarray) -> np.ndarray:
    """bool [T]: which of uint8 [T, H, W, 3] show one colour and nothing else."""
    pixels = frames[:, ::BLANK_STRIDE, ::BLANK_STRIDE].reshape(len(frames), -1, 3)
    contrast = pixels.max(axis=1).astype(int) - pixels.min(axis=1)
    return contrast.max(axis=1) < BLANK_CONTRAST


def repeated_frames(frames: np.ndarray) -> np.ndarray:
    """bool [T - 1]: which of uint8 [T, H, W, 3] are the same as the next one."""
    return np.array([np.array_equal(a, b) for a, b in zip(frames, frames[1:])], bool)
