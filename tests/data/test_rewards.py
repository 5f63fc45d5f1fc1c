"""Rewards: which of a source belong to which action, and that nothing on the way to training loses them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import edit_json
from episodes import read_all

from jepa_robot.data.convert import convert
from jepa_robot.data.format import Episode
from jepa_robot.data.inspection import inspect
from jepa_robot.data.merge import merge
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.record import Recorder
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import open_source
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError
from jepa_robot.planning.types import Observation
from jepa_robot.spec import Contract

SAMPLES = Path(__file__).parent / "samples"
RATE = SourceOptions(fps=10)


def fill(path: Path, key: str, step: float = 1.0) -> np.ndarray:
    """Write 0.5, 1.5, ... into an array of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        values = 0.5 + step * np.arange(len(file[key]))
        file[key][...] = values.reshape(file[key].shape)
    return values.astype(np.float32)


def assert_windows(path: Path, index: int, expected: np.ndarray, options: SourceOptions = SourceOptions()) -> None:
    """The rewards of an episode and of every window of it."""
    with open_source(path, options=options) as source:
        length = int(source.lengths[index])
        assert len(expected) == length
        for start in range(length):
            for stop in range(start + 1, length + 1):
                found = source.read(index, start, stop).rewards
                assert found.dtype == np.float32
                np.testing.assert_array_equal(found, expected[start:stop])


# -- other formats --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "lost"), [("image.hdf5", 0), ("image_no_next.hdf5", 1)])
def test_robomimic(tmp_path: Path, name: str, lost: int) -> None:
    path = Path(shutil.copyfile(SAMPLES / "robomimic" / name, tmp_path / name))
    rewards = fill(path, "data/demo_2/rewards")
    assert_windows(path, 1, rewards[: len(rewards) - lost])


def test_minari(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SAMPLES / "minari" / "dict", tmp_path / "dict"))
    assert_windows(root, 1, fill(root / "data" / "main_data.hdf5", "episode_1/rewards"), RATE)


@pytest.mark.parametrize("column", [False, True])
def test_stable_worldmodel_s_row_has_the_reward_that_came_with_its_picture(tmp_path: Path, column: bool) -> None:
    path = Path(shutil.copyfile(SAMPLES / "stable_worldmodel" / "moving_block.h5", tmp_path / "block.h5"))
    if column:  # [rows, 1]
        with h5py.File(path, "r+") as file:
            del file["reward"]
            file["reward"] = np.zeros((26, 1))
    rewards = fill(path, "reward")
    with h5py.File(path, "r") as file:  # as does the mark of the end: the last row has it, that of the last picture
        assert np.flatnonzero(file["terminated"][:]).tolist() == [8, 14, 25]
    assert_windows(path, 1, rewards[10:15], RATE)  # rows 9 to 14


def test_lerobot(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SAMPLES / "lerobot" / "video", tmp_path / "video"))
    with open_source(root) as source:
        assert source.read(0).rewards is None
        lengths = source.lengths + 1
    for path in (root / "data").glob("*/*.parquet"):
        table = pq.read_table(path)
        rewards = 0.5 + table["index"].to_numpy()  # rows are numbered through all files
        pq.write_table(table.append_column("next.reward", pa.array(rewards.astype(np.float32))), path)
    feature = {"dtype": "float32", "shape": [1], "names": None}
    edit_json(root / "meta" / "info.json", lambda info: info["features"].update({"next.reward": feature}))
    rewards = 0.5 + lengths[0] + np.arange(lengths[1] - 1)  # the last row's action leads nowhere
    assert_windows(root, 1, rewards.astype(np.float32))


def test_without_rewards_there_are_none(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(SAMPLES / "robomimic" / "image.hdf5", tmp_path / "image.hdf5"))
    with h5py.File(path, "r+") as file:
        del file["data/demo_2/rewards"]
        file["data/demo_10/rewards"][3] = np.nan
        del file["data/demo_0/rewards"]
        file["data/demo_0/rewards"] = np.zeros((7, 2))
    with open_source(path) as source:
        assert source.read(1).rewards is None
        with pytest.raises(DataError, match=r"data/demo_0/rewards: is float64 \[7, 2\]; expected float64 \[7\]"):
            source.read(0)
        episode = source.read(2)
        with pytest.raises(DataError, match=r"data/demo_10/rewards: is nan at step 3; expected a finite number"):
            episode.check(source.contract, source.where(2))


def test_check_finds_what_converting_refuses(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(SAMPLES / "robomimic" / "image.hdf5", tmp_path / "image.hdf5"))
    fill(path, "data/demo_10/rewards")
    with open_source(path) as source:
        assert not [finding for finding in inspect(source).findings if finding.kind == "not_finite"]
    with h5py.File(path, "r+") as file:
        file["data/demo_10/rewards"][3] = np.inf
    with open_source(path) as source:
        (found,) = [finding for finding in inspect(source).findings if finding.kind == "not_finite"]
    assert (found.episode, found.key, found.step) == ("demo_10", "rewards", 3) and "inf" in found.message


