"""``--variation``: goals, plans and evaluations in looks that are drawn with the episode."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused

from jepa_robot.evaluation import policies
from jepa_robot.evaluation.goal_picture import GoalPicture

QUICK = ("--max-steps", 2, "planner.optimizer.samples=8", "planner.optimizer.elites=4", "planner.optimizer.iterations=1")
ANY = "planner.max_novelty=inf"


@pytest.fixture
def seen(monkeypatch):
    """Pictures that planners are given: goals, and what they observe."""
    goals, frames = [], []

    class Watched(policies.PlannerPolicy):
        def reset(self, task, goal, seed):
            goals.append(goal.image)
            super().reset(task, goal, seed)

        def decide(self, observation):
            frames.append(observation.image)
            return super().decide(observation)

    monkeypatch.setattr(policies, "PlannerPolicy", Watched)
    return goals, frames


def apart(first, second):
    """Levels between what most of two pictures shows: not the arm."""
    return np.median(np.abs(first.astype(int) - second))


@pytest.mark.parametrize("given", [["--variation", "camera,light"], ["task.variation=[light,camera]"]])
def test_evaluate_sees_goal_and_scene_in_one_look_of_each_episode(call, tiny_checkpoint, seen, given):
    chosen = ("--checkpoint", tiny_checkpoint, "--episodes", 2, "--json", "--out", "there", *QUICK, ANY)
    code, out, err = call("evaluate", *chosen, *given)
    assert code == 0, err
    facts = json.loads(out)
    assert facts["variation"] == json.loads(Path("there/results.json").read_text())["variation"] == ["light", "camera"]
    goals, frames = seen
    for i in range(2):
        options = ("--seed", 1_000_000 + i, "--image-size", 64)
        assert call("goal", *options, "-o", f"plain{i}.png")[0] == 0
        assert call("goal", *options, "-o", f"varied{i}.png", "--variation", "light,camera")[0] == 0
        plain, varied = (GoalPicture.load(f"{name}{i}.png") for name in ("plain", "varied"))
        np.testing.assert_array_equal(goals[i], varied.image)
        assert list(varied.state["appearance"]) == ["light", "camera"] and varied.state["qpos"] == plain.state["qpos"]
        first = frames[len(frames) // 2 * i]
        assert apart(first, varied.image) <= 1 and apart(first, plain.image) > 2


def test_plan_looks_as_goal_draws_it_with_the_same_seed(call, tiny_checkpoint, seen):
    _, out, _ = call("goal", "--seed", 4, "--variation", "all", "-o", "goal.png")
    command = out.splitlines()[-1].split()
    assert command == ["plan", "--goal", "goal.png", "--variation", "light,colour,camera,distractors", "--seed", "4"]
    chosen = ("--checkpoint", tiny_checkpoint, "--out", "run", "--json", *QUICK, ANY)
    code, out, err = call(*command, *chosen)
    assert code == 1, err
    expected = ["light", "colour", "camera", "distractors"]
    assert json.loads(out)["variation"] == json.loads(Path("run/result.json").read_text())["variation"] == expected
    assert apart(seen[1][0], GoalPicture.load("goal.png").image) <= 1


def test_refused_goals_are_failures_and_said(call, tiny_checkpoint):
    chosen = ("--checkpoint", tiny_checkpoint, "--episodes", 2, "--json", "--out", "there", *QUICK)
    code, out, err = call("evaluate", *chosen, "planner.max_novelty=1e-9")
    assert code == 0 and err.splitlines()[-1].startswith("note: 2 of 2 goals were refused and count as failures"), err
    facts = json.loads(out)
    assert [facts[name]["refused"] for name in ("planner", "random", "ceiling")] == [2, 0, 0]
    assert facts["planner"]["success_rate"] == 0 and facts["planner"]["latency_ms"]["p50"] is None
    with open("there/episodes.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["policy"] == "planner"]
    assert [(row["steps"], row["refused"], row["arrived"]) for row in rows] == [("0", "True", "False")] * 2
    assert all(float(row["start_distance_m"]) == float(row["final_distance_m"]) > 0.1 for row in rows)
    assert len(list(Path("there/failed").glob("*.png"))) == 2


def test_figures_are_recorded_apart(call, tiny_checkpoint):
    shutil.copy(tiny_checkpoint, "mine.safetensors")
    chosen = ("--checkpoint", "mine.safetensors", "--episodes", 1, "--record", *QUICK, ANY)
    head = call("evaluate", *chosen).out.splitlines()[0]
    assert head.startswith("panda_reach, checkpoint")
    head = call("evaluate", *chosen, "--variation", "light,colour").out.splitlines()[0]
    assert head.startswith("panda_reach (light, colour), checkpoint")
    results = json.loads(call("info", "mine.safetensors", "--json").out)["results"]
    assert {name: figures["variation"] for name, figures in results.items()} == {
        "panda_reach": [],
        "panda_reach (light, colour)": ["light", "colour"],
    }


@pytest.mark.parametrize("verb", ["collect", "goal", "plan", "evaluate"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("light,sound", "--variation: variation 'sound' is unknown, expected 'all' or of light, colour, camera"),
        ("", "--variation: names no factor; expected all, or some of light,colour,camera,distractors"),
        (",", "--variation: names no factor"),
    ],
)
def test_wrong_factors(call, goal_png, tmp_path, verb, text, words):
    more = {"collect": ("--task", "push_t", "--episodes", 1, "-o", "new.h5"), "plan": ("--goal", goal_png)}
    assert_refused(call(verb, *more.get(verb, ()), "--variation", text), words)
    assert list(tmp_path.iterdir()) == []


def test_wrong_factors_in_an_override(call, tiny_checkpoint):
    for text in ("[light,3]", "[sound]"):
        outcome = call("evaluate", "--checkpoint", tiny_checkpoint, f"task.variation={text}")
        assert_refused(outcome, "task panda_reach: variation ", " is unknown, expected 'all' or of light")
    outcome = call("evaluate", "--checkpoint", tiny_checkpoint, "task.variation=light")
    assert_refused(outcome, "override 'task.variation=light': wrong type of value; expected a list")


def test_states_and_recordings_have_their_own_look(call):
    assert call("goal", "-o", "goal.png", "--variation", "light").code == 0
    outcome = call("goal", "--state", "goal.png", "-o", "again.png", "--variation", "light")
    assert_refused(outcome, "--variation: is given with --state; leave it out: that says it itself")
    outcome = call("goal", "--data", "demos.h5", "--episode", 0, "--variation", "light")
    assert_refused(outcome, "--variation: is given with --data")
    assert call("goal", "--state", "goal.png", "-o", "again.png").code == 0
    np.testing.assert_array_equal(GoalPicture.load("again.png").image, GoalPicture.load("goal.png").image)
