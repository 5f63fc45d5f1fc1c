"""The checkpoints that come with the package: what they say of themselves, and that goals are reached."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused
from PIL import Image

from jepa_robot.evaluation.tasks import Task
from jepa_robot.models import load, read_metadata
from jepa_robot.planning import build_planner

GOAL = Path(__file__).parents[2] / "datasets" / "goals" / "panda_reach_seed3.png"


@pytest.mark.parametrize("name, results", [("panda_reach", "panda_reach"), ("panda_push", "panda_push (16 sub-goals)")])
def test_it_fits_its_task_and_tells_how_it_was_made(name, results):
    with Task(name) as task:
        assert load(name).contract.differences(task.contract) == []
    header = read_metadata(name)
    assert header["recipe"] and all({"stage", "settings", "data", "seed", "steps"} <= set(e) for e in header["recipe"])
    assert "/" not in json.dumps([entry["settings"] for entry in header["recipe"]])  # no folders of the machine
    assert header["results"][results]["planner"]["episodes"] >= 100


@pytest.mark.slow
def test_it_reaches_the_goal_picture(call):
    code, out, err = call("plan", "--goal", GOAL, "--seed", 3, "--out", "run", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["success"] and facts["distance_m"] <= 0.025


@pytest.mark.parametrize("change", [lambda x: 0 * x, lambda x: x[:, ::-1], lambda x: np.clip(x, 0, 205) + 50])
def test_pictures_of_something_else_are_refused(call, tmp_path, change):
    """A black one, a mirrored one and one in other light."""
    picture = np.array(Image.open(GOAL).convert("RGB"))
    Image.fromarray(change(picture).astype(np.uint8)).save(tmp_path / "other.png")
    outcome = call("plan", "--goal", "other.png", "--out", "run", "--json")
    assert_refused(outcome, "goal picture: is unlike everything that the model was trained on (novelty")
    assert not (tmp_path / "run").exists()


def test_goal_pictures_survive_jpeg(tmp_path):
    Image.open(GOAL).convert("RGB").save(tmp_path / "goal.jpg", quality=60)
    planner = build_planner(load("panda_reach"))
    planner.reset(np.array(Image.open(tmp_path / "goal.jpg")))


@pytest.mark.slow
def test_a_push_that_is_shown(call):
    """Of four goals at least one: 100 are in the README."""
    straight = "planner.actions.norm.dims=[dx,dy,dz]", "planner.actions.norm.order=2", "planner.actions.norm.radius=0.03"
    shown = "--task", "panda_push", "--episodes", 4, "--subgoals", 16, "--goal-steps", 6
    code, out, err = call("evaluate", *shown, "--json", *straight)
    assert code == 0, err
    assert json.loads(out)["planner"]["successes"] >= 1 > json.loads(out)["random"]["successes"]
