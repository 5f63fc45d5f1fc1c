"""``jepa-robot goal check``: the table, exit codes and wrong use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused
from PIL import Image

from jepa_robot.evaluation.goal_picture import GoalPicture


def image_of(path) -> np.ndarray:
    return GoalPicture.load(path).image


def test_a_goal_that_can_be_used(call, goal_png):
    code, out, err = call("goal", "check", goal_png)
    assert code == 0 and err == ""
    rows = [line.split() for line in out.splitlines()[:8]]
    assert rows[0] == ["check", "value", "expected", "ok"]
    assert [row[0] for row in rows[1:]] == ["size", "task", "camera", "brightness", "colours", "contrast", "novelty"]
    assert {row[-1] for row in rows[1:]} == {"yes"}
    assert out.splitlines()[-1] == f"{goal_png} can be a goal for panda_reach"


def test_one_that_cannot(call, goal_png):
    Image.fromarray(image_of(goal_png)[..., ::-1]).save("bgr.png")
    code, out, err = call("goal", "check", "bgr.png")
    assert code == 1 and err == ""
    assert [line for line in out.splitlines() if line.startswith("novelty")][0].endswith(" no")
    assert "hint: red and blue are swapped" in out
    assert out.splitlines()[-1] == "bgr.png cannot be a goal for panda_reach"


def test_json_says_the_same(call, goal_png):
    Image.fromarray(image_of(goal_png)[:, ::-1]).save("mirrored.png")
    code, out, err = call("goal", "check", "mirrored.png", "--json")
    facts = json.loads(out)
    assert code == 1 and err == "" and facts["usable"] is False and facts["checkpoint"] == "panda_reach"
    assert facts["novelty"] > facts["max_novelty"] == 30 and facts["path"] == "mirrored.png"
    assert [check["name"] for check in facts["checks"] if check["ok"] is False] == ["novelty"]
    assert facts["hints"][0].startswith("it is mirrored")
    code, out, _ = call("goal", "check", goal_png, "--json")
    assert code == 0 and json.loads(out)["usable"] is True and json.loads(out)["hints"] == []


@pytest.mark.parametrize(("quality", "usable"), [(90, True), (60, True), (3, False)])
def test_jpeg(call, goal_png, quality, usable):
    Image.fromarray(image_of(goal_png)).save("goal.jpg", quality=quality)
    assert call("goal", "check", "goal.jpg").code == (0 if usable else 1)


def test_a_picture_is_made_to_fit(call, goal_png):
    assert call("goal", "--state", goal_png, "--image-size", 128, "-o", "large.png").code == 0
    Image.fromarray(np.pad(image_of("large.png"), ((0, 0), (9, 9), (0, 0)))).save("wide.png")
    code, out, _ = call("goal", "check", "wide.png")
    assert code == 1 and "hint: cut to its middle square and scaled it can be used: --fit NEW.png" in out
    code, out, err = call("goal", "check", "wide.png", "--fit", "fitted.png")
    assert code == 0, err
    assert out.splitlines()[-1] == "fitted.png can be a goal for panda_reach"
    assert image_of("fitted.png").shape == (64, 64, 3)
    assert call("goal", "check", "fitted.png").code == 0
    before = Path("fitted.png").read_bytes()
    assert_refused(call("goal", "check", "wide.png", "--fit", "fitted.png"), "fitted.png: exists already")
    assert_refused(call("goal", "check", "wide.png", "--fit", "fitted.jpg"), "a goal picture is a PNG")
    assert Path("fitted.png").read_bytes() == before


def save(path: str, image: np.ndarray, mode: str | None = None) -> None:
    picture = Image.fromarray(image)
    (picture if mode is None else picture.convert(mode)).save(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: save("g.png", x, "L"), "has pixel format 'L'"),
        (lambda x: save("g.png", np.dstack([x, np.full((64, 64), 99, np.uint8)])), "is partly transparent"),
        (lambda x: Path("g.png").write_text("hello"), "is not a picture"),
        (lambda x: Path("g.png").write_bytes(b""), "is not a picture"),
    ],
)
def test_files_that_are_no_colour_pictures_cannot_be_used(call, goal_png, make, words):
    make(image_of(goal_png))
    code, out, err = call("goal", "check", "g.png", "--fit", "fitted.png")
    assert code == 1 and err == ""
    assert out.splitlines()[1].startswith("picture") and words in out and out.splitlines()[1].endswith("no")
    assert out.splitlines()[-1] == "g.png cannot be a goal for panda_reach"
    assert "hint: " in out
    facts = json.loads(call("goal", "check", "g.png", "--json").out)
    assert facts["usable"] is False and facts["novelty"] is None and not Path("fitted.png").exists()


def test_the_checkpoint_of_the_picture_s_task(call, goal_png, tiny_checkpoint):
    """Without a checkpoint it is that of the picture's task; with one, that one's task."""
    assert call("goal", "--task", "two_rooms", "-o", "rooms.png").code == 0
    assert_refused(call("goal", "check", "rooms.png"), "task two_rooms: has no shipped checkpoint", "--checkpoint")
    code, out, _ = call("goal", "check", "rooms.png", "--checkpoint", "panda_reach")
    assert code == 1 and "hint: draw a goal of that task: jepa-robot goal --task panda_reach" in out
    code, out, _ = call("goal", "check", goal_png, "--checkpoint", tiny_checkpoint)
    assert out.splitlines()[-1].endswith(f"for {tiny_checkpoint}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.png"], "missing.png: cannot be read (No such file or directory)"),
        (["."], ".: cannot be read (Is a directory)"),
        (["GOAL", "--checkpoint", "none.safetensors"], "none.safetensors: no such checkpoint"),
        (["GOAL", "--checkpoint", "GOAL"], "goal.png"),
        (["GOAL", "--task", "juggle"], "there is no task 'juggle'"),
        (["GOAL", "--checkpoint", "panda_reach", "--task", "push_t"], "was trained for task 'panda_reach'"),
        ([], "Missing argument 'PICTURE'"),
    ],
)
def test_what_cannot_be_told(call, goal_png, arguments, words):
    assert_refused(call("goal", "check", *[goal_png if a == "GOAL" else a for a in arguments]), words)
    assert os.listdir() == []
