"""The checkpoint that comes with the package: what it says of itself, and that it reaches a goal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jepa_robot.evaluation.tasks import Task
from jepa_robot.models import load, read_metadata
from jepa_robot.models.checkpoint import SHIPPED

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
