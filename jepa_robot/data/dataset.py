"""A data set in memory, its split, and windows of it for training.

F counts all frames of a data set, E its episodes. An episode of T actions has T + 1 frames, which
lie one after the other; the row of `TrajectoryArrays.actions` at an episode's last frame is zero
and never used.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract, Dim

# A dimension that hardly moves is not blown up to unit variance: at least this part of its range.
_STD_FLOOR = 1e-3


@dataclass(frozen=True)
class TrajectoryArrays:
    """All episodes of a file, one after the other.

    Attributes:
        contract: what they are (no normalisation).
        frames: uint8 [F, H, W, 3] RGB.
        states: float32 [F, P], physical units.
        actions: float32 [F, A], physical units; row f leads from frame f to frame f + 1.
        starts: int64 [E], each episode's first frame.
        lengths: int64 [E], frames in each episode.
        kinds: how each episode's actions were chosen.
        recipe: how the file was made.
    """

    contract: Contract
    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    kinds: tuple[str, ...]
    recipe: dict[str, object]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Windows:
    """A batch of windows of T consecutive frames of one episode each.

    Attributes:
        frames: uint8 [B, T, H, W, 3] RGB.
        states: float32 [B, T, P], physical units.
        actions: float32 [B, T - 1, A], physical units; action t leads from frame t to t + 1.
        index: int64 [B, T], rows of the `TrajectoryArrays`, e.g. to look up cached latents.
    """

    frames: torch.Tensor
    states: torch.Tensor
    actions: torch.Tensor
    index: torch.Tensor


def load_arrays(path: str | os.PathLike[str], contract: Contract | None = None) -> TrajectoryArrays:
    """Read all complete episodes of ``path`` into memory.

    Raises:
        DataError: the file cannot be read, or an episode is not what it claims to be.
        ContractError: it does not follow ``contract``.
    """
    with TrajectoryReader(path, contract=contract) as reader:
        camera = reader.contract.camera
        lengths = reader.lengths + 1
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        total = int(lengths.sum())
        frames = np.empty((total, camera.height, camera.width, 3), np.uint8)
        states = np.empty((total, len(reader.contract.states)), np.float32)
        actions = np.zeros((total, len(reader.contract.actions)), np.float32)
        kinds = []
        for i, (start, length) in enumerate(zip(starts, lengths)):
            episode = reader.read(i)
            episode.check(reader.contract, reader.where(i))
            frames[start : start + length] = episode.frames
            states[start : start + length] = episode.states
            actions[start : start + length - 1] = episode.actions
            kinds.append(episode.kind)
        return TrajectoryArrays(reader.contract, frames, states, actions, starts, lengths, tuple(kinds), reader.recipe)


def split_episodes(count: int, valid_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose validation episodes at random.

    Returns:
        Sorted int64 indices of the training and of the validation episodes. With at least two
        episodes and a fraction above zero, neither is empty.
    """
    order = np.random.default_rng(seed).permutation(count)
    valid = round(count * valid_fraction)
    if valid_fraction > 0 and count > 1:
        valid = min(max(valid, 1), count - 1)
    return np.sort(order[valid:]), np.sort(order[:valid])


