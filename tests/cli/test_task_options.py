"""Cameras and options of a task's own: what they change, where they are recorded, and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import jepa_envs
import numpy as np
import pytest
from collecting import options
from command_line import assert_refused
from episodes import assert_holds, read_all

from jepa_robot.cli.planning import configuration
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.errors import ConfigError
from jepa_robot.evaluation.recipe import Recipe
from jepa_robot.evaluation.tasks import Task

QUICK = ("planner.optimizer.samples=8", "planner.optimizer.elites=4", "planner.optimizer.iterations=1")


def test_another_camera_sees_the_same_motions(call):
    assert call("collect", *options("first.h5", 2))[0] == 0
    assert call("collect", *options("left.h5", 1, camera="left"))[0] == 0
    assert call("collect", *options("left.h5", 2, camera="left"), "--workers", 2)[0] == 0  # it is continued
    first, left = read_all(Path("first.h5")), read_all(Path("left.h5"))
    with TrajectoryReader("left.h5") as reader:
        assert reader.contract.camera.name == "left" and reader.recipe["camera"] == "left"
        assert reader.env_args["env_kwargs"] == {"camera": "left"}
    for a, b in zip(first, left, strict=True):
        np.testing.assert_array_equal(a.states, b.states)
        assert np.abs(a.frames.astype(int) - b.frames).max() > 50
    for path, changed in (("left.h5", {}), ("left.h5", {"camera": "top"}), ("first.h5", {"camera": "left"})):
        assert_refused(call("collect", *options(path, 9, **changed)), "was recorded with camera ")


def test_options_change_the_task_and_are_recorded(call):
    chosen = options("turning.h5", 2, task="panda_push", **{"task-option": "rotation=yaw"})
    assert call("collect", *chosen)[0] == 0
    with TrajectoryReader("turning.h5") as reader:
        assert [dim.name for dim in reader.contract.actions] == ["dx", "dy", "dz", "dyaw", "gripper"]
        assert reader.recipe["options"] == {"rotation": "yaw"}
        made = reader.env_args
    assert made["env_kwargs"] == {"rotation": "yaw"}
    assert gym.make(made["env_name"], **made["env_kwargs"]).action_space.shape == (5,)
    outcome = call("collect", *options("turning.h5", 9, task="panda_push"))
    assert_refused(outcome, "was recorded with options {'rotation': 'yaw'}, not None")
    assert call("collect", *chosen, "--episodes", 3, "--workers", 2)[0] == 0
    once = options("once.h5", 3, task="panda_push", **{"task-option": "rotation=yaw"})
    assert call("collect", *once)[0] == 0
    assert_holds(Path("turning.h5"), read_all(Path("once.h5")))


def test_without_them_a_recipe_is_that_of_older_files():
    plain = {"task": "push_t", "seed": 1, "steps": 2, "mix": {"noisy": 1.0}}
    assert Recipe(**plain).to_dict() == plain | {"image_size": None}
    assert Recipe(**plain).env_args()["env_kwargs"] == {}
    full = Recipe(**plain, image_size=32, camera="tilted", options={"action": "relative"})
    assert full.to_dict() == plain | {"image_size": 32, "camera": "tilted", "options": {"action": "relative"}}
    assert full.env_args()["env_kwargs"] == {"image_size": 32, "camera": "tilted", "action": "relative"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--camera", "wrist"], "camera 'wrist' is unknown, expected one of top, tilted"),
        (["--task-option", "speed=2"], "task push_t: there is no option 'speed', expected one of action"),
        (["--task-option", "camera=top"], "there is no option 'camera'"),
        (["--task-option", "action=sideways"], "option action is 'sideways', expected one of absolute, relative"),
        (["--task-option", "action=3"], "option action is 3, expected one of absolute, relative"),
        (["--task-option", "action"], "--task-option: is 'action'; expected NAME=VALUE, each name once"),
        (["--task-option", "=relative"], "is '=relative'"),
        (["--task-option", "action=relative", "--task-option", "action=absolute"], "each name once"),
    ],
)
@pytest.mark.parametrize("verb", ["collect", "evaluate"])
def test_wrong_ones(call, tmp_path, tiny_checkpoint, verb, arguments, message):
    more = {
        "collect": ["--episodes", 1, "-o", "new.h5"],
        "evaluate": ["--checkpoint", tiny_checkpoint],
    }
    assert_refused(call(verb, "--task", "push_t", *more[verb], *arguments), message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["panda_push", "panda_reach"])
@pytest.mark.parametrize(
    ("value", "found"), [("true", "True"), ("1", "1"), ("null", "None"), ("roll", "'roll'"), ("[true]", "'[true]'")]
)
def test_a_rotation_is_one_of_three(call, task, value, found):
    outcome = call("collect", *options("new.h5", 1, task=task, **{"task-option": f"rotation={value}"}))
    assert_refused(outcome, f"task {task}: option rotation is {found}, expected one of none, yaw, xyz")


@pytest.mark.parametrize(
    ("task", "name"), [("panda_reach", "object"), ("panda_grasp_box", "object"), ("two_rooms", "render_mode")]
)
def test_what_a_task_leaves_open(task, name):
    """Neither what it does not take, nor what its registration has settled, nor what is no matter of a task."""
    with pytest.raises(ValueError, match=f"there is no option '{name}'"):
        jepa_envs.make(task, options={name: "cup"})


def test_a_checkpoint_of_another_camera_is_refused(call, tiny_checkpoint, checkpoint_for, goal_png):
    for given in (["--camera", "top"], ["task.camera=top"]):
        outcome = call("evaluate", "--checkpoint", tiny_checkpoint, *given)
        assert_refused(outcome, "cameras.names", "'top'", "'front'", "trained for this task, camera, image size")
    assert_refused(call("plan", "--goal", goal_png, "--checkpoint", tiny_checkpoint, "--camera", "top"), "cameras")
    with Task("panda_reach", camera="top") as task:
        model = checkpoint_for(task.contract)
    quick = ("--max-steps", 2, *QUICK)
    arguments = ("--episodes", 1, "--checkpoint", model, "--camera", "top", "--json", *quick)
    code, out, err = call("evaluate", *arguments)
    assert code == 0 and json.loads(out)["planner"]["episodes"] == 1, err
    assert_refused(call("plan", "--goal", goal_png, *arguments[2:]), "was drawn with camera 'front'; expected 'top'")


def test_a_checkpoint_of_other_options_is_refused(call, checkpoint_for):
    with Task("push_t", options={"action": "relative"}) as task:
        model = checkpoint_for(task.contract)
    quick = ("--max-steps", 2, *QUICK, "--episodes", 1)
    chosen = ("--task", "push_t", "--checkpoint", model, *quick)
    assert_refused(call("evaluate", *chosen), "actions")
    for given in (["--task-option", "action=relative"], ["task.options.action=relative"]):
        assert call("evaluate", *chosen, *given)[0] == 0


def test_options_reach_the_configuration_as_they_were_given():
    given = {"straight": True, "near": 0.5, "count": 3, "note": "a: [b], 'c' = true", "none": None}
    config = configuration("plan", ["task.options.more=x"], "panda_push", "left", given, (), 9)
    assert config.task.options == given | {"more": "x"}
    assert (config.task.name, config.task.camera, config.task.max_steps) == ("panda_push", "left", 9)
    assert configuration("plan", []).task.options == {} and configuration("plan", []).task.camera is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.options=3", "replaces a whole section; expected its keys: task.options.NAME"),
        ("task.option.rotation=xyz", "there is no such key"),
        ("task.options.a.b=1", "there is no such key"),
        ("task.image_size=15", "task.image_size: is 15; expected 16 pixels or more"),
    ],
)
def test_wrong_overrides(override, message):
    with pytest.raises(ConfigError) as caught:
        configuration("evaluate", [override], "push_t")
    assert message in str(caught.value)


@pytest.mark.parametrize("size", ["15", "big", "64.5"])
def test_an_adapted_tasks_picture_size_is_its_own_or_a_number_of_pixels(size):
    assert configuration("evaluate", [], "fetch_push").task.image_size is None
    assert configuration("evaluate", ["task.image_size=32"], "fetch_push").task.image_size == 32
    with pytest.raises(ConfigError, match=f"task.image_size: is {size}; expected 16 pixels or more"):
        configuration("evaluate", [f"task.image_size={size}"], "fetch_push")
