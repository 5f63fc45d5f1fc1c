"""robomimic's files: what its own reader returns, window by window; whatever is broken is one clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import attribute, cut, damage, delete, replace, zero_chunk
from sources import assert_every_window, assert_only_the_second_is_broken, read_all

from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import detect, open_source
from jepa_robot.data.sources.robomimic import Robomimic
from jepa_robot.errors import DataError

SAMPLES = Path(__file__).parents[1] / "samples" / "robomimic"
STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
EXPECTED = np.load(SAMPLES / "expected.npz")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(SAMPLES / "image.hdf5", tmp_path / "image.hdf5"))


# -- what is read ---------------------------------------------------------------------------


def test_every_episode_is_what_robomimics_own_reader_returns() -> None:
    assert detect(SAMPLES / "image.hdf5") == "robomimic"
    with open_source(SAMPLES / "image.hdf5") as source:
        assert source.names == ["demo_0", "demo_2", "demo_10"]  # by number, not by name
        assert source.lengths.tolist() == [7, 5, 9]
        for index, name in enumerate(source.names):
            episode = source.read(index)
            last = slice(-1, None)
            key = "agentview_image"
            frames = np.concatenate([EXPECTED[f"obs_{key}_{name}"], EXPECTED[f"next_obs_{key}_{name}"][last]])
            states = [
                np.concatenate([EXPECTED[f"obs_{key}_{name}"], EXPECTED[f"next_obs_{key}_{name}"][last]])
                for key in STATE
            ]
            np.testing.assert_array_equal(episode.frames, frames)
            np.testing.assert_array_equal(episode.states, np.concatenate(states, axis=1).astype(np.float32))
            np.testing.assert_array_equal(episode.actions, EXPECTED[f"actions_{name}"].astype(np.float32))
            # The environment moves by a tenth of the action: each action lies between its own two frames.
            moved = np.diff(episode.states[:, :3], axis=0)
            np.testing.assert_allclose(moved, episode.actions[:, :3] / 10, atol=1e-6)
            assert episode.frames[:, 0, 0, 0].tolist() == [20 + 16 * t for t in range(len(episode.frames))]
            episode.check(source.contract, source.where(index))


def test_without_next_obs_the_last_action_is_left_out() -> None:
    with open_source(SAMPLES / "image_no_next.hdf5") as source:
        assert source.lengths.tolist() == [6, 4, 8]
        episode = source.read(0)
        np.testing.assert_array_equal(episode.actions, EXPECTED["actions_demo_0"][:6].astype(np.float32))
        assert episode.frames[:, 0, 0, 0].tolist() == [20 + 16 * t for t in range(7)]


@pytest.mark.parametrize("name", ["image.hdf5", "image_no_next.hdf5"])
def test_every_window_is_a_part_of_the_episode(name: str) -> None:
    assert_every_window(SAMPLES / name)


def test_the_contract_says_what_the_file_says() -> None:
    with open_source(SAMPLES / "image.hdf5") as source:
        contract = source.contract
        assert (contract.task, contract.fps) == ("MovingBlock", 20.0)
        camera = contract.camera
        assert (camera.name, camera.height, camera.width) == ("agentview_image", 32, 40)
        assert [(d.low, d.high) for d in contract.actions] == [(-1.0, 1.0)] * 4
        assert [(d.name, d.unit) for d in contract.states] == (
            [(f"robot0_eef_pos[{i}]", "m") for i in range(3)]
            + [(f"robot0_eef_quat[{i}]", "1") for i in range(4)]
            + [(f"robot0_gripper_qpos[{i}]", "unknown") for i in range(2)]
        )
        every = [np.concatenate([EXPECTED[f"obs_{STATE[0]}_{n}"], EXPECTED[f"next_obs_{STATE[0]}_{n}"][-1:]])
                 for n in source.names]
        low, high = np.concatenate(every).min(0), np.concatenate(every).max(0)
        np.testing.assert_allclose([d.low for d in contract.states[:2]], low[:2], rtol=1e-6)
        np.testing.assert_allclose([d.high for d in contract.states[:2]], high[:2], rtol=1e-6)
        assert {split: found.tolist() for split, found in source.splits.items()} == {"train": [0, 2], "valid": [1]}
        assert source.recipe["env_args"]["env_kwargs"] == {"control_freq": 20}


def test_options_choose_camera_state_rate_and_size() -> None:
    options = SourceOptions(camera="wrist_image", state=("object",), fps=5, image_size=16, task="push")
    with open_source(SAMPLES / "image.hdf5", options=options) as source:
        episode = source.read(1)
        assert episode.frames.shape == (6, 16, 16, 3)
        assert set(episode.frames[:, 0, 0, 2]) == {60}  # the wrist camera's blue
        np.testing.assert_array_equal(episode.states[:, 1], np.arange(6))
        assert (source.contract.task, source.contract.fps) == ("push", 5.0)


def test_actions_outside_of_one_have_the_bounds_of_the_data(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["data/demo_2/actions"][3, 1] = 7.5
    with Robomimic(path) as source:
        lows = np.min([EXPECTED[f"actions_{name}"].min(0) for name in source.names], axis=0)
        assert source.contract.actions[1].high == 7.5
        assert source.contract.actions[0].low == pytest.approx(lows[0])


def test_pictures_with_channels_first_are_turned(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            for part in ("obs", "next_obs"):
                pictures = demo[part]["agentview_image"][()].transpose(0, 3, 1, 2)
                del demo[part]["agentview_image"]
                demo[part]["agentview_image"] = pictures
    with Robomimic(path) as turned, Robomimic(SAMPLES / "image.hdf5") as source:
        assert turned.contract == source.contract
        np.testing.assert_array_equal(turned.read(2, 1, 3).frames, source.read(2, 1, 3).frames)


def test_not_a_number_is_left_for_the_checks(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["data/demo_2/actions"][1, 0] = np.nan
        file["data/demo_2/obs/robot0_eef_pos"][2, 0] = np.inf
    with Robomimic(path) as source:
        episode = source.read(1)
        assert np.isnan(episode.actions[1, 0]) and np.isinf(episode.states[2, 0])
        assert all(np.isfinite([d.low, d.high]).all() for d in source.contract.states)
        with pytest.raises(DataError, match=r"demo_2.*step 2"):
            episode.check(source.contract, source.where(1))


def test_without_a_default_state_all_vectors_of_floats_but_object_are_taken(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            for part in ("obs", "next_obs"):
                del demo[part]["robot0_eef_quat"]
                demo[part]["depth"] = np.zeros((len(demo["actions"]), 4, 4), np.float32)
                demo[part]["count"] = np.zeros(len(demo["actions"]), np.int64)
                demo[part]["force"] = np.arange(len(demo["actions"]), dtype=np.float32)
    with Robomimic(path) as source:
        names = [d.name for d in source.contract.states]
        position = [f"robot0_eef_pos[{i}]" for i in range(3)]
        assert names == ["force", *position, "robot0_gripper_qpos[0]", "robot0_gripper_qpos[1]"]
        assert source.read(0).states[6, 0] == 6


def test_the_rate_has_to_be_given_where_the_file_does_not_say_it(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["data"].attrs["env_args"]
    with pytest.raises(DataError, match="frame rate.*fps="):
        Robomimic(path)
    with Robomimic(path, SourceOptions(fps=12)) as source:
        assert (source.contract.fps, source.contract.task) == (12.0, "image")


# -- what is broken -------------------------------------------------------------------------


def empty(file: h5py.File) -> None:
    del file["data"]
    file.create_group("data")


def rename(file: h5py.File) -> None:
    file.move("data/demo_2", "data/demo_two")


def array_for_episode(file: h5py.File) -> None:
    del file["data/demo_2"]
    file["data/demo_2"] = np.arange(4)


def no_steps(file: h5py.File) -> None:
    replace("data/demo_2/actions", lambda v: v[:0])(file)
    file["data/demo_2"].attrs["num_samples"] = 0


ENV = {"env_name": "x", "env_kwargs": {"control_freq": 0}}
WHOLE = {  # what is done to the file, and what the message says
    "no data": (delete("data"), r"image.hdf5: has no group 'data'"),
    "no episodes": (empty, r"image.hdf5:data: holds no episodes"),
    "strange episode": (rename, r"image.hdf5:data: has 'demo_two'; expected demo_<number>"),
    "mask of numbers": (replace("mask/train", lambda v: np.arange(2)), r"mask/train: holds int64; expected names"),
    "env_args no JSON": (attribute("data", "env_args", "{"), r"data: attribute env_args is not JSON"),
    "env_args numbers": (attribute("data", "env_args", np.arange(3)), r"data: attribute env_args is not JSON"),
    "env_args a list": (attribute("data", "env_args", "[]"), r"data: attribute env_args is not a table"),
    "no steps a second": (attribute("data", "env_args", json.dumps(ENV)), r"data: .*control_freq 0; expected"),
}
EPISODE = {
    "no actions": (delete("data/demo_2/actions"), r"data/demo_2/actions: is missing"),
    "no pictures": (delete("data/demo_2/obs/agentview_image"), r"data/demo_2/obs/agentview_image: is missing"),
    "no state": (delete("data/demo_2/obs/robot0_eef_pos"), r"data/demo_2/obs/robot0_eef_pos: is missing"),
    "ragged pictures": (replace("data/demo_2/obs/agentview_image", lambda v: v[:-1]), r"agentview_image: .*expected"),
    "ragged states": (
        replace("data/demo_2/obs/robot0_eef_pos", lambda v: v[1:]),
        r"demo_2/obs/robot0_eef_pos: .*expec",
    ),
    "ragged next": (
        replace("data/demo_2/next_obs/robot0_eef_pos", lambda v: v[1:]),
        r"demo_2/next_obs/robot0_eef_pos:",
    ),
    "ragged actions": (replace("data/demo_2/actions", lambda v: v[:-1]), r"actions: has 4 actions; expected 5"),
    "other size": (
        replace("data/demo_2/obs/agentview_image", lambda v: v[:, :16]),
        r"demo_2/obs/agentview_image: is uint8 \[5, 16, 40, 3\]; expected uint8 \[5, 32, 40, 3\]",
    ),
    "float pictures": (replace("data/demo_2/obs/agentview_image", lambda v: v / 255), r"agentview_image: is float64"),
    "text actions": (
        replace("data/demo_2/actions", lambda v: np.array([b"left"] * 5)),
        r"demo_2/actions: holds \|S4; expected num",
    ),
    "object states": (replace("data/demo_2/obs/robot0_eef_pos", lambda v: ["a"] * 5), r"eef_pos: holds object"),
    "narrow actions": (replace("data/demo_2/actions", lambda v: v[:, :3]), r"demo_2/actions: is float64 \[5, 3\]"),
    "single value": (replace("data/demo_2/actions", lambda v: 1.0), r"demo_2/actions: is a single value"),
    "no steps": (no_steps, r"demo_2/actions: has 0 samples"),
    "wrong count": (attribute("data/demo_2", "num_samples", 6), r"demo_2/actions: has 5 actions; expected 6"),
    "negative count": (
        attribute("data/demo_2", "num_samples", -1),
        r"demo_2: attribute num_samples is .*expected a whole",
    ),
    "text count": (attribute("data/demo_2", "num_samples", "five"), r"demo_2: attribute num_samples is 'five'"),
    "huge count": (attribute("data/demo_2", "num_samples", 2**62), r"demo_2/actions: has 5 actions"),
    "episode is an array": (array_for_episode, r"demo_2/actions: is missing"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_that_says_nonsense_is_refused(path: Path, case: str) -> None:
    change, message = WHOLE[case]
    damage(path, change)
    with pytest.raises(DataError, match=message):
        read_all(Robomimic(path))


@pytest.mark.parametrize("case", EPISODE)
def test_a_broken_episode_is_refused_and_the_others_are_read(path: Path, case: str) -> None:
    change, message = EPISODE[case]
    damage(path, change)
    with Robomimic(path) as source, Robomimic(SAMPLES / "image.hdf5") as good:
        assert source.names == good.names
        assert_only_the_second_is_broken(source, good, message)


def test_the_first_episode_may_be_the_broken_one(path: Path) -> None:
    damage(path, delete("data/demo_0/obs"))
    with Robomimic(path) as source:
        with pytest.raises(DataError, match="demo_0/obs"):
            source.read(0)
        assert len(source.read(2).actions) == 9


def test_states_without_pictures_say_how_to_render_them(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            del demo["obs"], demo["next_obs"]
    with pytest.raises(DataError, match=r"demo_0/obs: is missing.*dataset_states_to_obs"):
        Robomimic(path)


def test_demonstrations_without_pictures_are_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            del demo["obs/agentview_image"], demo["obs/wrist_image"]
    with pytest.raises(DataError, match="has no pictures, only object float64"):
        Robomimic(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SourceOptions(camera="front_image"), "no camera 'front_image'; expected one of agentview_image, wrist_image"),
        (SourceOptions(camera="object"), r"object is no picture but float64 \[3\]"),
        (SourceOptions(state=("velocity",)), "no state 'velocity'; expected one of object, robot0_eef_pos"),
        (SourceOptions(state=("wrist_image",)), r"wrist_image is uint8 \[32, 40, 3\]"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(options: SourceOptions, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Robomimic(SAMPLES / "image.hdf5", options)


def test_pictures_that_could_be_either_way_round_are_no_pictures(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            demo["obs/odd"] = np.zeros((len(demo["actions"]), 3, 8, 3), np.uint8)
    with pytest.raises(DataError, match=r"odd is no picture but uint8 \[3, 8, 3\]"):
        Robomimic(path, SourceOptions(camera="odd"))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_file_is_refused(path: Path, part: float) -> None:
    cut(path, part)
    with pytest.raises(DataError, match=r"image.hdf5"):
        read_all(Robomimic(path))
    assert not Robomimic.recognises(path)


def test_damage_in_compressed_pictures_names_episode_and_key(path: Path) -> None:
    zero_chunk(path, "data/demo_2/obs/agentview_image")
    with Robomimic(path) as source:
        with pytest.raises(DataError, match="data/demo_2/obs/agentview_image: cannot be read"):
            source.read(1)
        source.read(0)