def window_starts(arrays: TrajectoryArrays, episodes: np.ndarray, frames: int) -> np.ndarray:
    """int64 [n]: first row of every window of ``frames`` frames that lies inside one of ``episodes``."""
    counts = np.maximum(arrays.lengths[episodes] - frames + 1, 0)
    first = np.repeat(arrays.starts[episodes], counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return first + offset


def gather(arrays: TrajectoryArrays, starts: np.ndarray, frames: int) -> Windows:
    """The windows of ``frames`` frames that begin at rows ``starts`` int64 [B]."""
    index = np.asarray(starts)[:, None] + np.arange(frames)
    return Windows(
        frames=torch.from_numpy(arrays.frames[index]),
        states=torch.from_numpy(arrays.states[index]),
        actions=torch.from_numpy(arrays.actions[index[:, :-1]]),
        index=torch.from_numpy(index),
    )


class WindowBatches:
    """Endless batches of windows: every window once an epoch, in an order set by (seed, epoch).

    The windows that do not fill a last batch of an epoch are left out of it; other ones every epoch.

    Args:
        arrays: the data set.
        episodes: the episodes to draw from, e.g. the training split.
        frames: T, frames in a window.
        batch_size: B; with fewer windows than that, a batch holds all of them.
        seed: of the order.

    Raises:
        DataError: no episode is as long as a window.
    """

    def __init__(self, arrays: TrajectoryArrays, episodes: np.ndarray, frames: int, batch_size: int, seed: int = 0):
        self.starts = window_starts(arrays, np.asarray(episodes), frames)
        if not len(self.starts):
            longest = int(arrays.lengths[episodes].max()) if len(episodes) else 0
            raise DataError(
                f"no episode has {frames} frames (the longest of {len(episodes)} has {longest})",
                mend="use shorter windows, or record longer episodes",
            )
        self._arrays = arrays
        self._frames = frames
        self._batch_size = min(batch_size, len(self.starts))
        self._seed = seed
        self._epoch = self._batch = 0
        self._order = self._permutation()

    @property
    def batches_per_epoch(self) -> int:
        return len(self.starts) // self._batch_size

    def __iter__(self) -> Iterator[Windows]:
        return self

    def __next__(self) -> Windows:
        if self._batch == self.batches_per_epoch:
            self._epoch, self._batch = self._epoch + 1, 0
            self._order = self._permutation()
        chosen = self._order[self._batch * self._batch_size :][: self._batch_size]
        self._batch += 1
        return gather(self._arrays, self.starts[chosen], self._frames)

    def state_dict(self) -> dict[str, int]:
        """Where the iteration stands, for `load_state_dict`."""
        return {"seed": self._seed, "epoch": self._epoch, "batch": self._batch, "windows": len(self.starts)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with exactly the batches that would have followed.

        Raises:
            DataError: the state belongs to other data.
        """
        if state["windows"] != len(self.starts):
            raise DataError(
                f"the data holds {len(self.starts)} windows",
                expected=f"{state['windows']}, as when training was interrupted",
                mend="resume with the same data and window length",
            )
        self._seed, self._epoch, self._batch = state["seed"], state["epoch"], state["batch"]
        self._order = self._permutation()

    def _permutation(self) -> np.ndarray:
        return np.random.default_rng((self._seed, self._epoch)).permutation(len(self.starts))


def statistics(arrays: TrajectoryArrays, episodes: np.ndarray) -> Contract:
    """The contract with the normalisation of ``episodes`` (the training split) filled in.

    Per dimension of actions and states, and per colour channel for pixels scaled to [0, 1]: mean
    and (population) standard deviation.
    """
    keep = np.zeros(len(arrays.frames), bool)
    acts = np.zeros(len(arrays.frames), bool)
    histogram = np.zeros((3, 256), np.int64)
    for start, length in zip(arrays.starts[episodes], arrays.lengths[episodes]):
        keep[start : start + length] = True
        acts[start : start + length - 1] = True
        pixels = arrays.frames[start : start + length]
        for channel in range(3):
            histogram[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255.0
    weights = histogram / histogram.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt(np.maximum(weights @ values**2 - mean**2, (1 / 255.0) ** 2))
    contract = arrays.contract
    camera = dataclasses.replace(contract.camera, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    return dataclasses.replace(
        contract,
        cameras=(camera, *contract.cameras[1:]),
        actions=_normalised(contract.actions, arrays.actions[acts]),
        states=_normalised(contract.states, arrays.states[keep]),
    )


def _normalised(dims: tuple[Dim, ...], rows: np.ndarray) -> tuple[Dim, ...]:
    rows = rows.astype(np.float64)
    means = rows.mean(axis=0)
    stds = np.maximum(rows.std(axis=0), [_STD_FLOOR * (dim.high - dim.low) for dim in dims])
    return tuple(
        dataclasses.replace(dim, mean=float(mean), std=float(std)) for dim, mean, std in zip(dims, means, stds)
    )
