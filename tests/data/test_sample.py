"""The sample data set that comes with the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jepa_robot.data.dataset import load_arrays

SAMPLE = Path(__file__).parents[2] / "datasets" / "sample_panda_reach.h5"


def test_sample():
    arrays = load_arrays(SAMPLE)
    assert arrays.contract.task == "panda_reach"
    assert arrays.frames.shape == (124, 64, 64, 3) and arrays.lengths.tolist() == [31] * 4
    assert SAMPLE.stat().st_size < 1_000_000
    # Away from the workspace's faces an action moves the state by itself, within the frame that follows.
    steps = np.setdiff1d(np.arange(123), arrays.starts - 1)
    moved = arrays.states[steps + 1] - arrays.states[steps]
    assert np.quantile(np.abs(moved - arrays.actions[steps])[:, :3], 0.8) < 1e-3
