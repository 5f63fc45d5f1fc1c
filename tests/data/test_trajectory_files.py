"""Writing and reading trajectory files: the layout, and every way in which a file can be wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil

import h5py
import numpy as np
import pytest
from damage import attribute, damage, delete, zero_chunk

from jepa_robot.data import journal
from jepa_robot.data.journal import journal_path
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ContractError, DataError, OutputError

ENV_ARGS = {"env_name": "toy", "type": "gymnasium", "env_kwargs": {}}


@pytest.fixture
def path(tmp_path, contract, make_episode):
    """Three episodes of 4, 5 and 6 actions."""
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, ENV_ARGS, {"task": "toy"}, seed=7) as writer:
        for i in range(3):
            writer.append(make_episode(i, steps=4 + i))
    return path


def assert_episodes(path, make_episode, steps):
    with TrajectoryReader(path) as reader:
        assert reader.lengths.tolist() == steps
        for i, count in enumerate(steps):
            found, wanted = reader.read(i), make_episode(i, steps=count)
            np.testing.assert_array_equal(found.frames, wanted.frames)
            np.testing.assert_array_equal(found.states, wanted.states)
            np.testing.assert_array_equal(found.actions, wanted.actions)
            assert (found.kind, found.seed) == (wanted.kind, wanted.seed)


@pytest.mark.parametrize("compression", ["blosc", "gzip", "none"])
def test_read_back(tmp_path, contract, make_episode, compression):
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, ENV_ARGS, compression=compression) as writer:
        for i in range(3):
            writer.append(make_episode(i, steps=4 + i))
    assert_episodes(path, make_episode, [4, 5, 6])


def test_robomimic_layout(path, contract, make_episode):
    """What a reader of robomimic's files does, with h5py alone."""
    with h5py.File(path, "r") as file:
        data = file["data"]
        assert data.attrs["total"] == 4 + 5 + 6
        assert json.loads(data.attrs["env_args"]) == ENV_ARGS
        assert json.loads(data.attrs["contract"])["task"] == contract.task
        for i in range(3):
            demo, wanted = data[f"demo_{i}"], make_episode(i, steps=4 + i)
            count = demo.attrs["num_samples"]
            assert count == 4 + i
            for t in range(count):
                np.testing.assert_array_equal(demo["obs/front"][t], wanted.frames[t])
                np.testing.assert_array_equal(demo["obs/proprio"][t], wanted.states[t])
                np.testing.assert_array_equal(demo["actions"][t], wanted.actions[t])
            lengths = {key: len(demo[key]) for key in ("obs/front", "obs/proprio", "actions", "rewards", "dones")}
            assert set(lengths.values()) == {count}, lengths
            assert demo["dones"][:].tolist() == [0] * (count - 1) + [1]
            np.testing.assert_array_equal(demo["final_obs/front"][()], wanted.frames[-1])


def test_append_to_existing(path, contract, make_episode):
    with TrajectoryWriter(path, contract, ENV_ARGS) as writer:
        assert len(writer) == 3
        writer.append(make_episode(3, steps=7))
    assert_episodes(path, make_episode, [4, 5, 6, 7])
    with h5py.File(path, "r") as file:
        assert file["data"].attrs["total"] == 4 + 5 + 6 + 7


def test_append_with_other_contract(path, contract):
    other = dataclasses.replace(contract, fps=10.0)
    with pytest.raises(ContractError, match="fps is 5.0"):
        TrajectoryWriter(path, other, ENV_ARGS)


def test_read_with_other_contract(path, contract):
    other = dataclasses.replace(contract, task="push")
    with pytest.raises(ContractError, match="task is 'toy' in .*toy.h5 but 'push'"):
        TrajectoryReader(path, contract=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": (3, 1, np.nan)}, r"demo_3/actions: gripper at step 3 is nan; expected a finite number"),
        ({"actions": (2, 0, np.inf)}, r"demo_3/actions: dx at step 2 is inf"),
        ({"actions": (1, 0, 0.06)}, r"demo_3/actions: dx at step 1 is 0.06; expected \[-0.05, 0.05\] m"),
        ({"states": (6, 2, np.nan)}, r"demo_3/obs/proprio: y at step 6 is nan"),
    ],
)
def test_refuses_values(path, contract, make_episode, change, message):
    episode = make_episode(3)
    (key, (step, dim, value)) = next(iter(change.items()))
    getattr(episode, key)[step, dim] = value
    with TrajectoryWriter(path, contract, ENV_ARGS) as writer, pytest.raises(DataError, match=message):
        writer.append(episode)
    assert_episodes(path, make_episode, [4, 5, 6])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {"frames": e.frames[:-1]}, r"obs/front: is uint8 \[6, 16, 16, 3\]; expected uint8 \[7, 16, 16, 3\]"),
        (lambda e: {"frames": e.frames.astype(np.float32)}, "obs/front: is float32"),
        (lambda e: {"actions": e.actions.astype(np.float64)}, "actions: is float64"),
        (lambda e: {"actions": e.actions[:, :1]}, r"actions: is float32 \[6, 1\]"),
        (lambda e: {"states": e.states[:, :2]}, r"obs/proprio: is float32 \[7, 2\]"),
        (lambda e: {"actions": e.actions[:0]}, "actions: has no actions"),
    ],
)
def test_refuses_shapes(path, contract, make_episode, change, message):
    episode = make_episode(3)
    with TrajectoryWriter(path, contract, ENV_ARGS) as writer, pytest.raises(DataError, match=message):
        writer.append(dataclasses.replace(episode, **change(episode)))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="none.h5: no such file"):
        TrajectoryReader(tmp_path / "none.h5")


