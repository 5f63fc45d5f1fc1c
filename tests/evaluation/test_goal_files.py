"""Goals from picture files, videos and latents."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from jepa_robot.errors import ContractError, DataError, GoalError
from jepa_robot.evaluation.goal_files import load_goal, video_goals
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.planning.goal_latents import save_goal_latents
from jepa_robot.spec import Camera, Contract

SIZE = 32
CONTRACT = Contract("toy", (Camera("front", SIZE, SIZE),), 5.0, (), ())
MODEL = SimpleNamespace(contract=CONTRACT, encoder=nn.Linear(2, 2))


def picture(path, level, task=None, size=SIZE):
    image = np.full((size, size, 3), level, np.uint8)
    GoalPicture(image, task, task and "front", task and {"x": level}).save(path)
    return path


def video(path, frames, size=SIZE):
    """Frame i is of level 10 i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 10, options={"crf": "5", "threads": "1"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            frame = np.full((size, size, 3), 10 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def levels(loaded):
    return [[int(picture.mean()) for picture in subgoal.pictures] for subgoal in loaded.goal.subgoals]


def test_pictures_are_sub_goals_in_their_order(tmp_path):
    paths = [picture(tmp_path / f"{level}.png", level, "toy") for level in (10, 20, 30)]
    state = np.float32([1.0])
    loaded = load_goal(paths, MODEL, 4, steps=[4, None, 3], state=state)
    assert levels(loaded) == [[10], [20], [30]]
    assert [subgoal.steps for subgoal in loaded.goal.subgoals] == [4, None, 3]
    assert [subgoal.state for subgoal in loaded.goal.subgoals] == [None, None, state]
    assert loaded.picture.state == {"x": 30}


def test_any_of_several_pictures(tmp_path):
    paths = [picture(tmp_path / f"{level}.png", level) for level in (10, 20)]
    loaded = load_goal(paths, MODEL, 4, steps=[7], any_of=True)
    assert levels(loaded) == [[10, 20]] and loaded.picture is None
    assert loaded.goal.subgoals[0].steps == 7
    assert load_goal(paths[:1], MODEL, 4, any_of=True).picture is not None


def test_any_frame_of_a_video(tmp_path):
    loaded = load_goal([video(tmp_path / "way.mp4", 13)], MODEL, 3, any_of=True)
    assert len(loaded.goal.subgoals) == 1 and len(loaded.goal.subgoals[0].pictures) == 3 and loaded.picture is None


@pytest.mark.parametrize(
    "frames, count, expected", [(13, 3, [4, 8, 12]), (13, 1, [12]), (4, 3, [1, 2, 3]), (12, 2, [6, 11])]
)
def test_frames_of_a_video_are_evenly_apart_and_end_with_the_last(tmp_path, frames, count, expected):
    loaded = load_goal([video(tmp_path / "goal.mp4", frames)], MODEL, count, steps=[5])
    assert [round(level / 10) for (level,) in levels(loaded)] == expected
    assert [subgoal.steps for subgoal in loaded.goal.subgoals] == [5] * count
    assert loaded.picture.source.endswith(f"goal.mp4, frame {frames - 1}")


def test_a_picture_follows_a_video(tmp_path):
    loaded = load_goal([video(tmp_path / "way.mp4", 5), picture(tmp_path / "end.png", 200)], MODEL, 2)
    assert [round(level / 10) for (level,) in levels(loaded)] == [2, 4, 20]


def test_latents(tmp_path):
    latents = torch.randn(2, 4, 6)
    save_goal_latents(tmp_path / "goal.safetensors", latents, MODEL)
    loaded = load_goal([tmp_path / "goal.safetensors"], MODEL, 4)
    (subgoal,) = loaded.goal.subgoals
    assert torch.equal(torch.stack(subgoal.pictures), latents) and loaded.picture is None
    other = dataclasses.replace(CONTRACT, task="other")
    with pytest.raises(ContractError, match="task is 'toy'"):
        load_goal([tmp_path / "goal.safetensors"], SimpleNamespace(contract=other, encoder=MODEL.encoder), 4)


def test_files_that_do_not_fit_the_model(tmp_path):
    with pytest.raises(GoalError, match="picture is 16x16 pixels; expected 32x32"):
        load_goal([picture(tmp_path / "small.png", 10, size=16)], MODEL, 4)
    with pytest.raises(GoalError, match="goal.mp4, frame 2: picture is 16x16 pixels"):
        load_goal([video(tmp_path / "goal.mp4", 5, size=16)], MODEL, 2)
    with pytest.raises(GoalError, match="was drawn for task 'other'"):
        load_goal([picture(tmp_path / "other.png", 10, "other")], MODEL, 4)


def test_files_that_cannot_be_used(tmp_path):
    for name in ("goal.png", "goal.mp4", "goal.safetensors"):
        with pytest.raises(GoalError, match=f"{name}: there is no such file"):
            load_goal([tmp_path / name], MODEL, 4)
    (tmp_path / "goal.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="goal.mp4: is not a readable MP4 video"):
        load_goal([tmp_path / "goal.mp4"], MODEL, 4)
    short = video(tmp_path / "short.mp4", 3)
    with pytest.raises(GoalError, match="has 3 frames; expected at least 4, to take 3 of"):
        video_goals(short, 3, CONTRACT)
    with pytest.raises(GoalError, match="0 frames are to be taken"):
        video_goals(short, 0, CONTRACT)
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(GoalError, match="pixel format"):
        load_goal([tmp_path / "grey.png"], MODEL, 4)


def test_numbers_of_steps_that_do_not_fit(tmp_path):
    paths = [picture(tmp_path / f"{level}.png", level) for level in (10, 20, 30)]
    with pytest.raises(GoalError, match="there are 2 numbers of steps; expected one for each of 3 sub-goals, or one"):
        load_goal(paths, MODEL, 4, steps=[1, 2])
    with pytest.raises(GoalError, match="has 0 steps"):
        load_goal(paths, MODEL, 4, steps=[0])
