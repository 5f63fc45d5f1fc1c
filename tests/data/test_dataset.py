"""Windows, splits and statistics, against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from jepa_robot.data.dataset import WindowBatches, load_arrays, split_episodes, statistics, window_starts
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ContractError, DataError

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


def test_window_starts(arrays):
    wanted = [start + t for e in (0, 2, 3) for start in [[0, 5, 8, 16][e]] for t in range(STEPS[e] + 1 - 4 + 1)]
    assert window_starts(arrays, np.array([0, 2, 3]), 4).tolist() == wanted
    assert window_starts(arrays, np.array([1]), 4).tolist() == []
    assert len(window_starts(arrays, np.arange(4), 8)) == 1  # only the longest episode, once


def test_batches_are_pieces_of_episodes(arrays, make_episode):
    batches = WindowBatches(arrays, np.array([0, 2]), frames=3, batch_size=4, seed=1)
    assert batches.batches_per_epoch == (3 + 6) // 4
    for batch in itertools.islice(batches, 6):
        assert batch.frames.shape == (4, 3, 16, 16, 3) and batch.frames.dtype == torch.uint8
        assert batch.states.shape == (4, 3, 3) and batch.states.dtype == torch.float32
        assert batch.actions.shape == (4, 2, 2) and batch.actions.dtype == torch.float32
        for b in range(4):
            first = int(batch.index[b, 0])
            episode, t = (0, first) if first < 5 else (2, first - 8)
            wanted = make_episode(episode, STEPS[episode])
            np.testing.assert_array_equal(batch.index[b], [first, first + 1, first + 2])
            np.testing.assert_array_equal(batch.frames[b], wanted.frames[t : t + 3])
            np.testing.assert_array_equal(batch.states[b], wanted.states[t : t + 3])
            np.testing.assert_array_equal(batch.actions[b], wanted.actions[t : t + 2])


def test_every_window_once_an_epoch(arrays):
    batches = WindowBatches(arrays, np.arange(4), frames=2, batch_size=3, seed=0)
    assert sum(STEPS) % 3 == 0
    for _ in range(3):
        epoch = [int(i) for batch in itertools.islice(batches, 6) for i in batch.index[:, 0]]
        assert sorted(epoch) == sorted(batches.starts.tolist())
        assert epoch != sorted(epoch)


def test_order_follows_the_seed(arrays):
    def order(seed):
        batches = WindowBatches(arrays, np.arange(4), 2, 3, seed)
        return torch.cat([b.index for b in itertools.islice(batches, 14)]).tolist()

    assert order(5) == order(5)
    assert order(5) != order(6)
    assert order(5)[:18] != order(5)[18:36]


def test_resume(arrays):
    whole = WindowBatches(arrays, np.arange(4), 2, 4, seed=3)
    first = [b.index.tolist() for b in itertools.islice(whole, 7)]
    state = whole.state_dict()
    rest = [b.index.tolist() for b in itertools.islice(whole, 9)]
    resumed = WindowBatches(arrays, np.arange(4), 2, 4, seed=0)
    resumed.load_state_dict(state)
    assert [b.index.tolist() for b in itertools.islice(resumed, 9)] == rest
    assert first[:4] != rest[:4]
    with pytest.raises(DataError, match="18, as when training was interrupted"):
        WindowBatches(arrays, np.arange(3), 2, 4).load_state_dict(state)


def test_fewer_windows_than_a_batch(arrays):
    batch = next(WindowBatches(arrays, np.array([1]), 2, 64))
    assert sorted(batch.index[:, 0].tolist()) == [5, 6]


def test_too_short(arrays):
    with pytest.raises(DataError, match="no episode has 9 frames .* has 8"):
        WindowBatches(arrays, np.arange(4), 9, 4)


def test_split():
    train, valid = split_episodes(100, 0.1, seed=0)
    assert len(valid) == 10 and sorted([*train, *valid]) == list(range(100))
    np.testing.assert_array_equal(valid, split_episodes(100, 0.1, seed=0)[1])
    assert valid.tolist() != split_episodes(100, 0.1, seed=1)[1].tolist()
    assert valid.tolist() != list(range(90, 100))
    assert [len(part) for part in split_episodes(3, 0.01, seed=0)] == [2, 1]
    assert [len(part) for part in split_episodes(3, 0.0, seed=0)] == [3, 0]


def test_statistics(arrays, make_episode):
    """Of the given episodes only, and without the row after an episode's last action."""
    episodes = [make_episode(i, STEPS[i]) for i in (0, 2)]
    contract = statistics(arrays, np.array([0, 2]))
    actions = np.concatenate([e.actions for e in episodes])
    states = np.concatenate([e.states for e in episodes])
    pixels = np.concatenate([e.frames for e in episodes]) / 255.0
    np.testing.assert_allclose([d.mean for d in contract.actions], actions.mean(0), atol=1e-7)
    np.testing.assert_allclose([d.std for d in contract.actions], actions.std(0), rtol=1e-5)
    np.testing.assert_allclose([d.mean for d in contract.states], states.mean(0), rtol=1e-5)
    np.testing.assert_allclose([d.std for d in contract.states], states.std(0), rtol=1e-5)
    np.testing.assert_allclose(contract.camera.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(contract.camera.std, pixels.std((0, 1, 2)), rtol=1e-6)
    assert arrays.contract.differences(contract) == []


def test_statistics_of_a_constant(arrays):
    arrays.states[:, 1] = 0.5
    dim = statistics(arrays, np.arange(4)).states[1]
    assert dim.mean == 0.5 and dim.std == pytest.approx(1e-3)


def test_other_contract(path, contract):
    import dataclasses

    with pytest.raises(ContractError, match="fps"):
        load_arrays(path, dataclasses.replace(contract, fps=4.0))
