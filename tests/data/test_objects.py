"""Where objects are: kept by everything that copies episodes, and given to no model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
from episodes import read_all

from jepa_robot.data.convert import convert
from jepa_robot.data.dataset import load_arrays, open_trajectories
from jepa_robot.data.format import Episode
from jepa_robot.data.inspection import inspect
from jepa_robot.data.memory import TrajectoryArrays
from jepa_robot.data.merge import merge
from jepa_robot.data.objects import Objects
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.repair import repair
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import open_source
from jepa_robot.data.streamed import SourceSpec
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError

NAMES, UNITS = ("object_x", "object_turn"), ("m", "rad")


def with_objects(episode: Episode) -> Episode:
    values = np.random.default_rng(episode.seed).normal(size=(len(episode.frames), 2)).astype(np.float32)
    return dataclasses.replace(episode, objects=Objects(NAMES, UNITS, values))


def write(path: Path, contract, episodes: list[Episode]) -> Path:
    with TrajectoryWriter(path, contract, {"env_name": "toy"}) as writer:
        for episode in episodes:
            writer.append(episode)
    return path


@pytest.fixture
def episodes(make_episode) -> list[Episode]:
    return [with_objects(make_episode(i, steps=4 + i)) for i in range(3)]


@pytest.fixture
def file(tmp_path, contract, episodes) -> Path:
    return write(tmp_path / "objects.h5", contract, episodes)


def assert_kept(path: Path, wanted: list[Episode]) -> None:
    found = read_all(path)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        assert one.objects.names == NAMES and one.objects.units == UNITS and one.objects.values.dtype == np.float32
        np.testing.assert_array_equal(one.objects.values, other.objects.values)


def test_they_lie_where_robomimic_has_them(file, episodes):
    with h5py.File(file) as opened:
        demo = opened["data/demo_1"]
        np.testing.assert_array_equal(demo["obs/object"][:], episodes[1].objects.values[:-1])
        np.testing.assert_array_equal(demo["final_obs/object"][:], episodes[1].objects.values[-1])
        assert demo.attrs["object_dims"] == b'[["object_x", "m"], ["object_turn", "rad"]]'


def test_every_piece_of_an_episode(file, episodes):
    assert_kept(file, episodes)
    with TrajectoryReader(file) as reader:
        for start in range(4):
            for stop in range(start + 1, 5):
                found = reader.read(0, start, stop).objects.values
                np.testing.assert_array_equal(found, episodes[0].objects.values[start : stop + 1])


def test_copies_keep_them(file, episodes, tmp_path):
    convert(file, tmp_path / "converted.h5")
    assert_kept(tmp_path / "converted.h5", episodes)
    merge([file, tmp_path / "converted.h5"], tmp_path / "merged.h5")
    assert_kept(tmp_path / "merged.h5", [*episodes, *episodes])
    with h5py.File(file, "r+") as opened:
        del opened["data/demo_1/actions"]
    assert_kept(repair(file, tmp_path / "repaired.h5").path, [episodes[0], episodes[2]])


@pytest.mark.parametrize("memory_gb", [1.0, 0.0])
def test_trajectories(file, episodes, memory_gb):
    data = open_trajectories([SourceSpec(file)], memory_gb)
    assert isinstance(data, TrajectoryArrays) == (memory_gb > 0)
    everything = np.concatenate([episode.objects.values for episode in episodes])
    rows = np.array([0, 1, 4, 5, 17, 3])
    found = data.objects_at(rows)
    assert found.names == NAMES and found.units == UNITS
    np.testing.assert_array_equal(found.values, everything[rows])
    assert {field.name for field in dataclasses.fields(data.gather(rows[:1], 2))} == {
        "frames", "states", "actions", "index"
    }


@pytest.mark.parametrize("memory_gb", [1.0, 0.0])
def test_without_them_or_with_others_there_are_none(path, contract, episodes, make_episode, tmp_path, memory_gb):
    """No file has to have them; an episode that lacks them, or has others, leaves none to compare."""
    assert all(episode.objects is None for episode in read_all(path))
    other = Objects(("block_x", "block_y"), ("mm", "mm"), episodes[1].objects.values)
    mixed = {
        "some": [episodes[0], make_episode(1)],
        "others": [episodes[0], dataclasses.replace(episodes[1], objects=other)],
    }
    files = [path, *(write(tmp_path / f"{name}.h5", contract, members) for name, members in mixed.items())]
    for one in files:
        assert open_trajectories([SourceSpec(one)], memory_gb).objects_at(np.arange(10)) is None


def test_the_contract_and_what_is_normalised_are_the_same_without(file, path):
    with TrajectoryReader(file) as one, TrajectoryReader(path) as other:
        assert one.contract == other.contract
    np.testing.assert_array_equal(load_arrays(file).states, load_arrays(path).states)


def test_as_robomimic_s_file_they_are_no_proprioception(file):
    with open_source(file, "robomimic", SourceOptions(fps=5.0)) as source:
        assert not any("object" in dim.name for dim in source.contract.states)
        assert source.read(0).objects is None


def test_wrong_ones_are_refused(contract, episodes, tmp_path):
    def refused(objects: Objects, message: str) -> None:
        with pytest.raises(DataError, match=message):
            write(tmp_path / "wrong.h5", contract, [dataclasses.replace(episodes[0], objects=objects)])

    values = episodes[0].objects.values
    refused(Objects(NAMES, UNITS, values[:-1]), r"obs/object: is float32 \[4, 2\].*float32 \[5, 2\]")
    refused(Objects(NAMES, UNITS, values.astype(float)), "is float64")
    refused(Objects(NAMES, UNITS[:1], values), "in 1 units")
    broken = values.copy()
    broken[3, 1] = np.nan
    refused(Objects(NAMES, UNITS, broken), "object_turn at step 3 is nan")


def test_damage_is_named(file):
    with h5py.File(file, "r+") as opened:
        opened["data/demo_0/obs/object"][2, 0] = np.inf
        opened["data/demo_1"].attrs["object_dims"] = np.bytes_("nonsense")
        del opened["data/demo_2/obs/object"]
    with TrajectoryReader(file) as reader:
        found = inspect(reader, skip_broken=True).findings
        assert any(str(finding) == "demo_0/obs/object step 2: object_x is inf" for finding in found)
        with pytest.raises(DataError, match="demo_1/obs/object: has the names 'nonsense'"):
            reader.read(1)
        with pytest.raises(DataError, match="demo_2/obs/object: is missing"):
            reader.read(2)
