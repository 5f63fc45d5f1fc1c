"""Training windows, in memory and streamed, against plain loops over the episodes that were written."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from jepa_robot.data.augment import Augment
from jepa_robot.data.dataset import open_trajectories
from jepa_robot.data.loader import LoaderConfig, WindowBatches
from jepa_robot.data.memory import TrajectoryArrays
from jepa_robot.data.normalisation import statistics
from jepa_robot.data.order import SampleOrder
from jepa_robot.data.streamed import SourceSpec, TrajectoryFiles
from jepa_robot.data.windows import WindowIndex, repeated_actions, repeated_contract
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ContractError, DataError

STEPS = ([4, 2, 7, 5], [3, 9])  # actions of the episodes of two files


@pytest.fixture
def files(tmp_path, contract, make_episode):
    """Two files; the episode number runs on from one to the other."""
    number = itertools.count()
    paths = []
    for part, lengths in enumerate(STEPS):
        paths.append(tmp_path / f"part{part}.h5")
        with TrajectoryWriter(paths[-1], contract, {}, {"part": part}) as writer:
            for steps in lengths:
                writer.append(make_episode(next(number), steps))
    return [SourceSpec(path) for path in paths]


@pytest.fixture(params=["memory", "streamed"])
def both(request, files):
    data = open_trajectories(files, memory_gb=1.0 if request.param == "memory" else 0.0)
    assert isinstance(data, TrajectoryArrays if request.param == "memory" else TrajectoryFiles)
    return data


@pytest.fixture
def written(make_episode):
    return [make_episode(i, steps) for i, steps in enumerate([*STEPS[0], *STEPS[1]])]


def place(data, row):
    """(episode, time) of a row."""
    for episode, (start, length) in enumerate(zip(data.starts.tolist(), data.lengths.tolist())):
        if start <= row < start + length:
            return episode, row - start
    raise AssertionError(row)


def test_all_sources_are_one_row_of_frames(both, written):
    assert both.lengths.tolist() == [len(e.frames) for e in written]
    assert both.starts.tolist() == np.cumsum([0, *both.lengths[:-1]]).tolist()
    assert both.parts.tolist() == [0, 0, 0, 0, 1, 1]
    assert both.recipe == {"sources": [{"part": 0}, {"part": 1}]}
    everything = np.concatenate([e.frames for e in written])
    rows = np.array([0, 1, 2, 4, 5, 7, 8, 20, 3, len(everything) - 1])
    np.testing.assert_array_equal(both.frames_at(rows), everything[rows])
    np.testing.assert_array_equal(both.states_at(rows), np.concatenate([e.states for e in written])[rows])
    np.testing.assert_array_equal(both.frames_at(np.arange(len(everything))), everything)
    assert len(both.frames_at(np.array([], int))) == 0
    for i, episode in enumerate(written):
        np.testing.assert_array_equal(both.actions_of(i), episode.actions)
        np.testing.assert_array_equal(both.frames_at(both.rows_of(i)), episode.frames)


@pytest.mark.parametrize(("frames", "skip"), [(2, 1), (3, 1), (4, 2), (3, 3), (1, 1), (8, 1), (11, 1)])
def test_window_index_numbers_every_window(both, frames, skip):
    episodes = np.array([0, 2, 3, 5])
    span = (frames - 1) * skip
    wanted = [both.starts[e] + t for e in episodes for t in range(both.lengths[e]) if t + span < both.lengths[e]]
    index = WindowIndex(both, episodes, frames, skip)
    assert len(index) == len(wanted)
    assert index.starts(np.arange(len(index))).tolist() == wanted


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_windows_are_pieces_of_episodes(both, written, contract, skip):
    batches = WindowBatches(both, np.array([0, 2, 5]), 3, 4, seed=1, config=LoaderConfig(skip=skip))
    for batch in itertools.islice(batches, 8):
        assert batch.frames.shape == (4, 3, 16, 16, 3) and batch.frames.dtype == torch.uint8
        assert batch.states.shape == (4, 3, 3) and batch.states.dtype == torch.float32
        assert batch.actions.shape == (4, 2, 2) and batch.actions.dtype == torch.float32
        for b in range(4):
            episode, t = place(both, int(batch.index[b, 0]))
            assert episode in (0, 2, 5)
            times = [t, t + skip, t + 2 * skip]
            assert batch.index[b].tolist() == [both.starts[episode] + k for k in times]
            np.testing.assert_array_equal(batch.frames[b], written[episode].frames[times])
            np.testing.assert_array_equal(batch.states[b], written[episode].states[times])
            for k in range(2):
                steps = written[episode].actions[times[k] : times[k + 1]]
                np.testing.assert_allclose(batch.actions[b, k], steps.sum(0), rtol=1e-5)  # both dims integrate


def test_actions_that_stand_for_several_steps(contract):
    gripper = dataclasses.replace(contract.actions[1], integrates=None)
    mixed = dataclasses.replace(contract, actions=(contract.actions[0], gripper))
    actions = np.arange(12, dtype=np.float32).reshape(6, 2)
    found = repeated_actions(actions, 3, mixed)
    np.testing.assert_allclose(found, [[0 + 2 + 4, (1 + 3 + 5) / 3], [6 + 8 + 10, (7 + 9 + 11) / 3]])
    repeated = repeated_contract(mixed, 3)
    assert repeated.action_repeat == 3
    assert (repeated.actions[0].low, repeated.actions[0].high) == pytest.approx((-0.15, 0.15))
    assert (repeated.actions[1].low, repeated.actions[1].high) == (-0.25, 0.25)
    assert repeated_contract(mixed, 1) is mixed


def test_every_window_once_an_epoch(both):
    batches = WindowBatches(both, np.arange(6), 2, 5, seed=0)
    assert batches.windows == sum(map(sum, STEPS)) == 30
    for _ in range(3):
        epoch = [int(i) for batch in itertools.islice(batches, 6) for i in batch.index[:, 0]]
        # Two sources, each once through: their epochs end at different samples, so only all together is exact.
        assert len(epoch) == 30 and epoch != sorted(epoch)
    one = WindowBatches(both, np.arange(4), 2, 6, seed=0)
    for _ in range(3):
        epoch = [int(i) for batch in itertools.islice(one, 3) for i in batch.index[:, 0]]
        assert sorted(epoch) == WindowIndex(both, np.arange(4), 2).starts(np.arange(18)).tolist()


def indices(batches, count):
    return [batch.index.tolist() for batch in itertools.islice(batches, count)]


def test_order_follows_the_seed(both):
    orders = [indices(WindowBatches(both, np.arange(6), 2, 4, seed), 20) for seed in (5, 5, 6)]
    assert orders[0] == orders[1] != orders[2]


def test_memory_and_files_give_the_same(files):
    batches = [WindowBatches(open_trajectories(files, gb), np.arange(6), 3, 4, seed=2) for gb in (0.0, 1.0)]
    for a, b in itertools.islice(zip(*batches), 10):
        for name in ("frames", "states", "actions", "index"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)


def test_resume_at_the_sample(both):
    whole = WindowBatches(both, np.arange(6), 2, 4, seed=3)
    indices(whole, 7)
    state = whole.state_dict()
    rest = indices(whole, 15)
    resumed = WindowBatches(both, np.arange(6), 2, 4, seed=3)
    next(resumed)
    resumed.load_state_dict(state)
    assert indices(resumed, 15) == rest
    with pytest.raises(DataError, match="windows 18; expected 30, as when training was interrupted"):
        WindowBatches(both, np.arange(4), 2, 4, seed=3).load_state_dict(state)
    with pytest.raises(DataError, match="seed 4; expected 3"):
        WindowBatches(both, np.arange(6), 2, 4, seed=4).load_state_dict(state)


def test_ranks_share_the_global_batch(both):
    whole = WindowBatches(both, np.arange(6), 2, 6, seed=3)
    ranks = [
        WindowBatches(both, np.arange(6), 2, 3, seed=3, config=LoaderConfig(rank=r, ranks=2)) for r in range(2)
    ]
    for together, a, b in itertools.islice(zip(whole, *ranks), 8):
        assert together.index.tolist() == a.index.tolist() + b.index.tolist()


@pytest.mark.slow
def test_workers_change_nothing(files):
    """Order, augmentation and resumption, with processes that open the files themselves."""
    data = open_trajectories(files, memory_gb=0.0)
    config = LoaderConfig(augment=Augment(shift=2, brightness=0.3))
    alone = WindowBatches(data, np.arange(6), 3, 4, 1, config)
    wanted = [(batch.index.tolist(), batch.frames) for batch in itertools.islice(alone, 8)]
    batches = WindowBatches(data, np.arange(6), 3, 4, 1, dataclasses.replace(config, workers=2))
    for batch, (index, frames) in zip(itertools.islice(batches, 5), wanted):
        assert batch.index.tolist() == index and torch.equal(batch.frames, frames)
    resumed = WindowBatches(data, np.arange(6), 3, 4, 1, dataclasses.replace(config, workers=1))
    resumed.load_state_dict(batches.state_dict())
    batch = next(resumed)
    assert batch.index.tolist() == wanted[5][0] and torch.equal(batch.frames, wanted[5][1])


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_same_line(files, tmp_path):
    import h5py

    with h5py.File(files[1].path, "r+") as file:
        file["data/demo_0/actions"][...] = np.nan
    data = open_trajectories(files, memory_gb=0.0)
    for workers in (0, 1):
        batches = WindowBatches(data, np.array([4]), 2, 2, config=LoaderConfig(workers=workers))
        with pytest.raises(DataError, match=r"part1.h5:data/demo_0/actions: dx at step 0 is nan") as caught:
            next(batches)
        assert "\n" not in str(caught.value)


def test_threads_after_a_fork(files):
    """A forked process has none of its parent's threads, nor may it read through its parent's open files."""
    data = open_trajectories(files, 0.0, threads=2)
    starts = data.starts[:4]
    expected = data.gather(starts, 3)

    def same(connection) -> None:
        found = data.gather(starts, 3)
        connection.send(torch.equal(found.frames, expected.frames) and torch.equal(found.actions, expected.actions))

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=same, args=(theirs,))
    process.start()
    try:
        assert ours.poll(60), "the forked process hangs"
        assert ours.recv()
    finally:
        process.kill()
        process.join()


def test_threads_change_nothing(files):
    batches = [
        WindowBatches(open_trajectories(files, 0.0, threads), np.arange(6), 3, 7, seed=2) for threads in (1, 3)
    ]
    for a, b in itertools.islice(zip(*batches), 10):
        assert torch.equal(a.frames, b.frames) and torch.equal(a.actions, b.actions) and torch.equal(a.index, b.index)


def test_streamed_data_travel_without_open_files(files):
    data = open_trajectories(files, memory_gb=0.0)
    copy = pickle.loads(pickle.dumps(data))
    assert copy._open == {}
    np.testing.assert_array_equal(copy.frames_at(np.arange(30)), data.frames_at(np.arange(30)))


@pytest.mark.parametrize("weights", [None, (1.0, 3.0), (0.0, 2.0), (1.0, 0.0)])
def test_sources_are_mixed_by_weight(both, weights):
    batches = WindowBatches(both, np.arange(6), 2, 30, seed=0, config=LoaderConfig(weights=weights))
    rows = np.concatenate([b.index[:, 0].numpy() for b in itertools.islice(batches, 100)])
    second = rows >= both.starts[4]
    counts = np.array([18, 12])
    share = counts / 30 if weights is None else np.array(weights) / sum(weights)
    assert second.mean() == pytest.approx(share[1], abs=0.03)
    # Within a source every window comes once an epoch.
    for part, inside in enumerate((~second, second)):
        mine = rows[inside]
        for epoch in range(len(mine) // counts[part]):
            once = mine[epoch * counts[part] : (epoch + 1) * counts[part]]
            assert len(set(once.tolist())) == counts[part]


def test_wrong_weights(both):
    with pytest.raises(DataError, match="3 weights for 2 sources"):
        WindowBatches(both, np.arange(6), 2, 4, config=LoaderConfig(weights=(1, 1, 1)))
    with pytest.raises(DataError, match="no group with windows has a weight above 0"):
        WindowBatches(both, np.arange(4), 2, 4, config=LoaderConfig(weights=(0, 1)))


def test_the_nth_sample_does_not_depend_on_what_was_asked_before():
    order = SampleOrder([7, 5, 11], [1, 2, 3], seed=4)
    groups, windows = order.samples(0, 20_000)
    for first, count in ((0, 1), (4090, 12), (8191, 2), (13_000, 5000), (3, 9000)):
        fresh = SampleOrder([7, 5, 11], [1, 2, 3], seed=4).samples(first, count)
        np.testing.assert_array_equal(fresh[0], groups[first : first + count])
        np.testing.assert_array_equal(fresh[1], windows[first : first + count])


def test_fewer_windows_than_a_batch(both):
    batch = next(WindowBatches(both, np.array([1]), 2, 64))
    assert sorted(batch.index[:, 0].tolist()) == [5, 6]


def test_too_short(both):
    with pytest.raises(DataError, match="no episode has 11 frames .* has 10"):
        WindowBatches(both, np.arange(6), 11, 4)
    with pytest.raises(DataError, match="no episode has 13 frames"):
        WindowBatches(both, np.arange(6), 5, 4, config=LoaderConfig(skip=3))


def test_sources_with_different_contracts(files, tmp_path, contract, make_episode):
    other = tmp_path / "other.h5"
    with TrajectoryWriter(other, dataclasses.replace(contract, fps=7.0), {}) as writer:
        writer.append(make_episode(0))
    with pytest.raises(ContractError, match="fps is 7.0 in .*other.h5 but 5.0 in .*part0.h5"):
        open_trajectories([files[0], SourceSpec(other)], 1.0)


def test_statistics_are_those_of_the_windows(both, written):
    """Of the training episodes only, actions of skipped steps added up."""
    for skip in (1, 2):
        contract = statistics(both, np.array([0, 2, 5]), skip)
        episodes = [written[i] for i in (0, 2, 5)]
        states = np.concatenate([e.states for e in episodes])
        actions = np.array([
            e.actions[t : t + skip].sum(0)
            for e in episodes for offset in range(skip) for t in range(offset, len(e.actions) - skip + 1, skip)
        ])
        pixels = np.concatenate([e.frames for e in episodes]) / 255
        np.testing.assert_allclose([d.mean for d in contract.states], states.mean(0), rtol=1e-5)
        np.testing.assert_allclose([d.std for d in contract.states], states.std(0), rtol=1e-5)
        np.testing.assert_allclose([d.mean for d in contract.actions], actions.mean(0), atol=1e-7)
        np.testing.assert_allclose([d.std for d in contract.actions], actions.std(0), rtol=1e-5)
        np.testing.assert_allclose(contract.camera.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
        np.testing.assert_allclose(contract.camera.std, pixels.std((0, 1, 2)), rtol=1e-6)
        assert contract.action_repeat == skip
        assert skip > 1 or both.contract.differences(contract) == []