# -- our own files --------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path, contract: Contract, make_episode: Callable[..., Episode]) -> Path:
    """Three episodes of 6 actions: with rewards, without, and with rewards that are all zero."""
    with TrajectoryWriter(tmp_path / "a.h5", contract, {}) as writer:
        writer.append(dataclasses.replace(make_episode(0), rewards=np.arange(6, dtype=np.float32) / 4))
        writer.append(make_episode(1))
        writer.append(dataclasses.replace(make_episode(2), rewards=np.zeros(6, np.float32)))
    return tmp_path / "a.h5"


def assert_kept(path: Path) -> None:
    first, second, third = (episode.rewards for episode in read_all(path))
    assert first.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert second is None
    assert third.tolist() == [0.0] * 6
    with h5py.File(path, "r") as file:  # a reader that knows nothing of this finds zeros where there are none
        for i, rewards in enumerate((first, np.zeros(6), third)):
            np.testing.assert_array_equal(file[f"data/demo_{i}/rewards"][:], rewards)
            assert file[f"data/demo_{i}/rewards"].dtype == np.float32
            assert file[f"data/demo_{i}/dones"][:].tolist() == [0, 0, 0, 0, 0, 1]


def test_a_file_tells_no_rewards_from_rewards_of_zero(path: Path) -> None:
    assert_kept(path)
    assert_windows(path, 0, np.arange(6, dtype=np.float32) / 4)


def test_convert_and_merge_keep_them(path: Path, tmp_path: Path) -> None:
    convert(path, tmp_path / "b.h5", compression="none")
    assert_kept(tmp_path / "b.h5")
    merge([path, tmp_path / "b.h5"], tmp_path / "both.h5")
    rewards = [None if e.rewards is None else e.rewards.tolist() for e in read_all(tmp_path / "both.h5")]
    assert rewards[:3] == rewards[3:] == [[0.0, 0.25, 0.5, 0.75, 1.0, 1.25], None, [0.0] * 6]


def test_converting_keeps_those_of_another_format(tmp_path: Path) -> None:
    source = Path(shutil.copyfile(SAMPLES / "robomimic" / "image.hdf5", tmp_path / "image.hdf5"))
    rewards = fill(source, "data/demo_2/rewards")
    convert(source, tmp_path / "out.h5")
    np.testing.assert_array_equal(read_all(tmp_path / "out.h5")[1].rewards, rewards)


def test_damaged_rewards_are_one_clear_error(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/rewards"]
        file["data/demo_0/rewards"] = np.zeros(5, np.float32)
        del file["data/demo_2/rewards"]
    with TrajectoryReader(path) as reader:
        with pytest.raises(DataError, match=r"data/demo_0/rewards: is float32 \[5\]; expected float32 \[6\]"):
            reader.read(0)
        with pytest.raises(DataError, match="data/demo_2/rewards: is missing"):
            reader.read(2)
    with pytest.raises(DataError, match="data/demo_0/rewards"):
        merge([path, Path(shutil.copyfile(path, tmp_path / "b.h5"))], tmp_path / "c.h5")


def test_a_wrong_reward_is_not_written(path: Path, contract: Contract, make_episode: Callable[..., Episode]) -> None:
    with TrajectoryWriter(path, contract, {}) as writer:
        for rewards, message in (
            (np.full(6, np.inf, np.float32), r"demo_3/rewards: is inf at step 0"),
            (np.zeros(7, np.float32), r"demo_3/rewards: is float32 \[7\]; expected float32 \[6\]"),
            (np.zeros(6), r"demo_3/rewards: is float64 \[6\]; expected float32 \[6\]"),
        ):
            with pytest.raises(DataError, match=message):
                writer.append(dataclasses.replace(make_episode(3), rewards=rewards))
    assert_kept(path)


# -- recording ------------------------------------------------------------------------------


def test_recording(tmp_path: Path, contract: Contract, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(0, steps=3)
    seen = [Observation(image=episode.frames[t], state=episode.states[t], time=float(t)) for t in range(4)]

    def record(recorder: Recorder, rewards: tuple[float | None, ...]) -> None:
        recorder.start(seen[0])
        for t, reward in enumerate(rewards):
            recorder.step(episode.actions[t], seen[t + 1], reward)

    with Recorder(tmp_path / "a.h5", contract) as recorder:
        for rewards in ((0.5, 0.0, -1.0), (None, None, None)):
            record(recorder, rewards)
            recorder.end()
        for rewards, problem in (((None, 1.0), "is given"), ((1.0, None), "is missing")):
            with pytest.raises(DataError, match=rf"demo_2/rewards\[1\]: {problem}"):
                record(recorder, rewards)
            recorder.discard()
        with pytest.raises(DataError, match=r"demo_2, action 0/rewards: is nan"):
            record(recorder, (np.nan,))
        recorder.discard()
        record(recorder, (0.25,))  # what was refused or discarded leaves nothing behind
        recorder.end()
    found = [None if e.rewards is None else e.rewards.tolist() for e in read_all(tmp_path / "a.h5")]
    assert found == [[0.5, 0.0, -1.0], None, [0.25]]
