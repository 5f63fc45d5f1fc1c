"""Every way in which a LeRobot data set can be broken gives one line that names the file and what is wrong with it."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sources
from damage import WAYS, break_file, edit_json, move_behind_link

from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources.lerobot import LeRobot
from jepa_robot.errors import DataError

SAMPLES = Path(__file__).parents[1] / "samples" / "lerobot"
INFO, STATS = "meta/info.json", "meta/stats.json"
EPISODES, DATA = "meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.top/chunk-000/file-000.mp4"


@pytest.fixture
def root(tmp_path):
    return Path(shutil.copytree(SAMPLES / "video", tmp_path / "data_set"))


@pytest.fixture
def image_root(tmp_path):
    return Path(shutil.copytree(SAMPLES / "image", tmp_path / "data_set"))


refused = functools.partial(sources.refused, LeRobot)


def replace_column(path: Path, name: str, change) -> None:
    table = pq.read_table(path)
    i = table.schema.get_field_index(name)
    pq.write_table(table.set_column(i, name, change(table.column(i).combine_chunks())), path)


def test_the_sample_is_not_broken(root):
    sources.read_all(LeRobot(root, SourceOptions()))


@pytest.mark.parametrize("name", [INFO, DATA, EPISODES, VIDEO])
@pytest.mark.parametrize("how", WAYS)
def test_every_file_in_every_way(root, tmp_path, name, how):
    path = root / name
    break_file(path, how, tmp_path)
    line = refused(root, "meta" if name == INFO else name.split("/chunk")[0])
    if how == "link out":
        assert "leads out of the data set's folder" in line


def test_folder_that_is_a_link_out(root, tmp_path):
    move_behind_link(root / "data", tmp_path / "elsewhere")
    refused(root, "leads out")


def test_link_inside_is_followed(root):
    move_behind_link(root / VIDEO, root / "videos" / "moved.mp4")
    sources.read_all(LeRobot(root, SourceOptions()))


@pytest.mark.parametrize("version", ["v2.1", "v2.0", "v1.6"])
def test_old_versions(root, version):
    edit_json(root / INFO, lambda info: info.update(codebase_version=version))
    refused(root, f"'{version}'", "convert_dataset_v21_to_v30", "info.json")


@pytest.mark.parametrize("version", ["v4.0", None, 3, "v3.0; rm"])
def test_other_versions(root, version):
    edit_json(root / INFO, lambda info: info.update(codebase_version=version))
    assert "convert" not in refused(root, f"version {version!r}", "expected v3.0")


@pytest.mark.parametrize("text", ["{", "[]", "3", '"v3.0"', "\xff\xfe", "[" * 100_000], ids=str.__len__)
def test_info_is_something_else(root, text):
    (root / INFO).write_text(text, encoding="latin-1")
    refused(root, "info.json", "JSON")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda info: info.pop("features"), ["has no features"]),
        (lambda info: info.update(features={}), ["has no features"]),
        (lambda info: info["features"].pop("action"), ["has no feature 'action'", "observation.state"]),
        (lambda info: info["features"].pop("observation.state"), ["--state", "source.state", "observation.effort"]),
        (lambda info: [info["features"].pop(f"observation.images.{c}") for c in ("top", "wrist")], ["has no camera"]),
        (lambda info: info["features"].update(action=3), ["'action' is malformed"]),
        (lambda info: info["features"]["action"].update(shape=[3, 1]), ["action is float32 [3, 1]"]),
        (lambda info: info["features"]["action"].update(shape=[4]), ["action has 3 numbers at row 0", "4 numbers"]),
        (lambda info: info["features"]["action"].update(shape=[]), ["'action' is 'float32' []"]),
        (lambda info: info["features"]["action"].update(shape=["3"]), ["'action' is 'float32' ['3']"]),
        (lambda info: info["features"]["action"].update(dtype="string"), ["action is string"]),
        (lambda info: info["features"]["observation.images.top"].update(shape=[32, 48]), ["[32, 48]"]),
        (lambda info: info["features"]["observation.images.top"].update(shape=[64, 48, 3]), ["32x48 pixels", "64x48"]),
        (lambda info: info.update(fps=0), ["fps is 0"]),
        (lambda info: info.update(fps="ten"), ["fps is 'ten'"]),
        (lambda info: info.update(fps=True), ["fps is True"]),
        (lambda info: info.pop("data_path"), ["has no data_path"]),
        (lambda info: info.update(video_path=None), ["has no video_path"]),
        (lambda info: info.update(data_path="/etc/{chunk_index}{file_index}"), ["'/etc/00'", "inside"]),
        (lambda info: info.update(data_path="../{chunk_index}/x"), ["'../0/x'", "inside"]),
        (lambda info: info.update(video_path="a\0b"), ["inside"]),
        (lambda info: info.update(data_path="data/{episode_chunk:03d}.parquet"), ["a field 'episode_chunk'"]),
        (lambda info: info.update(video_path="{video_key:03d}.mp4"), ["video_path is '{video_key:03d}.mp4'"]),
    ],
)
def test_info(root, change, words):
    edit_json(root / INFO, change)
    (root / STATS).unlink()
    refused(root, *words)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda stats: stats["action"].update(min=[0, 1]), ["stats.json", "action"]),
        (lambda stats: stats["action"].update(min="low"), ["stats.json", "action"]),
    ],
)
def test_statistics(root, change, words):
    edit_json(root / STATS, change)
    refused(root, *words)


def test_statistics_that_are_not_json(root):
    (root / STATS).write_text("{")
    refused(root, "stats.json", "is not JSON")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"camera": "front"}, ["no camera 'front'", "top, wrist"]),
        ({"state": ("observation.pose",)}, ["no feature 'observation.pose'"]),
        ({"state": ("observation.images.top",)}, ["observation.images.top is video"]),
    ],
)
def test_options(root, options, words):
    refused(root, *words, **options)


def test_no_episode(root):
    path = root / EPISODES
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    refused(root, "has no episode")


@pytest.mark.parametrize(
    "column, values, words",
    [
        ("length", [6, 9, 13], ["has 12 rows", "file-001.parquet"]),
        ("length", [6, -9, 12], ["negative"]),
        ("length", [1, 9, 12], ["episode_0", "has 1 frames"]),
        ("length", ["6", "9", "12"], ["length is of type string"]),
        ("length", [6, None, 12], ["length has rows without a value"]),
        ("dataset_from_index", [0, 5, 15], ["episode_index is 0 at frame 0", "episode_1"]),
        ("dataset_from_index", [0, 7, 15], ["rows"]),
        ("data/file_index", [0, 0, 7], ["file-007.parquet", "no such file"]),
        ("data/file_index", [0, 1, 1], ["episode_1"]),
        ("episode_index", [0, 0, 2], ["an episode twice"]),
        ("videos/observation.images.top/from_timestamp", [0.0, float("nan"), 0.0], ["episode 1 is at nan s"]),
        ("videos/observation.images.top/from_timestamp", [0.0, 0.65, 0.0], ["frame 0 of episode_1", "file-000.mp4"]),
        ("videos/observation.images.top/from_timestamp", [0.0, 0.8, 0.0], ["ends before frame 7 of episode_1"]),
        ("videos/observation.images.top/file_index", [0, 0, 9], ["file-009.mp4", "no such file"]),
    ],
)
def test_table_of_episodes(root, column, values, words):
    replace_column(root / EPISODES, column, lambda old: pa.array(values))
    refused(root, *words)


def test_column_of_the_episodes_missing(root):
    path = root / EPISODES
    pq.write_table(pq.read_table(path).drop_columns(["videos/observation.images.top/from_timestamp"]), path)
    refused(root, "has no column 'videos/observation.images.top/from_timestamp'", "file-000.parquet")


@pytest.mark.parametrize(
    "column, change, words",
    [
        ("action", lambda old: pa.array(["x"] * len(old)), ["action is of type string", "episode_0"]),
        ("action", lambda old: pa.array([[1.0, 2.0]] * len(old)), ["action has 2 numbers at row 0"]),
        ("action", lambda old: pa.array([[1.0, 2.0, 3.0]] * 14 + [[1.0]]), ["action has 1 numbers", "episode_1"]),
        ("action", lambda old: pa.array([["a", "b", "c"]] * len(old)), ["action is of type list<element: string>"]),
        ("action", lambda old: pa.array([[1.0, None, 3.0]] * len(old)), ["action has rows without a value"]),
        ("action", lambda old: pa.array([1.0] * len(old)), ["action is of type double", "3 numbers"]),
        ("timestamp", lambda old: pa.array([None] * len(old), pa.float32()), ["timestamp has rows without"]),
        ("timestamp", lambda old: pa.array(np.full(len(old), np.nan)), ["frame 0 of episode_0 is to be at nan s"]),
        ("timestamp", lambda old: pa.array(np.arange(len(old)) * 0.1 + 3), ["frame 0 of episode_0", "file-000.mp4"]),
        ("timestamp", lambda old: pa.array(old.to_numpy() + np.float32(2e-3)), ["no picture for frame 0 of episode_0"]),
        ("frame_index", lambda old: pa.array(old.to_numpy() + 1), ["frame_index is 1 at frame 0", "episode_0"]),
        ("episode_index", lambda old: pa.array(old.to_numpy()[::-1].copy()), ["episode_index is 1 at frame 0"]),
    ],
)
def test_table_of_frames(root, column, change, words):
    replace_column(root / DATA, column, change)
    refused(root, *words)


def test_column_of_the_frames_missing(root):
    path = root / DATA
    pq.write_table(pq.read_table(path).drop_columns(["observation.state"]), path)
    refused(root, "has no column 'observation.state'", "data/chunk-000/file-000.parquet")


def test_damaged_pages(root):
    path = root / DATA
    data = bytearray(path.read_bytes())
    data[4:800] = bytes(796)
    path.write_bytes(data)
    refused(root, "file-000.parquet")


def test_video_shorter_than_its_table(root):
    (root / VIDEO).write_bytes((root / VIDEO.replace("file-000", "file-001")).read_bytes())  # 12 frames, not 15
    assert "ends before frame 6 of episode_1" in refused(root, "file-000.mp4")


def test_other_episodes_can_still_be_read(root):
    (root / VIDEO).write_bytes(b"")
    with LeRobot(root, SourceOptions()) as source:
        for index in (0, 1, 0):
            with pytest.raises(DataError, match="file-000.mp4"):
                source.read(index)
        assert len(source.read(2).frames) == 12


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda rows: rows[7].update(bytes=b"not a picture"), ["episode_1", "frame 2", "does not decode"]),
        (lambda rows: rows[7].update(bytes=rows[7]["bytes"][:60]), ["episode_1", "frame 2", "does not decode"]),
        (lambda rows: rows[7].update(bytes=b""), ["episode_1", "frame 2", "has no picture"]),
        (lambda rows: rows[7].update(bytes=None, path="/etc/passwd"), ["episode_1", "frame 2", "has no picture"]),
        (lambda rows: rows.__setitem__(7, None), ["episode_1", "frame 2", "has no picture"]),
    ],
)
def test_pictures_in_tables(image_root, change, words):
    def new(old):
        rows = old.to_pylist()
        change(rows)
        return pa.array(rows, old.type)

    replace_column(image_root / DATA, "observation.image", new)
    refused(image_root, *words)


def test_pictures_of_another_size(image_root):
    def change(info):
        info["features"]["observation.image"]["shape"] = [48, 32, 3]

    edit_json(image_root / INFO, change)
    refused(image_root, "is 32x48 pixels", "48x32", "episode_0")


def test_pictures_of_another_type(image_root):
    replace_column(image_root / DATA, "observation.image", lambda old: pa.array(["x.png"] * len(old)))
    refused(image_root, "pictures are of type string", "episode_0")
