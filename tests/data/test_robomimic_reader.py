"""A file of ours read step by step as robomimic's SequenceDataset (0.3.0) reads one, with h5py alone."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from jepa_robot.data.writer import TrajectoryWriter

STEPS = (4, 6, 5)


@pytest.fixture(params=["gzip", "blosc"])
def file(request, tmp_path, contract, make_episode):
    """Opened as robomimic opens it: for many readers, with the newest file format allowed."""
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, {"env_name": "toy"}, compression=request.param) as writer:
        for i, steps in enumerate(STEPS):
            writer.append(make_episode(i, steps=steps))
    with h5py.File(path, "r", swmr=True, libver="latest") as opened:
        yield opened


def index_of(file):
    """Sample number -> (demo, step), as its load_demo_info makes it."""
    demos = list(file["data"].keys())
    demos = [demos[i] for i in np.argsort([int(name[5:]) for name in demos])]
    return [(demo, step) for demo in demos for step in range(file[f"data/{demo}"].attrs["num_samples"])]


def sequence(file, demo, step, key, stack, length):
    """Frames step - stack + 1 to step + length - 1, the ends repeated: its get_sequence_from_demo."""
    count = file[f"data/{demo}"].attrs["num_samples"]
    begin, end = max(0, step - stack + 1), min(count, step + length)
    rows = file[f"data/{demo}/{key}"][begin:end]
    before, after = max(0, stack - 1 - step), max(0, step + length - count)
    return np.concatenate([np.repeat(rows[:1], before, 0), rows, np.repeat(rows[-1:], after, 0)])


def test_one_sample_for_every_action(file):
    index = index_of(file)
    assert index == [(f"demo_{i}", t) for i, steps in enumerate(STEPS) for t in range(steps)]
    assert len(index) == file["data"].attrs["total"]


def test_every_sequence_is_aligned(file, make_episode):
    """Observation t is the one that action t was chosen from; the final one is no sample."""
    for demo, step in index_of(file):
        number = int(demo[5:])
        wanted = make_episode(number, steps=STEPS[number])
        rows = np.clip(np.arange(step - 1, step + 3), 0, STEPS[number] - 1)
        for key, array in {
            "obs/front": wanted.frames, "obs/proprio": wanted.states, "actions": wanted.actions,
        }.items():
            np.testing.assert_array_equal(sequence(file, demo, step, key, stack=2, length=3), array[rows])


def test_caching_takes_whole_arrays(file):
    """Its load_dataset_in_memory reads every key of every demo with [()] and makes numbers of it."""
    for demo in file["data"]:
        count = file[f"data/{demo}"].attrs["num_samples"]
        for key in ("actions", "rewards", "dones"):
            values = file[f"data/{demo}/{key}"][()].astype("float32")
            assert len(values) == count and np.isfinite(values).all()
        assert {len(file[f"data/{demo}/obs/{key}"][()]) for key in ("front", "proprio")} == {count}
