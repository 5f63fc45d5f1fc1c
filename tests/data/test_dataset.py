"""A data set in memory, splits and statistics, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from jepa_robot.data.dataset import load_arrays
from jepa_robot.data.normalisation import statistics
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.splits import split_episodes
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError

STEPS = [4, 2, 7, 5]


@pytest.fixture
def path(tmp_path, contract, make_episode):
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, {}, {"task": "toy"}) as writer:
        for i, steps in enumerate(STEPS):
            writer.append(make_episode(i, steps))
    return path


@pytest.fixture
def arrays(path):
    return load_arrays(path)


def test_load_arrays(arrays, make_episode):
    assert arrays.lengths.tolist() == [s + 1 for s in STEPS]
    assert arrays.starts.tolist() == [0, 5, 8, 16]
    assert arrays.kinds == ("expert", "noisy", "expert", "noisy")
    assert arrays.recipe == {"task": "toy"}
    for i, steps in enumerate(STEPS):
        episode = make_episode(i, steps)
        rows = slice(arrays.starts[i], arrays.starts[i] + steps + 1)
        np.testing.assert_array_equal(arrays.frames[rows], episode.frames)
        np.testing.assert_array_equal(arrays.states[rows], episode.states)
        np.testing.assert_array_equal(arrays.actions[rows][:-1], episode.actions)
        np.testing.assert_array_equal(arrays.actions[rows][-1], 0)


def test_options_may_say_what_the_file_says(path, arrays, contract):
    """So that it can be mixed with a source that does not."""
    same = SourceOptions(fps=contract.fps, task=contract.task)
    np.testing.assert_array_equal(load_arrays(path, same).states, arrays.states)
    for name, value in {"fps": contract.fps + 1, "task": "another", "state": ("x",), "contract": contract}.items():
        with pytest.raises(DataError, match=f"has a contract of its own, so {name} cannot be given"):
            load_arrays(path, SourceOptions(**{name: value}))


def test_split():
    train, valid = split_episodes(100, 0.1, seed=0)
    assert len(valid) == 10 and sorted([*train, *valid]) == list(range(100))
    np.testing.assert_array_equal(valid, split_episodes(100, 0.1, seed=0)[1])
    assert valid.tolist() != split_episodes(100, 0.1, seed=1)[1].tolist()
    assert valid.tolist() != list(range(90, 100))
    assert [len(part) for part in split_episodes(3, 0.01, seed=0)] == [2, 1]
    assert [len(part) for part in split_episodes(3, 0.0, seed=0)] == [3, 0]


def test_statistics_of_a_constant(arrays):
    arrays.states[:, 1] = 0.5
    dim = statistics(arrays, np.arange(4)).states[1]
    assert dim.mean == 0.5 and dim.std == pytest.approx(1e-3)
