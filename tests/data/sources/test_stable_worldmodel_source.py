"""stable-worldmodel's files: what its own reader returns, window by window; whatever is broken is one clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from damage import cut, damage, delete, replace
from sources import assert_every_window, assert_only_the_second_is_broken

from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import detect, open_source
from jepa_robot.data.sources.stable_worldmodel import StableWorldModel
from jepa_robot.errors import DataError

SAMPLE = Path(__file__).parents[1] / "samples" / "stable_worldmodel" / "moving_block.h5"
EXPECTED = np.load(SAMPLE.with_name("expected.npz"))
RATE = SourceOptions(fps=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(SAMPLE, tmp_path / "block.h5"))


# -- what is read ---------------------------------------------------------------------------


def test_every_episode_is_what_stable_worldmodels_own_reader_returns() -> None:
    assert detect(SAMPLE) == "stable_worldmodel"
    with open_source(SAMPLE, options=RATE) as source:
        assert source.lengths.tolist() == [8, 5, 10]
        for index in range(len(source)):
            episode = source.read(index)
            np.testing.assert_array_equal(episode.frames, EXPECTED[f"pixels_{index}"].transpose(0, 2, 3, 1))
            np.testing.assert_array_equal(episode.states, EXPECTED[f"proprio_{index}"])
            np.testing.assert_array_equal(episode.actions, EXPECTED[f"action_{index}"][:-1])
            episode.check(source.contract, source.where(index))


def test_each_action_is_the_one_taken_between_its_two_pictures() -> None:
    with open_source(SAMPLE, options=RATE) as source:
        for index in range(len(source)):
            episode = source.read(index)
            np.testing.assert_array_equal(episode.actions, EXPECTED[f"taken_{index}"])
            moved = np.diff(episode.states, axis=0)
            np.testing.assert_allclose(moved, episode.actions, atol=1e-5)  # the block never meets its walls here


def test_every_window_is_a_part_of_the_episode() -> None:
    assert_every_window(SAMPLE, RATE)


def test_bounds_are_those_of_the_actions_that_count(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["action"][8] = 100  # the last row of the first episode means nothing
        file["action"][14] = np.nan
    with StableWorldModel(path, RATE) as source:
        taken = np.concatenate([EXPECTED[f"taken_{i}"] for i in range(3)])
        np.testing.assert_allclose([d.low for d in source.contract.actions], taken.min(0), rtol=1e-6)
        np.testing.assert_allclose([d.high for d in source.contract.actions], taken.max(0), rtol=1e-6)
        assert [d.name for d in source.contract.states] == ["proprio[0]", "proprio[1]"]
        assert (source.contract.task, source.contract.camera.name) == ("block", "pixels")
        json.dumps(source.recipe)
        source.read(0).check(source.contract, "the first episode")


def test_columns_can_be_chosen_and_one_number_a_row_is_one_dimension() -> None:
    with StableWorldModel(SAMPLE, SourceOptions(fps=10, state=("step_idx", "proprio"), image_size=16)) as source:
        episode = source.read(2, 3, 5)
        assert episode.frames.shape == (3, 16, 16, 3)
        np.testing.assert_array_equal(np.diff(episode.states[:, 0]), 1)
        assert [d.name for d in source.contract.states] == ["step_idx", "proprio[0]", "proprio[1]"]


def test_pictures_alone_are_enough(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["proprio"]
        assert "reward" in file  # a float column that is no proprioception
    with StableWorldModel(path, RATE) as source:
        assert source.read(0).states.shape == (9, 0)


def test_the_only_file_of_a_folder_is_found(path: Path) -> None:
    assert detect(path.parent) == "stable_worldmodel"
    with StableWorldModel(path.parent, RATE) as source:
        assert source.lengths.tolist() == [8, 5, 10]
    shutil.copyfile(path, path.with_name("second.h5"))
    with pytest.raises(DataError, match="holds 2 HDF5 files; expected one"):
        StableWorldModel(path.parent, RATE)


def test_a_link_out_of_the_folder_is_refused(path: Path) -> None:
    inner = path.parent / "inner"
    inner.mkdir()
    (inner / "block.h5").symlink_to(path)
    with pytest.raises(DataError, match="leads out of the data set's folder"):
        StableWorldModel(inner, RATE)


def test_the_rate_has_to_be_given() -> None:
    with pytest.raises(DataError, match="frame rate.*fps="):
        StableWorldModel(SAMPLE)


def test_blosc_is_read(path: Path) -> None:
    with h5py.File(path, "a") as file:
        pixels = file["pixels"][()]
        del file["pixels"]
        file.create_dataset("pixels", data=pixels, chunks=(1, 32, 32, 3), **hdf5plugin.Blosc())
    with StableWorldModel(path, RATE) as source:
        np.testing.assert_array_equal(source.read(1).frames, pixels[9:15])


def test_not_a_number_is_left_for_the_checks(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["action"][10, 1] = np.nan
    with StableWorldModel(path, RATE) as source:
        episode = source.read(1)
        assert np.isnan(episode.actions[1, 1])
        with pytest.raises(DataError, match=r"episode_1/actions.*step 1 is nan"):
            episode.check(source.contract, source.where(1))


# -- what is broken -------------------------------------------------------------------------


def no_episodes(file: h5py.File) -> None:
    for key in ("ep_len", "ep_offset"):
        replace(key, lambda v: v[:0])(file)


def group(file: h5py.File) -> None:
    file.create_group("extras")


WHOLE = {  # what is done to the file, and what the message says
    "no lengths": (delete("ep_len"), r"ep_len: is missing"),
    "no offsets": (delete("ep_offset"), r"ep_offset: is missing"),
    "no actions": (delete("action"), r"action: is missing"),
    "no pictures": (delete("pixels"), r"block.h5: has no pictures, only id int64 \[\], proprio"),
    "a group": (group, r"extras: is a group; expected an array"),
    "no episodes": (no_episodes, r"ep_len: holds no episodes"),
    "fewer offsets": (replace("ep_offset", lambda v: v[:-1]), r"ep_offset: has 2 episodes; expected 3"),
    "float lengths": (replace("ep_len", lambda v: v + 0.5), r"ep_len: is float64 \[\] an episode; expected a whole"),
    "lengths in a table": (replace("ep_len", lambda v: v[:, None]), r"ep_len: is int32 \[1\] an episode"),
    "one length": (replace("ep_len", lambda v: 26), r"ep_len: is a single value"),
    "fewer pictures": (replace("pixels", lambda v: v[:-1]), r"pixels: has 25 rows; expected 26, like action"),
    "fewer states": (replace("proprio", lambda v: v[2:]), r"proprio: has 24 rows; expected 26, like action"),
    "float pictures": (replace("pixels", lambda v: v / 255), r"has no pictures, only"),
    "text actions": (replace("action", lambda v: np.array([b"up"] * 26)), r"action: is \|S2"),
    "object actions": (replace("action", lambda v: ["up"] * 26), r"action: is object \[\] a step; expected a vector"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_that_says_nonsense_is_refused(path: Path, case: str) -> None:
    change, message = WHOLE[case]
    damage(path, change)
    with pytest.raises(DataError, match=message):
        StableWorldModel(path, RATE)


@pytest.mark.parametrize(
    ("table", "value", "message"),
    [
        ("ep_len", 0, "episode_1: has 0 rows"),
        ("ep_len", 1, "episode_1: has 1 rows, so no action leads"),
        ("ep_len", -4, "episode_1: is rows 9 to 5; expected rows among the 26"),
        ("ep_len", 18, "episode_1: is rows 9 to 27; expected rows among the 26"),
        ("ep_len", 2**31 - 1, "episode_1: is rows 9 to"),
        ("ep_offset", -1, "episode_1: is rows -1 to 5"),
        ("ep_offset", 21, "episode_1: is rows 21 to 27"),
        ("ep_offset", 2**63 - 1, "episode_1: is rows 9223372036854775807 to"),
    ],
)
def test_an_episode_outside_of_the_columns_is_refused_and_the_others_are_read(
    path: Path, table: str, value: int, message: str
) -> None:
    with h5py.File(path, "a") as file:
        file[table][1] = value
    with StableWorldModel(path, RATE) as source, StableWorldModel(SAMPLE, RATE) as good:
        assert_only_the_second_is_broken(source, good, message)


@pytest.mark.parametrize("part", [0, 0.01, 0.4, 0.8, 0.999])
def test_a_truncated_file_is_refused(path: Path, part: float) -> None:
    cut(path, part)
    with pytest.raises(DataError, match="block.h5"):
        StableWorldModel(path, RATE)
    assert not StableWorldModel.recognises(path)
