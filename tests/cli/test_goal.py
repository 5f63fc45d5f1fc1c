"""Goal pictures: drawing, saving, loading, and every way in which one can be wrong."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jepa_robot.errors import GoalError, OutputError
from jepa_robot.evaluation.goal_picture import CHUNK, GoalPicture
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.files import configs_folder

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
GOAL = {"format": "jepa_robot.goal/1", "task": "panda_reach", "camera": "front", "state": {"qpos": [0.5, 1e-9]}}


def write(path, chunk):
    info = PngInfo()
    info.add_text(CHUNK, chunk if isinstance(chunk, str) else json.dumps(chunk))
    Image.fromarray(PIXELS).save(path, pnginfo=info)
    return path


def test_saved_and_loaded_again(tmp_path):
    GoalPicture(PIXELS, "panda_reach", "front", GOAL["state"]).save(tmp_path / "g.png")
    found = GoalPicture.load(tmp_path / "g.png")
    assert np.array_equal(found.image, PIXELS) and found.image.dtype == np.uint8
    assert (found.task, found.camera, found.state) == ("panda_reach", "front", {"qpos": [0.5, 1e-9]})


def test_a_plain_picture_says_nothing_of_its_task(tmp_path, contract):
    GoalPicture(PIXELS).save(tmp_path / "g.png")
    found = GoalPicture.load(tmp_path / "g.png")
    assert (found.task, found.camera, found.state) == (None, None, None)
    found.require(contract)


def test_what_another_program_can_read(tmp_path):
    GoalPicture(PIXELS, "panda_reach", "front", {"qpos": [1]}).save(tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as picture:
        assert json.loads(picture.text["jepa_robot.goal"])["state"] == {"qpos": [1]}


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_pixel_formats_that_hold_the_same_colours(tmp_path, mode):
    few = (PIXELS // 128) * 255
    Image.fromarray(few).convert(mode, **({"palette": Image.Palette.ADAPTIVE} if mode == "P" else {})).save(
        tmp_path / "g.png"
    )
    assert np.array_equal(GoalPicture.load(tmp_path / "g.png").image, few)


def test_a_jpeg_is_turned_upright(tmp_path):
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :32] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(image).save(tmp_path / "g.jpg", exif=exif, quality=95)
    found = GoalPicture.load(tmp_path / "g.jpg").image
    assert found.shape == (64, 32, 3) and found[:28].mean() > 190 and found[36:].mean() < 10


def animated(path):
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def truncated(path):
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def header_only(path):
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:20])


def flipped(path):
    Image.fromarray(PIXELS).save(path)
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(data)


def half_transparent(path):
    Image.fromarray(np.dstack([PIXELS, np.full((64, 64), 128, np.uint8)])).save(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "there is no such file"),
        (lambda p: p.mkdir(), "cannot be read as a picture (Is a directory)"),
        (lambda p: p.write_bytes(b""), "is not a picture"),
        (lambda p: p.write_text("hello"), "is not a picture"),
        (truncated, "cannot be read as a picture"),
        (header_only, "picture"),
        (flipped, "cannot be read as a picture"),
        (animated, "holds 2 pictures"),
        (half_transparent, "partly transparent"),
        (lambda p: Image.fromarray(PIXELS[:, :, 0]).save(p), "pixel format 'L'"),
        (lambda p: Image.fromarray(PIXELS[:, :, 0].astype(np.uint16)).save(p), "pixel format 'I;16'"),
        (lambda p: write(p, "{not json"), "is not JSON"),
        (lambda p: write(p, [1]), "wrong or missing format"),
        (lambda p: write(p, {**GOAL, "format": "jepa_robot.goal/9"}), "wrong or missing format"),
        (lambda p: write(p, {**GOAL, "task": 3}), "wrong or missing task"),
        (lambda p: write(p, {k: v for k, v in GOAL.items() if k != "state"}), "wrong or missing state"),
    ],
)
def test_a_file_that_is_no_goal_picture(tmp_path, make, words):
    path = tmp_path / "g.png"
    make(path)
    with pytest.raises(GoalError) as caught:
        GoalPicture.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    write(tmp_path / "g.png", GOAL).chmod(0)
    with pytest.raises(GoalError, match="Permission denied"):
        GoalPicture.load(tmp_path / "g.png")


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (GoalPicture(PIXELS[:32]), "picture is 64x32 pixels; expected 64x64"),
        (GoalPicture(PIXELS, "panda_push", "front", {}), "task 'panda_push'; expected 'panda_reach'"),
        (GoalPicture(PIXELS, "panda_reach", "wrist", {}), "camera 'wrist'; expected 'front'"),
    ],
)
def test_a_picture_of_something_else(contract, picture, words):
    with pytest.raises(GoalError) as caught:
        picture.require(contract)
    assert words in str(caught.value)


def test_saving_refuses_other_formats_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match=r"ends in \.png"):
        GoalPicture(PIXELS).save(tmp_path / "g.jpg")
    with pytest.raises(TypeError):  # a state that is not plain data
        GoalPicture(PIXELS, "panda_reach", "front", {"qpos": PIXELS}).save(tmp_path / "g.png")
    assert list(tmp_path.iterdir()) == []


def test_the_verb_draws_the_goal_of_the_seed(jepa_robot, tmp_path):
    path = tmp_path / "g.png"
    result = jepa_robot("goal", "--task", "panda_reach", "--seed", 3, "-o", path, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == {
        "path": str(path),
        "task": "panda_reach",
        "camera": "front",
        "seed": 3,
        "width": 64,
        "height": 64,
        "has_state": True,
    }
    found = GoalPicture.load(path)
    with Task("panda_reach") as task:
        found.require(task.contract)
        _, goal = start_and_goal(task.env, 3)
        _, other = start_and_goal(task.env, 4)
        assert found.state == json.loads(json.dumps(goal))
        assert np.array_equal(found.image, task.env.render_goal(goal))
        assert task.env.distance(found.state, goal) == pytest.approx(0.0, abs=1e-9)
        assert task.env.distance(found.state, other) > 0.01


def test_an_existing_file_is_replaced_only_by_force(jepa_robot, tmp_path):
    path = tmp_path / "g.png"
    path.write_text("precious")
    result = jepa_robot("goal", "-o", path)
    assert result.code == 2 and "--force" in result.err and path.read_text() == "precious"
    assert jepa_robot("goal", "-o", path, "--force").code == 0
    assert GoalPicture.load(path).task == "panda_reach"


def test_the_default_name_tells_task_and_seed(jepa_robot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jepa_robot("goal", "--seed", 5).code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["panda_reach_seed5.png"]


def test_an_unknown_task_is_refused_with_the_known_ones(jepa_robot, tmp_path):
    result = jepa_robot("goal", "--task", "panda_reech", "-o", tmp_path / "g.png")
    assert result.code == 2 and result.err.count("\n") == 1
    assert "panda_reech" in result.err and "panda_reach" in result.err.replace("panda_reech", "")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written(jepa_robot):
    result = jepa_robot("goal", "-o", "/proc/goal.png")
    assert result.code == 2 and result.err.startswith("error: /proc/goal.png: cannot be written")


def test_the_shipped_picture_is_goal_3(contract):
    shipped = GoalPicture.load(configs_folder().parent / "datasets/goals/panda_reach_seed3.png")
    shipped.require(contract)
    with Task("panda_reach") as task:
        _, goal = start_and_goal(task.env, 3)
        assert task.env.distance(shipped.state, goal) == pytest.approx(0.0, abs=1e-6)
        difference = np.abs(shipped.image.astype(int) - task.env.render_goal(goal).astype(int))
    assert difference.mean() < 2.0  # OpenGL drivers differ a little
