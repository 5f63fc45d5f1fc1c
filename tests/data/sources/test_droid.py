"""DROID's raw episodes, compared with what a plain loop makes of them (scripts/make_samples/droid.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from sources import assert_windows_in_any_order

from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import detect, open_source
from jepa_robot.data.sources.droid import Droid
from jepa_robot.errors import DataError

ROOT = Path(__file__).parents[1] / "samples" / "droid" / "raw"
EXPECTED = np.load(ROOT.parent / "expected.npz")
# The source's order (by path) -> the sample's number.
NUMBERS = [2, 0, 1]


@pytest.fixture
def root(tmp_path):
    return Path(shutil.copytree(ROOT, tmp_path / "raw"))


def stamped(root: Path) -> Path:
    """The folder of the episode that has time stamps beside its videos."""
    return next(root.glob("**/*_timestamps.json")).parents[2]


def test_found_by_looking(tmp_path):
    episode = next(ROOT.glob("*/success/*/*"))
    for path in (ROOT, ROOT / "AUTOLab", episode.parent, episode):
        assert detect(path) == "droid"
    assert not Droid.recognises(episode / "recordings")
    assert not Droid.recognises(episode / "trajectory.h5")
    assert not Droid.recognises(tmp_path)
    assert not Droid.recognises(tmp_path / "nothing")


@pytest.mark.parametrize("camera", ["ext1", "ext2", "wrist"])
def test_equals_a_plain_loop(camera):
    with open_source(ROOT, options=SourceOptions(camera=camera)) as source:
        assert source.lengths.tolist() == [7, 6, 10]
        for index, number in enumerate(NUMBERS):
            episode = source.read(index)
            np.testing.assert_allclose(episode.states, EXPECTED[f"{number}/states"], atol=1e-6)
            np.testing.assert_allclose(episode.actions, EXPECTED[f"{number}/actions"], atol=1e-7)
            np.testing.assert_array_equal(episode.times, EXPECTED[f"{number}/times"])
            # Pixels may differ by rounding where the libraries that decode are of other versions.
            assert np.abs(episode.frames.astype(int) - EXPECTED[f"{number}/{camera}"]).max() <= 1
            episode.check(source.contract, "sample")


def test_frames_belong_to_their_rows():
    """Red tells the row, green the episode: also where the video lacks a row in the middle (episode 1, row 2)."""
    with open_source(ROOT) as source:
        for index, rows in enumerate([range(8), range(7), [0, 1, *range(3, 12)]]):
            corner = source.read(index).frames[:, -1, -1].astype(int)
            np.testing.assert_allclose(corner[:, 0], 20 + 16 * np.array(rows), atol=5)
            np.testing.assert_allclose(corner[:, 1], 40 + 60 * NUMBERS[index], atol=5)


def test_a_row_without_a_frame_shows_in_the_times():
    with open_source(ROOT) as source:
        assert np.diff(source.read(2).times).round(2).tolist() == [0.07, 0.13] + [0.07] * 8


def test_left_and_right():
    """In the sample ext2 is the left one."""
    for name, same in (("left", "ext2"), ("right", "ext1")):
        with open_source(ROOT, options=SourceOptions(camera=name)) as source:
            assert source.contract.camera.name == name
            np.testing.assert_array_equal(source.read(0).frames, EXPECTED[f"2/{same}"])


def test_windows_are_slices_in_any_order():
    assert_windows_in_any_order(ROOT)


def test_contract():
    with open_source(ROOT) as source:
        contract = source.contract
    assert (contract.task, contract.fps) == ("droid", 15.0)
    assert (contract.camera.name, contract.camera.height, contract.camera.width) == ("ext1", 48, 64)
    assert [(d.name, d.unit, d.frame) for d in contract.states] == [
        ("x", "m", "base"), ("y", "m", "base"), ("z", "m", "base"),
        ("roll", "rad", "base"), ("pitch", "rad", "base"), ("yaw", "rad", "base"), ("gripper", "1", "base"),
    ]
    assert [(d.name, d.unit, d.integrates) for d in contract.actions] == [
        ("dx", "m", "x"), ("dy", "m", "y"), ("dz", "m", "z"),
        ("droll", "rad", None), ("dpitch", "rad", None), ("dyaw", "rad", None), ("dgripper", "1", "gripper"),
    ]
    actions = np.concatenate([EXPECTED[f"{number}/actions"] for number in NUMBERS])
    states = np.concatenate([EXPECTED[f"{number}/states"] for number in NUMBERS])
    np.testing.assert_allclose(contract.action_low, actions.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose(contract.action_high, actions.max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(contract.state_low, [*states[:, :3].min(axis=0), *[-np.pi] * 3, 0], rtol=1e-6)
    np.testing.assert_allclose(contract.state_high, [*states[:, :3].max(axis=0), *[np.pi] * 3, 1], rtol=1e-6)


def test_actions_are_small_where_angles_jump():
    """The sample's roll and yaw pass half a turn."""
    with open_source(ROOT) as source:
        jumps = [np.abs(np.diff(source.read(i).states[:, [3, 5]], axis=0)).max() for i in range(3)]
        turns = [np.abs(source.read(i).actions[:, 3:6]).max() for i in range(3)]
    assert max(jumps) > 6 and max(turns) < 0.2


