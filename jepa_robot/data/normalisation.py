"""The split by episode, and the normalisation of the training part."""

from __future__ import annotations

import dataclasses

import numpy as np

from jepa_robot.data.windows import Trajectories, repeated_actions, repeated_contract
from jepa_robot.spec import Contract, Dim

# A dimension that hardly moves is not blown up to unit variance: at least this part of its range.
_STD_FLOOR = 1e-3
# Mean and deviation of more than these would not differ in a digit that matters.
STATISTICS_FRAMES = 100_000


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


def statistics(trajectories: Trajectories, episodes: np.ndarray, skip: int = 1) -> Contract:
    """The contract of training, with the normalisation of ``episodes`` (the training split) filled in.

    Per dimension of actions and states, and per colour channel for pixels scaled to [0, 1]: mean and
    (population) standard deviation. One episode at a time is in memory; of data sets with more than
    `STATISTICS_FRAMES` frames, evenly spread episodes with about as many are read.

    Args:
        skip: recorded steps that one action of the model stands for.
    """
    episodes = np.asarray(episodes)
    frames = int(trajectories.lengths[episodes].sum())
    if frames > STATISTICS_FRAMES:
        wanted = max(1, int(len(episodes) * STATISTICS_FRAMES / frames))
        episodes = episodes[np.linspace(0, len(episodes) - 1, wanted).round().astype(int)]
    contract = repeated_contract(trajectories.contract, skip)
    histogram = np.zeros((3, 256), np.int64)
    actions, states = _Moments(len(contract.actions)), _Moments(len(contract.states))
    for episode in episodes:
        rows = trajectories.rows_of(int(episode))
        pictures = trajectories.frames_at(rows)
        for channel in range(3):
            histogram[channel] += np.bincount(pictures[..., channel].ravel(), minlength=256)
        states.add(trajectories.states_at(rows))
        recorded = trajectories.actions_of(int(episode))
        for offset in range(skip):  # a window may begin at any frame
            whole = (len(recorded) - offset) // skip * skip
            actions.add(repeated_actions(recorded[offset : offset + whole], skip, contract))
    values = np.arange(256) / 255.0
    weights = histogram / histogram.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt(np.maximum(weights @ values**2 - mean**2, (1 / 255.0) ** 2))
    camera = dataclasses.replace(contract.camera, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    return dataclasses.replace(
        contract,
        cameras=(camera, *contract.cameras[1:]),
        actions=actions.normalised(contract.actions),
        states=states.normalised(contract.states),
    )


class _Moments:
    """Mean and deviation of rows, by the pairwise update of Chan, Golub and LeVeque: exact for any offset."""

    def __init__(self, dims: int):
        self.count, self.mean, self.squares = 0, np.zeros(dims), np.zeros(dims)

    def add(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        rows = rows.astype(np.float64)
        count, mean = len(rows), rows.mean(axis=0)
        shift, total = mean - self.mean, self.count + count
        self.squares += ((rows - mean) ** 2).sum(axis=0) + shift**2 * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def normalised(self, dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        stds = np.sqrt(self.squares / max(self.count, 1))
        stds = np.maximum(stds, [_STD_FLOOR * (dim.high - dim.low) for dim in dims])
        return tuple(
            dataclasses.replace(dim, mean=float(mean), std=float(std)) for dim, mean, std in zip(dims, self.mean, stds)
        )
