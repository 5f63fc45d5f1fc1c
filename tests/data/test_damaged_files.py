"""Every way in which a trajectory file can be wrong: one error of ours, when it is opened or read."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from damage import attribute, break_file, damage, delete, zero_chunk

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("text", "is not an HDF5 file"),
    ],
)
def test_no_hdf5_file(path, tmp_path, how, message):
    break_file(path, how, tmp_path)
    with pytest.raises(DataError, match=f"toy.h5: {message}"):
        TrajectoryReader(path)


def test_no_episodes(tmp_path, contract):
    TrajectoryWriter(tmp_path / "toy.h5", contract, {}).close()
    with pytest.raises(DataError, match="no complete episode"):
        TrajectoryReader(tmp_path / "toy.h5")


def test_other_hdf5(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="no group 'data'"):
        TrajectoryReader(tmp_path / "other.h5")


def test_no_contract(path):
    damage(path, lambda file: file["data"].attrs.pop("contract"))
    with pytest.raises(DataError, match="no attribute 'contract'"):
        TrajectoryReader(path)


def test_incomplete_episode_is_skipped(path):
    damage(path, attribute("data/demo_1", "complete", False))
    with TrajectoryReader(path) as reader:
        assert reader.names == ["demo_0", "demo_2"]


@pytest.mark.parametrize("key", ["actions", "obs/front", "obs/proprio", "final_obs/front"])
def test_missing_key(path, key):
    damage(path, delete(f"data/demo_1/{key}"))
    with TrajectoryReader(path) as reader, pytest.raises(DataError, match=f"data/demo_1/{key}: is missing"):
        reader.read(1)


def test_nan_in_file(path):
    with h5py.File(path, "r+") as file:
        file["data/demo_2/actions"][4, 1] = np.nan
    with TrajectoryReader(path) as reader, pytest.raises(DataError, match="demo_2/actions: gripper at step 4 is nan"):
        reader.read(2).check(reader.contract, reader.where(2))


def test_truncated(path, tmp_path):
    """At any length: one of our errors when opened or read, and never another."""
    whole = path.read_bytes()
    cut = tmp_path / "cut.h5"
    for size in [1, 7, 8, 100, 1000, *range(2048, len(whole), len(whole) // 25), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError) as caught, TrajectoryReader(cut) as reader:
            for i in range(len(reader)):
                reader.read(i)
        assert "\n" not in str(caught.value) and "cut.h5" in str(caught.value)


def test_damaged_pixels(path):
    zero_chunk(path, "data/demo_1/obs/front", part=0.5)
    with TrajectoryReader(path) as reader, pytest.raises(DataError, match="data/demo_1/obs/front cannot be read"):
        reader.read(1)


@pytest.mark.parametrize(("key", "rows"), [("obs/front", slice(2, 4)), ("final_obs/front", slice(6, 6))])
def test_erased_pixels(path, key, rows):
    """Zeros in place of a compressed picture: Blosc and the checksum take them for a black one."""
    zero_chunk(path, f"data/demo_2/{key}")
    with h5py.File(path, "r") as file:
        assert not file[f"data/demo_2/{key}"][:].any()
    with TrajectoryReader(path) as reader:
        with pytest.raises(DataError, match=f"data/demo_2/{key}.* was overwritten with zeros"):
            reader.read(2)
        with pytest.raises(DataError, match=f"data/demo_2/{key}.* was overwritten with zeros"):
            reader.read(2, max(0, rows.start - 1), rows.stop)


@pytest.mark.parametrize("compression", ["blosc", "gzip", "none"])
def test_black_pictures_are_pictures(tmp_path, contract, make_episode, compression):
    episode = make_episode(0)
    episode.frames[2:] = 0
    with TrajectoryWriter(tmp_path / "toy.h5", contract, {}, compression=compression) as writer:
        writer.append(episode)
    with TrajectoryReader(tmp_path / "toy.h5") as reader:
        np.testing.assert_array_equal(reader.read(0).frames, episode.frames)


@pytest.mark.parametrize(
    "key", ["data", "data/demo_1", "data/demo_1/actions", "data/demo_1/obs", "data/demo_1/timestamps"]
)
def test_links_out_of_the_file(path, tmp_path, key):
    """What lies behind them is a good file, so that only the link can be what is wrong."""
    shutil.copy(path, tmp_path / "outside.h5")
    with h5py.File(path, "r+") as file:
        if key in file:
            del file[key]
        file[key] = h5py.ExternalLink("outside.h5", key)
    with pytest.raises(DataError, match="is a link" if key != "data" else "no group 'data'"):
        with TrajectoryReader(path) as reader:
            reader.read(1)


@pytest.mark.parametrize("virtual", [True, False])
def test_values_outside_the_file(path, tmp_path, virtual):
    shutil.copy(path, tmp_path / "outside.h5")
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_1"]
        actions = demo.pop("actions")[:]
        if virtual:
            layout = h5py.VirtualLayout(actions.shape, actions.dtype)
            layout[:] = h5py.VirtualSource(tmp_path / "outside.h5", "data/demo_1/actions", actions.shape)
            demo.create_virtual_dataset("actions", layout)
        else:
            actions.tofile(tmp_path / "outside.bin")
            storage = [(tmp_path / "outside.bin", 0, actions.nbytes)]
            demo.create_dataset("actions", actions.shape, actions.dtype, external=storage)
    with TrajectoryReader(path) as reader:
        with pytest.raises(DataError, match="data/demo_1/actions: has its values in another file"):
            reader.read(1)


def test_open_elsewhere(path, contract, make_episode):
    with TrajectoryWriter(path, contract, {}):
        with pytest.raises(DataError, match="still being written"):
            TrajectoryReader(path)