def test_other_states():
    options = SourceOptions(state=("joint_positions", "gripper_position"), image_size=16, fps=5.0, task="tidy")
    with open_source(ROOT, options=options) as source:
        contract, episode = source.contract, source.read(1, 1, 4)
    assert [d.name for d in contract.states] == [f"joint_{i}" for i in range(1, 8)] + ["gripper"]
    assert [d.integrates for d in contract.actions] == [None] * 6 + ["gripper"]
    assert (contract.fps, contract.task) == (5.0, "tidy")
    assert episode.frames.shape == (4, 16, 16, 3) and episode.actions.shape == (3, 7)
    np.testing.assert_allclose(episode.states[:, 0], np.linspace(-1, 1, 56)[::7][1:5], rtol=1e-6)


def test_without_clocks_there_are_no_times(root):
    for path in root.glob("**/trajectory.h5"):
        with h5py.File(path, "r+") as file:
            del file["observation/timestamp"]
    folder = stamped(root)
    shutil.rmtree(folder)
    with open_source(root) as source:
        assert source.lengths.tolist() == [7, 6]
        assert source.read(0).times is None
        np.testing.assert_array_equal(source.read(0).frames, EXPECTED["2/ext1"])


def test_one_episode_alone():
    path = next(ROOT.glob("*/failure/*/*"))
    with open_source(path) as source:
        assert source.names == [path.name] and source.lengths.tolist() == [7]
        np.testing.assert_array_equal(source.read(0).frames, EXPECTED["2/ext1"])


def test_folder_without_metadata_is_no_episode(root):
    """DROID's mark of an episode that is complete."""
    next(stamped(root).glob("metadata_*.json")).unlink()
    with open_source(root) as source:
        assert source.lengths.tolist() == [7, 6]


def test_not_a_number_is_left_to_the_checks(root):
    path = next(root.glob("*/failure/*/*/trajectory.h5"))
    with h5py.File(path, "r+") as file:
        file["observation/robot_state/cartesian_position"][3, 4] = np.nan
    with open_source(root) as source:
        episode = source.read(0)
        assert np.isnan(episode.actions).any(axis=1).tolist() == [False, False, True, True, False, False, False]
        with pytest.raises(DataError, match="pitch at step 3 is nan"):
            episode.check(source.contract, source.where(0))
        assert all(np.isfinite(d.low) and np.isfinite(d.high) for d in source.contract.actions)


def test_metadata_paths_of_another_place(root):
    """They start at the folder of the lab, whatever it is called here."""
    path = next(stamped(root).glob("metadata_*.json"))
    metadata = json.loads(path.read_text())
    metadata["ext1_mp4_path"] = "somewhere/else/recordings/MP4/22008760.mp4"
    path.write_text(json.dumps(metadata))
    with open_source(root) as source:
        np.testing.assert_array_equal(source.read(2).frames, EXPECTED["1/ext1"])
