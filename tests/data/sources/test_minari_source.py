"""Minari's data sets: what its own reader returns, window by window; whatever is broken is one clear error."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import Hdf5Damage, attribute, cut, damage, delete, edit_json, move_behind_link, replace
from PIL import Image
from sources import assert_every_window, assert_only_the_second_is_broken, read_all

from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import detect, open_source
from jepa_robot.data.sources.minari import Minari
from jepa_robot.errors import DataError

SAMPLES = Path(__file__).parents[1] / "samples" / "minari"
RATE = SourceOptions(fps=10)
FILE, METADATA = "data/main_data.hdf5", "data/metadata.json"
JPEG_TOLERANCE = 2  # of 255: two builds of libjpeg may round differently


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES / "dict", tmp_path / "dict"))


# -- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dict", "raw", "flat"])
def test_every_episode_is_what_minaris_own_reader_returns(name: str) -> None:
    expected = np.load(SAMPLES / f"{name}.npz")
    with open_source(SAMPLES / name, options=RATE) as source:
        assert source.format == "minari"
        assert source.lengths.tolist() == {"dict": [5, 7, 3], "raw": [5], "flat": [4]}[name]
        for index in range(len(source)):
            episode = source.read(index)
            difference = episode.frames.astype(int) - expected[f"side_{index}"]
            assert np.abs(difference).max() <= (0 if name == "raw" else JPEG_TOLERANCE)
            # 16 of 255 tell one step from the next: a shift by one frame is seen.
            red = episode.frames[:, 28:, 36:, 0].mean(axis=(1, 2))
            assert np.abs(red - [20 + 16 * t for t in range(len(red))]).max() < 8
            np.testing.assert_array_equal(episode.actions, expected[f"action_{index}"])
            if name != "flat":
                state = expected[f"state_{index}"].astype(np.float32)
                np.testing.assert_array_equal(episode.states, state[:, [2, 0, 1]])  # gripper comes first in the space
            else:
                assert episode.states.shape == (len(red), 0)
            assert (episode.kind, episode.seed) == ("scripted", 100 + index)
            episode.check(source.contract, source.where(index))


@pytest.mark.parametrize("name", ["dict", "raw", "flat"])
def test_every_window_is_a_part_of_the_episode(name: str) -> None:
    assert_every_window(SAMPLES / name, RATE)


@pytest.mark.parametrize("part", ["", "data", FILE])
def test_folder_data_folder_and_file_are_the_same_data_set(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert detect(SAMPLES / "dict" / part) == "minari"
    monkeypatch.chdir(SAMPLES / "dict")
    with Minari(Path(part), RATE) as source:
        assert source.lengths.tolist() == [5, 7, 3]


def test_the_contract_has_the_bounds_of_the_spaces_or_else_of_the_data() -> None:
    with Minari(SAMPLES / "dict", RATE) as source:
        contract = source.contract
        assert (contract.task, contract.fps, contract.camera.name) == ("block/dict-v0", 10.0, "images/side")
        assert (contract.camera.height, contract.camera.width) == (32, 48)
        assert [(d.name, d.low, d.high) for d in contract.actions] == [("action[0]", -1, 1), ("action[1]", -0.5, 0.5)]
        assert [(d.name, d.low, d.high) for d in contract.states] == [
            ("gripper", 0.0, 1.0),  # of the space
            ("observation[0]", 0.0, 7 / 4),  # of the data: the space has none
            ("observation[1]", 0.0, 2 + 3 / 8),
        ]
        assert source.recipe["dataset_id"] == "block/dict-v0"
        json.dumps(source.recipe)


def test_camera_and_state_can_be_chosen() -> None:
    options = SourceOptions(fps=10, camera="images/wrist", state=("desired_goal", "gripper"), image_size=16)
    with Minari(SAMPLES / "dict", options) as source:
        episode = source.read(1, 2, 4)
        assert episode.frames.shape == (3, 16, 16, 3)
        assert abs(int(episode.frames[0, 0, 0, 2]) - 150) <= 4  # the wrist camera's blue
        np.testing.assert_array_equal(episode.states[:, :2], 9)


def test_the_rate_has_to_be_given() -> None:
    with pytest.raises(DataError, match="frame rate.*fps="):
        Minari(SAMPLES / "dict")


def test_episodes_are_in_the_order_of_their_numbers(folder: Path) -> None:
    def rename(file: h5py.File) -> None:
        file.move("episode_1", "episode_10")

    damage(folder / FILE, rename)
    with Minari(folder, RATE) as source:
        assert source.names == ["episode_0", "episode_2", "episode_10"]
        assert source.lengths.tolist() == [5, 3, 7]


def test_jpeg_files_of_one_length_lie_in_a_table(folder: Path) -> None:
    image = io.BytesIO()
    Image.fromarray(np.full((32, 48, 3), (200, 100, 50), np.uint8)).save(image, "JPEG")

    def same(file: h5py.File) -> None:
        del file["episode_2/observations/images/side"]
        table = np.frombuffer(image.getvalue() * 4, np.uint8).reshape(4, -1)
        file["episode_2/observations/images/side"] = np.pad(table, ((0, 0), (0, 7)))

    damage(folder / FILE, same)
    with Minari(folder, RATE) as source:
        frames = source.read(2, 1, 3).frames
        assert frames.shape == (3, 32, 48, 3)
        assert np.abs(frames.astype(int) - (200, 100, 50)).max() <= 4


def test_not_a_number_is_left_for_the_checks(folder: Path) -> None:
    def spoil(file: h5py.File) -> None:
        file["episode_1/actions"][3, 0] = np.nan

    damage(folder / FILE, spoil)
    with Minari(folder, RATE) as source:
        episode = source.read(1)
        assert np.isnan(episode.actions[3, 0])
        with pytest.raises(DataError, match=r"episode_1/actions.*step 3 is nan"):
            episode.check(source.contract, source.where(1))


# -- what is broken -------------------------------------------------------------------------


def picture(content: Callable[[bytes], bytes]) -> Hdf5Damage:
    """Changes the JPEG file of step 4 of episode 1."""

    def change(file: h5py.File) -> None:
        array = file["episode_1/observations/images/side"]
        array[4] = np.frombuffer(content(array[4].tobytes()), np.uint8)

    return change


def small_jpeg(_: bytes) -> bytes:
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "JPEG")
    return image.getvalue()


def no_steps(file: h5py.File) -> None:
    replace("episode_1/actions", lambda v: v[:0])(file)
    file["episode_1"].attrs["total_steps"] = 0


SIDE = "episode_1/observations/images/side"
EPISODE = {
    "no actions": (delete("episode_1/actions"), r"episode_1/actions: is missing"),
    "no observations": (delete("episode_1/observations"), r"episode_1/observations/\S+: is missing"),
    "no pictures": (delete(SIDE), rf"{SIDE}: is missing"),
    "no state": (delete("episode_1/observations/gripper"), r"episode_1/observations/gripper: is missing"),
    "ragged states": (replace("episode_1/observations/gripper", lambda v: v[:-1]), r"gripper: is float32 \[7, 1\]"),
    "ragged actions": (replace("episode_1/actions", lambda v: v[:-1]), r"actions: has 6 actions; expected 7"),
    "text actions": (replace("episode_1/actions", lambda v: np.array([b"up"] * 7)), r"episode_1/actions: holds \|S2"),
    "object states": (replace("episode_1/observations/gripper", lambda v: ["x"] * 8), r"gripper: holds object"),
    "wide actions": (replace("episode_1/actions", lambda v: np.tile(v, 2)), r"episode_1/actions: is float32 \[7, 4\]"),
    "no steps": (no_steps, r"episode_1/actions: has no actions"),
    "wrong steps": (attribute("episode_1", "total_steps", 9), r"actions: has 7 actions; expected 9"),
    "text steps": (attribute("episode_1", "total_steps", "nine"), r"episode_1: attribute total_steps is 'nine'"),
    "negative seed": (attribute("episode_1", "seed", -3), r"episode_1: attribute seed is .*-3"),
    "float pictures": (replace(SIDE, lambda v: np.zeros((8, 32, 48, 3))), rf"{SIDE}: is float64 \[8, 32, 48, 3\]"),
    "a picture less": (replace(SIDE, lambda v: np.zeros((7, 900), np.uint8)), rf"{SIDE}: has 7 pictures; expected 8"),
    "raw of another size": (replace(SIDE, lambda v: np.zeros((8, 32, 9, 3), np.uint8)), rf"{SIDE}: is uint8 \[8, 32"),
    "picture cut short": (picture(lambda b: b[: len(b) // 2]), r"images/side\[4\]: does not decode"),
    "no picture at all": (picture(lambda b: b"GIF89a no picture"), r"images/side\[4\]: does not decode"),
    "empty picture": (picture(lambda b: b""), r"images/side\[4\]: has no picture"),
    "small picture": (picture(small_jpeg), r"images/side\[4\]: is 8x8 pixels; expected 32x48"),
}


@pytest.mark.parametrize("case", EPISODE)
def test_a_broken_episode_is_refused_and_the_others_are_read(folder: Path, case: str) -> None:
    change, message = EPISODE[case]
    damage(folder / FILE, change)
    with Minari(folder, RATE) as source, Minari(SAMPLES / "dict", RATE) as good:
        assert_only_the_second_is_broken(source, good, message)


BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": [0, 0], "high": [1, 1]}
NONSENSE = {
    "arrow": ({"data_format": "arrow"}, r"metadata.json: is in Minari's format 'arrow'; expected 'hdf5'"),
    "episodes": ({"total_episodes": 4}, r"main_data.hdf5: has 3 episodes; expected 4, as metadata.json says"),
    "space no JSON": ({"observation_space": "{"}, r"metadata.json:observation_space: is not a space"),
    "space a number": ({"observation_space": 3}, r"metadata.json:observation_space: is not a space"),
    "space without type": ({"observation_space": "{}"}, r"observation_space: is not a space \(KeyError: 'type'\)"),
    "unknown numbers": ({"action_space": BOX | {"dtype": "float99"}}, r"action_space: is not a space \(TypeError"),
    "bounds of another size": ({"action_space": BOX | {"low": [0]}}, r"action_space: is not a space \(ValueError"),
    "no pictures": ({"observation_space": BOX}, r"observation_space: has no pictures, only observations float32 \[2\]"),
    "discrete": ({"action_space": {"type": "Discrete", "n": 3, "start": 0}}, r"action_space: is no Box; expected vec"),
    "action a table": ({"action_space": BOX | {"shape": [1, 2]}}, r"action_space: is action float32 \[1, 2\]"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_metadata_that_say_nonsense_are_refused(folder: Path, case: str) -> None:
    changes, message = NONSENSE[case]
    edit_json(folder / METADATA, lambda metadata: metadata.update(changes))
    with pytest.raises(DataError, match=message):
        Minari(folder, RATE)


def test_a_space_that_is_missing_is_named(folder: Path) -> None:
    (folder / METADATA).write_text(json.dumps({"data_format": "hdf5"}))
    with pytest.raises(DataError, match=r"metadata.json:observation_space: is missing"):
        Minari(folder, RATE)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "\xff"])
def test_metadata_that_are_no_table_are_refused(folder: Path, content: str) -> None:
    (folder / METADATA).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"metadata.json: is"):
        Minari(folder, RATE)


def test_arrow_is_refused_without_an_hdf5_file(folder: Path) -> None:
    edit_json(folder / METADATA, lambda metadata: metadata.update(data_format="arrow"))
    (folder / FILE).unlink()
    assert detect(folder) == "minari"
    with pytest.raises(DataError, match="'arrow'"):
        Minari(folder, RATE)


def test_a_file_without_episodes_is_refused(folder: Path) -> None:
    damage(folder / FILE, lambda file: file.clear())
    with pytest.raises(DataError, match="main_data.hdf5: holds no episodes"):
        Minari(folder, RATE)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / FILE).unlink()
    with pytest.raises(DataError, match="main_data.hdf5: no such file"):
        Minari(folder, RATE)
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        Minari(folder / "nowhere", RATE)


@pytest.mark.parametrize("part", [0, 0.02, 0.4, 0.8, 0.999])
def test_a_truncated_file_is_refused(folder: Path, part: float) -> None:
    cut(folder / FILE, part)
    with pytest.raises(DataError, match="main_data.hdf5"):
        read_all(Minari(folder, RATE))


@pytest.mark.parametrize("name", ["data", FILE, METADATA])
def test_links_out_of_the_data_set_are_refused(folder: Path, name: str) -> None:
    move_behind_link(folder / name, folder.parent / "outside")
    with pytest.raises(DataError, match="leads out of the data set's folder"):
        Minari(folder, RATE)
