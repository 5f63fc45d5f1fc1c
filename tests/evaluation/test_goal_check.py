"""Whether a picture can be a goal: what is found of pictures that differ in one known way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jepa_robot.errors import ConfigError, GoalError
from jepa_robot.evaluation.goal_check import check_goal, fit
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.tasks import Task
from jepa_robot.files import configs_folder
from jepa_robot.models import load
from jepa_robot.planning import build_planner, default_settings

SHIPPED = configs_folder().parent / "datasets" / "goals" / "panda_reach_seed3.png"


@pytest.fixture(scope="module")
def planner():
    return build_planner(load("panda_reach"))


@pytest.fixture(scope="module")
def image():
    return GoalPicture.load(SHIPPED).image


def as_picture(values: np.ndarray) -> GoalPicture:
    return GoalPicture(np.clip(np.round(values), 0, 255).astype(np.uint8))


def wrong(verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.ok is False}


def test_the_shipped_goal(planner):
    verdict = check_goal(GoalPicture.load(SHIPPED), planner)
    assert verdict.usable and verdict.hints == () and verdict.novelty < 2
    assert [check.name for check in verdict.checks] == [
        "size", "task", "camera", "brightness", "colours", "contrast", "novelty",
    ]  # fmt: skip
    assert all(check.ok for check in verdict.checks)


def test_a_plain_picture_may_be_of_any_task_and_camera(planner, image):
    verdict = check_goal(GoalPicture(image), planner)
    unknown = [check for check in verdict.checks if check.ok is None]
    assert verdict.usable and [(c.name, c.value) for c in unknown] == [("task", "not known"), ("camera", "not known")]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x + np.random.default_rng(0).normal(0, 4, x.shape),
        lambda x: np.array(Image.fromarray(x.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.5))),
        lambda x: x + 2,
    ],
)
def test_little_changes_do_no_harm(planner, image, change):
    assert check_goal(as_picture(change(image.astype(float))), planner).usable


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda x: x[..., ::-1], "red and blue are swapped (save it as RGB, not BGR)"),
        (lambda x: x[:, ::-1], "it is mirrored"),
        (lambda x: x[::-1], "it is upside down"),
        (lambda x: np.rot90(x), "it is turned a quarter to the left"),
        (lambda x: np.rot90(x, -1), "it is turned a quarter to the right"),
        (lambda x: x[::-1, ::-1], "it is turned by half"),
        (lambda x: x * [1.3, 1, 0.7], "its colours are off (white balance)"),
        (lambda x: np.roll(x, 2, 1), "has moved 2 px to the right"),
        (lambda x: np.roll(x, (-2, -1), (0, 1)), "has moved 1 px to the left and 2 px up"),
    ],
)
def test_what_happened_to_a_picture_is_found(planner, image, change, hint):
    verdict = check_goal(as_picture(change(image.astype(float))), planner)
    assert not verdict.usable and "novelty" in wrong(verdict)
    (found,) = verdict.hints
    assert hint in found and ": mended, its novelty is " in found
    assert float(found.rpartition(" ")[2]) < 30


@pytest.mark.parametrize(("levels", "word"), [(30, "bright"), (60, "bright"), (-30, "dark")])
def test_light_is_told_in_levels(planner, image, levels, word):
    verdict = check_goal(as_picture(image.astype(float) + levels), planner)
    assert {"brightness", "novelty"} <= wrong(verdict)
    (found,) = verdict.hints
    assert f"levels too {word}" in found
    assert int(found.split()[3]) == pytest.approx(abs(levels), abs=5)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda x: 0 * x, {"brightness", "contrast", "novelty"}),
        (lambda x: 0 * x + 255, {"brightness", "contrast", "novelty"}),
        (lambda x: 255 - x, {"novelty"}),
        (lambda x: np.random.default_rng(0).integers(0, 256, x.shape), {"novelty"}),
        (lambda x: np.roll(x, 9, 0), {"novelty"}),
        (lambda x: (x - x.mean()) * 0.05 + x.mean(), {"contrast", "novelty"}),
    ],
)
def test_pictures_of_something_else(planner, image, change, names):
    verdict = check_goal(as_picture(change(image.astype(float))), planner)
    assert not verdict.usable and names <= wrong(verdict)
    assert verdict.hints == ("take it with the camera, scene and light of the training data",)


def test_other_cameras_and_tasks_of_the_simulator(planner):
    with Task("panda_reach", 64, camera="left") as task:
        state = task.env.state()
        picture = GoalPicture(task.env.render_goal(state), "panda_reach", "left", state, "my.png")
    verdict = check_goal(picture, planner)
    assert {"camera", "novelty"} <= wrong(verdict) and "task" not in wrong(verdict)
    assert verdict.hints == (
        "draw it again: jepa-robot goal --state my.png --camera front --image-size 64 -o NEW.png",
    )
    with Task("panda_push", 64) as task:
        picture = GoalPicture(task.env.observe()["front"], "panda_push", "front", {})
    verdict = check_goal(picture, planner)
    assert {"task", "novelty"} <= wrong(verdict)
    assert verdict.hints == ("draw a goal of that task: jepa-robot goal --task panda_reach",)


def test_only_the_size_is_wrong(planner, image):
    """A plain picture is judged as it will be when it is cut and scaled; one with a state can be drawn again."""
    with Task("panda_reach", 128) as task:
        state = GoalPicture.load(SHIPPED).state
        large = task.env.render_goal(state)
    wide = GoalPicture(np.pad(large, ((0, 0), (30, 30), (0, 0))))
    verdict = check_goal(wide, planner)
    assert wrong(verdict) == {"size"} and verdict.checks[0].value == "188x128"
    assert verdict.hints == ("cut to its middle square and scaled it can be used: --fit NEW.png writes that",)
    fitted = fit(wide, planner.contract.camera)
    assert fitted.image.shape == (64, 64, 3) and check_goal(fitted, planner).usable
    block_means = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(fitted.image - block_means).mean() < 3
    drawn = GoalPicture(large, "panda_reach", "front", state, "large.png")
    assert "jepa-robot goal --state large.png --camera front --image-size 64" in check_goal(drawn, planner).hints[0]


def test_a_wrong_size_hides_nothing(planner, image):
    verdict = check_goal(GoalPicture(np.repeat(np.repeat(image[:, ::-1], 2, 0), 2, 1)), planner)
    assert wrong(verdict) == {"size", "novelty"} and verdict.hints[0].startswith("it is mirrored")


def test_the_figure_is_the_planner_s_own(planner, image):
    """What is refused here is refused by `Planner.reset`, at the same limit."""
    for levels in (3, 4, 5, 6, 7):
        picture = as_picture(image.astype(float) + levels)
        verdict = check_goal(picture, planner)
        if verdict.usable:
            planner.reset(picture.image)
        else:
            with pytest.raises(GoalError, match=rf"\(novelty {verdict.novelty:.1f}\)"):
                planner.reset(picture.image)
    settings = dataclasses.replace(default_settings(), max_novelty=0.1)
    assert wrong(check_goal(GoalPicture(image), build_planner(planner.engine.model, settings))) == {"novelty"}


def test_a_planner_that_takes_anything(planner, image):
    settings = dataclasses.replace(default_settings(), max_novelty=None)
    with pytest.raises(ConfigError, match="planner.max_novelty: is null"):
        check_goal(GoalPicture(image), build_planner(planner.engine.model, settings))
