"""The checkpoint that comes with the package: what it says of itself, and that it reaches a goal."""

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


def test_it_fits_its_task_and_tells_how_it_was_made():
    with Task("panda_reach") as task:
        assert load("panda_reach").contract.differences(task.contract) == []
    header = read_metadata("panda_reach")
    assert header["recipe"] and all({"stage", "settings", "data", "seed", "steps"} <= set(e) for e in header["recipe"])
    assert "/" not in json.dumps([entry["settings"] for entry in header["recipe"]])  # no folders of the machine
    assert header["results"]["panda_reach"]["planner"]["episodes"] >= 100


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
