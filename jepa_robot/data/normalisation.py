"""The normalisation of the training split."""

from __future__ import annotations

import dataclasses

import numpy as np

from jepa_robot.data.summary import PixelStats, RunningStats
from jepa_robot.data.windows import Trajectories, repeated_actions, repeated_contract
from jepa_robot.spec import Contract, Dim

# A dimension that hardly moves is not blown up to unit variance: at least this part of its range.
_STD_FLOOR = 1e-3
# Mean and deviation of more than these would not differ in a digit that matters.
STATISTICS_FRAMES = 100_000


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
    rng = np.random.default_rng(0)  # of percentiles, which nobody asks for here
    actions, states = RunningStats(len(contract.actions), rng), RunningStats(len(contract.states), rng)
    pixels = PixelStats()
    for episode in episodes:
        rows = trajectories.rows_of(int(episode))
        pixels.add(trajectories.frames_at(rows))
        states.add(trajectories.states_at(rows))
        recorded = trajectories.actions_of(int(episode))
        for offset in range(skip):  # a window may begin at any frame
            whole = (len(recorded) - offset) // skip * skip
            actions.add(repeated_actions(recorded[offset : offset + whole], skip, contract))
    mean, std = pixels.mean_std()
    std = np.maximum(std, 1 / 255)  # a camera that sees one colour
    camera = dataclasses.replace(contract.camera, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    return dataclasses.replace(
        contract,
        cameras=(camera, *contract.cameras[1:]),
        actions=_normalised(contract.actions, actions),
        states=_normalised(contract.states, states),
    )


def _normalised(dims: tuple[Dim, ...], stats: RunningStats) -> tuple[Dim, ...]:
    stds = np.maximum(stats.std, [_STD_FLOOR * (dim.high - dim.low) for dim in dims])
    return tuple(
        dataclasses.replace(dim, mean=float(mean), std=float(std)) for dim, mean, std in zip(dims, stats.mean, stds)
    )
