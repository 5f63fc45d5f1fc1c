"""LeRobot data sets: what LeRobot's own writer wrote, compared with what LeRobot's own reader returns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import edit_json
from sources import assert_windows_in_any_order

from jepa_robot.data.derive import UNKNOWN
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import detect, open_source
from jepa_robot.data.sources.lerobot import LeRobot
from jepa_robot.errors import DataError

SAMPLES = Path(__file__).parents[1] / "samples" / "lerobot"
LENGTHS = {"video": [6, 9, 12], "image": [5, 7]}  # frames


@pytest.fixture(params=["video", "image"])
def kind(request):
    return request.param


@pytest.fixture
def root(tmp_path, kind):
    return Path(shutil.copytree(SAMPLES / kind, tmp_path / kind))


def edit_info(root: Path, **changes):
    edit_json(root / "meta" / "info.json", lambda info: info.update(changes))


def test_found_by_looking(kind):
    assert detect(SAMPLES / kind) == "lerobot"
    assert not LeRobot.recognises(SAMPLES)
    assert not LeRobot.recognises(SAMPLES / kind / "meta" / "info.json")


@pytest.mark.parametrize("name, camera", [("video", "top"), ("video", "wrist"), ("image", "image")])
def test_equals_lerobots_own_reader(name, camera):
    expected = np.load(SAMPLES / f"{name}.npz")
    pictures = expected[next(key for key in expected if key.endswith(camera))]
    with open_source(SAMPLES / name, options=SourceOptions(camera=camera)) as source:
        assert source.lengths.tolist() == [length - 1 for length in LENGTHS[name]]
        for i, (index, frame) in enumerate(zip(expected["episode_index"], expected["frame_index"])):
            episode = source.read(int(index))
            # Pixels may differ by rounding where the libraries that decode are of other versions.
            assert np.abs(episode.frames[frame].astype(int) - pictures[i]).max() <= 1
            np.testing.assert_array_equal(episode.states[frame], expected["observation.state"][i])
            np.testing.assert_allclose(episode.times[frame], expected["timestamp"][i], atol=1e-9)
            if frame < len(episode.actions):
                np.testing.assert_array_equal(episode.actions[frame], expected["action"][i])
            else:  # the last action leads to a frame that nobody recorded
                assert frame == len(episode.actions)


def test_frames_are_those_that_were_recorded(kind):
    """Red tells the frame, green the episode (see scripts/make_samples/lerobot.py): a shift by one would show."""
    with open_source(SAMPLES / kind) as source:
        for index in range(len(source)):
            episode = source.read(index)
            corner = episode.frames[:, -1, -1].astype(int)
            np.testing.assert_allclose(corner[:, 0], 20 + 16 * np.arange(LENGTHS[kind][index]), atol=5)
            np.testing.assert_allclose(corner[:, 1], 40 + 60 * index, atol=5)
            np.testing.assert_array_equal(episode.states[:, 0] * 8, np.arange(LENGTHS[kind][index]))
            episode.check_shapes(source.contract, "sample")
            episode.check(source.contract, "sample")


def test_windows_are_slices_in_any_order(kind):
    assert_windows_in_any_order(SAMPLES / kind)


def test_contract(kind):
    with open_source(SAMPLES / kind) as source:
        contract = source.contract
    assert (contract.task, contract.fps) == ("move the block", 10.0)
    assert (contract.camera.name, contract.camera.height, contract.camera.width) == (
        "top" if kind == "video" else "image", 32, 48,
    )
    for dims in (contract.actions, contract.states):
        assert [dim.name for dim in dims] == ["shoulder", "elbow", "gripper"]
        assert {(dim.unit, dim.frame, dim.integrates) for dim in dims} == {(UNKNOWN, UNKNOWN, None)}


def test_bounds_of_statistics_and_of_data_are_the_same(tmp_path):
    root = Path(shutil.copytree(SAMPLES / "video", tmp_path / "video"))
    stats = json.loads((root / "meta" / "stats.json").read_text())
    with open_source(root) as source:
        np.testing.assert_array_equal(source.contract.action_low, np.float32(stats["action"]["min"]))
        np.testing.assert_array_equal(source.contract.state_high, np.float32(stats["observation.state"]["max"]))
        contract = source.contract
    (root / "meta" / "stats.json").unlink()
    with open_source(root) as source:
        assert source.contract == contract


def test_statistics_come_before_data(tmp_path):
    root = Path(shutil.copytree(SAMPLES / "video", tmp_path / "video"))
    low, high = [-7, -8, -9], [7, 8, 9]
    edit_json(root / "meta" / "stats.json", lambda stats: stats["action"].update(min=low, max=high))
    with open_source(root) as source:
        assert (source.contract.action_low.tolist(), source.contract.action_high.tolist()) == (low, high)


def test_options(kind):
    key = "observation.images.wrist" if kind == "video" else "observation.image"
    state = ("observation.effort", "observation.state")
    options = SourceOptions(camera=key, state=state, fps=20.0, task="push", image_size=16)
    with open_source(SAMPLES / kind, options=options) as source:
        contract, episode = source.contract, source.read(1, 2, 4)
    assert (contract.task, contract.fps, contract.camera.crop) == ("push", 20.0, (0, 8, 32, 32))
    assert [dim.name for dim in contract.states] == ["effort", "shoulder", "elbow", "gripper"]
    assert episode.frames.shape == (3, 16, 16, 3)
    np.testing.assert_allclose(episode.states[:, 0], [1.02, 1.03, 1.04], rtol=1e-6)
    np.testing.assert_allclose(episode.frames[:, -1, -1, 0], [52, 68, 84], atol=5)
    assert np.abs(episode.frames[0, -1, -1, 2].astype(int) - (150 if kind == "video" else 60)) <= 5


def test_the_same_name_in_two_states(kind):
    options = SourceOptions(state=("observation.state", "action"))
    with open_source(SAMPLES / kind, options=options) as source:
        assert [dim.name for dim in source.contract.states][2:4] == ["observation.state.gripper", "action.shoulder"]


@pytest.mark.parametrize(
    "names, expected",
    [
        (None, ["action_0", "action_1", "action_2"]),
        (["D_act"], ["action_0", "action_1", "action_2"]),
        (["a", "a", "b"], ["action_0", "action_1", "action_2"]),
        ({"x": 0, "y": 1, "z": 2}, ["x", "y", "z"]),
        ({"arm": ["x", "y"], "hand": ["g"]}, ["x", "y", "g"]),
    ],
)
def test_names_of_dimensions(root, names, expected):
    features = json.loads((root / "meta" / "info.json").read_text())["features"]
    features["action"]["names"] = names
    edit_info(root, features=features)
    with open_source(root) as source:
        assert [dim.name for dim in source.contract.actions] == expected


def test_frame_rate_that_is_not_told(root):
    edit_info(root, fps=None)
    with pytest.raises(DataError, match="fps="):
        open_source(root)
    with open_source(root, options=SourceOptions(fps=10)) as source:
        assert source.contract.fps == 10


def test_one_row_group_for_all_episodes(tmp_path):
    """Converted and merged data sets have all episodes of a file in one row group."""
    root = Path(shutil.copytree(SAMPLES / "image", tmp_path / "image"))
    with open_source(root) as source:
        whole = [source.read(i) for i in range(len(source))]
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    for size in (len(table), 1, 4):
        pq.write_table(table, path, row_group_size=size)
        with open_source(root) as source:
            for i, expected in enumerate(whole):
                episode = source.read(i)
                np.testing.assert_array_equal(episode.frames, expected.frames)
                np.testing.assert_array_equal(episode.actions, expected.actions)
                window = source.read(i, 1, 3)
                np.testing.assert_array_equal(window.frames, expected.frames[1:4])


def test_values_are_left_to_the_checks(root):
    """Not a number is read as it is."""
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    values = np.stack(table.column("action").to_pylist()).astype(np.float32)
    values[1, 2], values[2, 0] = np.nan, np.inf
    column = pa.FixedSizeListArray.from_arrays(values.reshape(-1), 3)
    pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", column), path)
    with open_source(root) as source:
        episode = source.read(0)
        assert np.isnan(episode.actions[1, 2]) and np.isinf(episode.actions[2, 0])
        with pytest.raises(DataError, match="gripper at step 1 is nan"):
            episode.check(source.contract, "sample")


def test_depth_is_no_camera(tmp_path):
    root = Path(shutil.copytree(SAMPLES / "video", tmp_path / "video"))
    features = json.loads((root / "meta" / "info.json").read_text())["features"]
    features["observation.images.top"]["info"]["video.is_depth_map"] = True
    edit_info(root, features=features)
    with open_source(root) as source:
        assert source.contract.camera.name == "wrist"


def test_closed_twice(kind):
    source = open_source(SAMPLES / kind)
    source.read(0)
    source.close()
    source.close()
