"""Finding the state of a recorded frame: through what recordings it works, and when it is not believed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepa_robot.data.convert import convert
from jepa_robot.data.merge import merge
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError
from jepa_robot.evaluation.collection import collect
from jepa_robot.evaluation.recipe import Recipe
from jepa_robot.evaluation.replay import recorded_goal
from jepa_robot.evaluation.tasks import Task

MIX = {"expert": 0.5, "explore": 0.5}


@pytest.fixture(scope="module")
def push(tmp_path_factory):
    """Three episodes of PushT, whose experts push within some steps."""
    path = tmp_path_factory.mktemp("replay") / "push.h5"
    collect(path, Recipe("push_t", 7, 12, MIX, image_size=32), 3)
    return path


def changed(source: Path, path: Path, change, index: int = 0) -> Path:
    """A copy of a file, made with changed episodes."""
    with TrajectoryReader(source) as reader:
        with TrajectoryWriter(path, reader.contract, reader.env_args, reader.recipe, reader.recipe["seed"]) as writer:
            for i in range(len(reader)):
                episode = reader.read(i)
                writer.append(change(episode) if i == index else episode)
    return path


def frame_of(path: Path, index: int, frame: int) -> np.ndarray:
    with TrajectoryReader(path) as reader:
        return reader.read(index).frames[frame]


def test_the_state_draws_the_frame_of_an_object_that_was_pushed(push):
    found = recorded_goal(push, "1", 9)
    assert (found.episode, found.frame, found.camera, found.why_no_state) == ("demo_1", 9, "top", None)
    assert found.picture.task == "push_t"
    with Task("push_t", 32) as task:
        np.testing.assert_array_equal(task.env.render_goal(found.picture.state), frame_of(push, 1, 9))
        json.dumps(found.picture.state)
    np.testing.assert_array_equal(found.picture.image, frame_of(push, 1, 9))


def test_every_frame_counted_from_both_ends(push):
    for frame in (0, 1, 12, -1, -13):
        found = recorded_goal(push, "demo_2", frame)
        assert found.frame == frame % 13 and found.why_no_state is None
        np.testing.assert_array_equal(found.picture.image, frame_of(push, 2, frame))


def test_through_merging_and_converting(push, tmp_path):
    """Episode 4 of the file is episode 1 of the other recording, which was made with another mix and seed."""
    other, converted, merged = (tmp_path / f"{name}.h5" for name in ("other", "converted", "merged"))
    collect(other, Recipe("push_t", 8, 5, {"noisy": 1.0}, image_size=32), 2)
    convert(push, converted)
    merge([converted, other], merged)
    for index, frame in ((0, 12), (4, 5)):
        found = recorded_goal(merged, str(index), frame)
        assert found.why_no_state is None
        np.testing.assert_array_equal(found.picture.image, frame_of(merged, index, frame))
    np.testing.assert_array_equal(frame_of(merged, 4, 5), frame_of(other, 1, 5))


def test_with_camera_options_and_a_look_of_its_own(tmp_path):
    recipe = Recipe("panda_push", 1, 2, {"explore": 1.0}, 48, ("light", "colour"), "left", {"rotation": "yaw"})
    collect(tmp_path / "own.h5", recipe, 1)
    found = recorded_goal(tmp_path / "own.h5", "0", 2)
    assert found.why_no_state is None and found.picture.camera == "left"
    assert set(found.picture.state["appearance"]) == {"light", "colour"}
    larger = recorded_goal(tmp_path / "own.h5", "0", 2, image_size=96)
    assert larger.picture.camera == "left" and larger.picture.image.shape == (96, 96, 3)
    small = larger.picture.image.reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(small - found.picture.image).mean() < 4
    with Task("panda_push", 48, options={"rotation": "yaw"}) as task:  # of another look: it still says when it is there
        task.check_state(found.picture.state, "it")


def darker(episode, rows=slice(0, 4), columns=slice(0, 4), levels=9):
    frames = episode.frames.copy()
    block = frames[3, rows, columns].astype(int)
    frames[3, rows, columns] = np.where(block > 127, block - levels, block + levels)
    return dataclasses.replace(episode, frames=frames)


def another_driver(episode):
    """Pictures with a little noise, as another OpenGL would colour edges."""
    noise = np.random.default_rng(0).integers(-5, 6, episode.frames.shape)
    return dataclasses.replace(episode, frames=np.clip(episode.frames + noise, 0, 255).astype(np.uint8))


def elsewhere(episode):
    states = episode.states.copy()
    states[3, 0] += 0.01 * 512
    return dataclasses.replace(episode, states=states)


def other_action(episode):
    actions = episode.actions.copy()
    actions[1] = 512 - actions[1]
    return dataclasses.replace(episode, actions=actions)


def other_seed(episode):
    return dataclasses.replace(episode, seed=episode.seed + 1)


@pytest.mark.parametrize(
    ("change", "differs"), [(darker, 3), (elsewhere, 3), (other_action, 2), (other_seed, 0), (another_driver, None)]
)
def test_what_is_not_what_was_recorded_is_not_believed(push, tmp_path, change, differs):
    path = changed(push, tmp_path / "changed.h5", change)
    found = recorded_goal(path, "0", 12)
    np.testing.assert_array_equal(found.picture.image, frame_of(path, 0, 12))
    if differs is None:
        assert found.why_no_state is None
        return
    assert found.why_no_state == f"doing the episode again here, frame {differs} is not the recorded one"
    assert (found.picture.task, found.picture.state) == (None, None)
    if differs:
        assert recorded_goal(path, "0", differs - 1).why_no_state is None
    assert recorded_goal(path, "1", 12).why_no_state is None


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ({}, "does not say how it was collected"),
        ({"made_by": "recorder"}, "does not say how it was collected"),
        ({"mix": {"expert": 1.0}}, "recipe: is not that of a collection"),
        ({"mix": {"expert": 1.0}, "task": "juggle", "seed": 0, "steps": 1}, "there is no task 'juggle'"),
        ({"mix": {"expert": 1.0}, "task": "two_rooms", "seed": 0, "steps": 1}, "task is 'push_t' in the recording but"),
        ({"merged_from": [{"episodes": 1}]}, "recipe: is malformed"),
        ({"merged_from": 3}, "recipe: is malformed"),
        ({"source_recipe": None}, "recipe: is malformed"),
    ],
)
def test_recordings_that_do_not_say_how_they_were_made(push, tmp_path, recipe, why):
    path = changed(push, tmp_path / "changed.h5", lambda episode: episode)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["recipe"] = json.dumps(recipe)
    found = recorded_goal(path, "0", image_size=16)
    assert why in found.why_no_state and "\n" not in found.why_no_state
    assert found.picture.image.shape == (16, 16, 3) and found.picture.state is None


def test_pictures_that_were_scaled_stay_plain(push, tmp_path):
    convert(push, tmp_path / "small.h5", options=SourceOptions(image_size=16))
    found = recorded_goal(tmp_path / "small.h5", "0")
    assert "cameras[top].height is 16 in the recording but 32 in the task" in found.why_no_state
    with pytest.raises(DataError, match="has no camera 'back'; expected one of top"):
        recorded_goal(tmp_path / "small.h5", "0", camera="back")
