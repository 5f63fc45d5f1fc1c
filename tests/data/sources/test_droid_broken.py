"""Every way in which a DROID episode can be broken gives one line that names the file and what is wrong with it."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import sources
from damage import WAYS, break_file, damage, delete, edit_json, move_behind_link, replace

from jepa_robot.data.sources.droid import Droid
from jepa_robot.errors import DataError

ROOT = Path(__file__).parents[1] / "samples" / "droid" / "raw"
POSE, GRIPPER = "observation/robot_state/cartesian_position", "observation/robot_state/gripper_position"
SERIAL = "22008760"  # of ext1


@pytest.fixture
def folder(tmp_path):
    """An episode folder of 8 rows and 7 frames, without time stamps."""
    source = next(ROOT.glob("*/success/2023-11-14/*"))
    return Path(shutil.copytree(source, tmp_path / "data_set" / source.name))


@pytest.fixture
def stamped(tmp_path):
    """An episode folder of 12 rows and 11 frames, with time stamps."""
    source = next(ROOT.glob("*/success/2023-11-15/*"))
    return Path(shutil.copytree(source, tmp_path / "data_set" / source.name))


refused = functools.partial(sources.refused, Droid)


def metadata_of(folder: Path) -> Path:
    return next(folder.glob("metadata_*.json"))


def edit_metadata(folder: Path, **changes) -> None:
    edit_json(metadata_of(folder), lambda metadata: metadata.update(changes))


def put(folder: Path, key: str, value) -> None:
    damage(folder / "trajectory.h5", replace(key, lambda _: value))


@pytest.mark.parametrize("which", ["metadata", "trajectory", "video"])
@pytest.mark.parametrize("how", WAYS)
def test_every_file_in_every_way(folder, tmp_path, which, how):
    path = {
        "metadata": metadata_of(folder), "trajectory": folder / "trajectory.h5",
        "video": folder / "recordings" / "MP4" / f"{SERIAL}.mp4",
    }[which]
    break_file(path, how, tmp_path)
    line = refused(folder, "holds no DROID episode" if (which, how) == ("metadata", "missing") else path.name)
    if how == "link out":
        assert "leads out of the data set's folder" in line


@pytest.mark.parametrize(
    "key, value, words",
    [
        (POSE, np.zeros((8, 7)), [POSE, "[8, 7]", "[rows, 6]"]),
        (POSE, np.zeros(8), [POSE, "[8]"]),
        (POSE, np.zeros((8, 6), "S4"), [POSE, "|S4 [8, 6]", "numbers"]),
        (POSE, np.zeros((8, 6), complex), [POSE, "complex128"]),
        (POSE, 3.0, [POSE, "single value"]),
        (POSE, np.zeros((0, 6)), [POSE, "has 0 rows"]),
        (POSE, np.zeros((2, 6)), [POSE, "has 2 rows", "3 or more"]),
        (GRIPPER, np.zeros(7), [GRIPPER, "float64 [7]", "[8]"]),
        (GRIPPER, np.zeros((8, 1)), [GRIPPER, "[8, 1]"]),
        (f"observation/timestamp/cameras/{SERIAL}_frame_received", np.zeros(5), ["frame_received", "[5]", "[8]"]),
        (POSE, np.full((8, 6), 180.0), ["roll is 180 at step 0", "radians, not degrees"]),
        (POSE, np.concatenate([np.zeros((4, 6)), [[0, 0, 0, 0, 0, -90.0]] * 4]), ["yaw is -90 at step 4", "degrees"]),
    ],
)
def test_trajectory(folder, key, value, words):
    put(folder, key, value)
    refused(folder, "trajectory.h5", *words)


@pytest.mark.parametrize("key", [POSE, GRIPPER])
def test_trajectory_without(folder, key):
    damage(folder / "trajectory.h5", delete(key))
    refused(folder, "trajectory.h5", key, "is missing")


def test_an_angle_of_a_whole_turn_may_be(folder):
    put(folder, POSE, np.concatenate([np.zeros((8, 5)), np.linspace(0, 2 * np.pi, 8)[:, None]], axis=1))
    with Droid(folder) as source:
        np.testing.assert_allclose(source.read(0).actions[:, 5], 2 * np.pi / 7, rtol=1e-6)


def test_link_to_another_hdf5_file(folder, tmp_path):
    shutil.copy(folder / "trajectory.h5", tmp_path / "elsewhere.h5")
    put(folder, POSE, h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), POSE))
    refused(folder, "trajectory.h5", POSE, "link to another file")


@pytest.mark.parametrize("rows", [6, 9, 20])
def test_video_and_trajectory_of_other_lengths(folder, rows):
    """The video has 7 frames: 7 and 8 rows are right."""
    damage(folder / "trajectory.h5", delete("observation/timestamp"))
    put(folder, POSE, np.zeros((rows, 6)))
    put(folder, GRIPPER, np.zeros(rows))
    refused(folder, f"{SERIAL}.mp4", "has 7 frames", f"expected {rows - 1} or {rows}", folder.name)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda stamps: stamps[:-1], ["has 11 frames", "expected 10"]),
        (lambda stamps: stamps[:1], ["has 1 time stamps"]),
        (lambda stamps: [], ["has 0 time stamps"]),
        (lambda stamps: [stamps[0] - 1, *stamps[1:]], ["frame 0 has the time stamp"]),
        (lambda stamps: [*stamps[:-1], stamps[-1] + 10**6], ["frame 10 has the time stamp"]),
        (lambda stamps: [stamps[0], *stamps[:-1]], ["frame 1 has the time stamp", "ascending"]),
        (lambda stamps: stamps[::-1], ["frame 1 has the time stamp", "ascending"]),
        (lambda stamps: [str(stamp) for stamp in stamps], ["a list of numbers"]),
        (lambda stamps: [*stamps[:-1], float("nan")], ["a list of numbers"]),
        (lambda stamps: {"stamps": stamps}, ["JSON dict", "a list of numbers"]),
    ],
)
def test_time_stamps(stamped, change, words):
    path = stamped / "recordings" / "MP4" / f"{SERIAL}_timestamps.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    refused(stamped, SERIAL, *words)


def test_time_stamps_behind_a_link_out(stamped, tmp_path):
    path = stamped / "recordings" / "MP4" / f"{SERIAL}_timestamps.json"
    move_behind_link(path, tmp_path / "stamps.json")
    refused(stamped, path.name, "leads out")


@pytest.mark.parametrize(
    "value",
    [
        f"/etc/recordings/MP4/{SERIAL}.mp4", f"../recordings/MP4/{SERIAL}.mp4", "recordings/MP4/../MP4/x.mp4",
        f"{SERIAL}.mp4", "recordings/MP4/..", "", "recordings/MP4/a\0b.mp4", "recordings/MP4/nothing.mp4",
    ],
)
def test_paths_in_metadata(folder, value):
    edit_metadata(folder, ext1_mp4_path=value)
    refused(folder)


@pytest.mark.parametrize("value", [None, 3, [f"recordings/MP4/{SERIAL}.mp4"]])
def test_metadata_without_the_camera(folder, value):
    edit_metadata(folder, ext1_mp4_path=value)
    refused(folder, "has no ext1_mp4_path", "ext2, wrist, left, right")


@pytest.mark.parametrize("text", ["{", "[1]", "\xff", "null", "[" * 100_000], ids=str.__len__)
def test_metadata_is_something_else(folder, text):
    metadata_of(folder).write_text(text, encoding="latin-1")
    refused(folder, "metadata_", "JSON")


def test_two_metadata(folder):
    shutil.copy(metadata_of(folder), folder / "metadata_again.json")
    refused(folder, "has 2 files metadata_*.json")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"camera": "top"}, ["no camera 'top'", "ext1, ext2, wrist, left, right"]),
        ({"state": ("pose",)}, ["no state 'pose'", "cartesian_position, gripper_position, joint_positions"]),
    ],
)
def test_options(folder, options, words):
    refused(folder, *words, **options)


@pytest.mark.parametrize("path", ["nothing", "file", "empty"])
def test_no_episode(tmp_path, path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    refused(tmp_path / path)


def test_episode_folder_that_is_a_link_out(folder, tmp_path):
    move_behind_link(folder, tmp_path / "elsewhere")
    refused(folder.parent, "leads out of the data set's folder")


def test_folder_that_links_to_the_data_set_itself(folder):
    (folder.parent / "again").symlink_to(folder.parent)
    with Droid(folder.parent) as source:
        assert source.names == [folder.name]


def test_pictures_of_another_size(tmp_path):
    root = Path(shutil.copytree(ROOT, tmp_path / "data_set"))
    import av

    path = next(root.glob(f"*/success/2023-11-14/*/recordings/MP4/{SERIAL}.mp4"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 60)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(7):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    refused(root, "[7, 32, 64, 3]", "[7, 48, 64, 3]", "obs/ext1")


def test_other_episodes_can_still_be_read(tmp_path):
    """A broken one stays in the list, counts as one action, and says what is wrong when it is read."""
    root = Path(shutil.copytree(ROOT, tmp_path / "data_set"))
    (next(root.glob("*/failure/*/*")) / "trajectory.h5").write_bytes(b"")
    (next(root.glob("*/success/2023-11-14/*")) / "recordings" / "MP4" / f"{SERIAL}.mp4").unlink()
    with Droid(root) as source:
        assert source.lengths.tolist() == [1, 1, 10]
        for index in (0, 1, 0):
            with pytest.raises(DataError, match=["trajectory.h5", f"{SERIAL}.mp4"][index]):
                source.read(index)
        assert len(source.read(2).frames) == 11