def test_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        TrajectoryReader(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "empty.h5").touch()
    with pytest.raises(DataError, match="is empty"):
        TrajectoryReader(tmp_path / "empty.h5")


def test_not_hdf5(tmp_path):
    (tmp_path / "text.h5").write_text("hello " * 1000)
    with pytest.raises(DataError, match="is not an HDF5 file"):
        TrajectoryReader(tmp_path / "text.h5")


def test_no_episodes(tmp_path, contract):
    TrajectoryWriter(tmp_path / "toy.h5", contract, ENV_ARGS).close()
    with pytest.raises(DataError, match="no complete episode"):
        TrajectoryReader(tmp_path / "toy.h5")


def test_other_hdf5(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="no group 'data'"):
        TrajectoryReader(tmp_path / "other.h5")


def test_no_contract(path):
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["contract"]
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
    with TrajectoryWriter(tmp_path / "toy.h5", contract, ENV_ARGS, compression=compression) as writer:
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
    with TrajectoryWriter(path, contract, ENV_ARGS):
        with pytest.raises(DataError, match="still being written"):
            TrajectoryReader(path)


def test_disk_full(path, contract, make_episode, monkeypatch):
    """Wherever the disk fills up, the file stays as the last flush left it, and can be continued."""
    pwrite = os.pwrite
    for allowed in range(12):
        copy = path.with_name(f"full{allowed}.h5")
        shutil.copy(path, copy)
        left = iter(range(allowed))

        def full(fd, data, offset, left=left):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return pwrite(fd, data, offset)

        with monkeypatch.context() as patch:
            patch.setattr(journal.os, "pwrite", full)
            with pytest.raises(OutputError, match="No space left on device.*; free space"):
                with TrajectoryWriter(copy, contract, ENV_ARGS) as writer:
                    for i in range(3, 30):
                        writer.append(make_episode(i, steps=4 + i))
        with TrajectoryReader(copy) as reader:
            count = len(reader)
        assert count in (3, 30)  # 30: the commit was in its journal already, and was finished by the reader
        assert_episodes(copy, make_episode, [4 + i for i in range(count)])
        with TrajectoryWriter(copy, contract, ENV_ARGS) as writer:
            writer.append(make_episode(count, steps=4 + count))
        assert_episodes(copy, make_episode, [4 + i for i in range(count + 1)])


def test_killed_at_any_write(path, contract, make_episode, monkeypatch):
    """After any system call that changes the file, what lies on disk is all of a commit or nothing of it."""
    seen = []

    def snapshot():
        copy = path.with_name(f"killed{len(seen)}.h5")
        shutil.copy(path, copy)
        if journal_path(path).exists():
            shutil.copy(journal_path(path), journal_path(copy))
        seen.append(copy)

    def watched(name):
        original = getattr(os, name)

        def call(*args):
            result = original(*args)
            snapshot()
            return result

        return call

    with TrajectoryWriter(path, contract, ENV_ARGS) as writer:
        with monkeypatch.context() as patch:
            for name in ("pwrite", "ftruncate", "fsync", "replace"):
                patch.setattr(journal.os, name, watched(name))
            for i in range(3, 6):
                writer.append(make_episode(i, steps=4 + i))
                writer.flush()
    counts = []
    for copy in seen:
        with TrajectoryReader(copy) as reader:
            counts.append(len(reader))
        assert_episodes(copy, make_episode, [4 + i for i in range(counts[-1])])
        assert not journal_path(copy).exists()
    assert counts == sorted(counts) and set(counts) == {3, 4, 5, 6}
    assert len(seen) > 20


def test_nothing_lies_in_a_heap_of_the_file(path, contract, make_episode):
    """Texts in HDF5's global heap: the library loops for ever over some damaged ones."""
    assert b"GCOL" not in path.read_bytes()  # the signature of such a heap
    with TrajectoryReader(path) as reader:
        assert reader.recipe == {"task": "toy"} and reader.env_args == ENV_ARGS
        assert [reader.read(i).kind for i in range(3)] == ["expert", "noisy", "expert"]


@pytest.mark.parametrize("text", ["", "grün", "x" * 200_000])
def test_any_text_survives(tmp_path, contract, make_episode, text):
    with TrajectoryWriter(tmp_path / "x.h5", contract, ENV_ARGS, {"note": text}) as writer:
        writer.append(dataclasses.replace(make_episode(0), kind=text[:40]))
    with TrajectoryReader(tmp_path / "x.h5") as reader:
        assert reader.recipe == {"note": text} and reader.read(0).kind == text[:40]
