"""Tasks that users register, given as MODULE:ID wherever a task is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from command_line import assert_refused
from episodes import read_all

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.tasks import Task

TASK = "own_toys:toys/Toy-v0"
MODULE = """
import gymnasium as gym
from jepa_envs.adapters import AdaptedTask, Dim
from toy_env import ToyEnv

def make(render_mode=None, image_size=32, camera=None, near=0.05, gear=1):
    return AdaptedTask(
        ToyEnv(),
        name="toy",
        actions=[Dim("force", "N", -20.0, 20.0, "world")],
        states=[Dim("x", "m", -1.0, 1.0, "world")],
        proprio=lambda env: env.data.qpos,
        achieved=lambda env: env.data.qpos,
        success_distance=near,
        cameras=("above", "beside"),
        fixed={1: 0.0},
        steps_per_action=gear,
        render_mode=render_mode,
        image_size=image_size,
        camera=camera,
    )

gym.register("toys/Toy-v0", entry_point=make, max_episode_steps=7)
gym.register("toys/Endless-v0", entry_point="own_toys:make")
gym.register("toys/Bare-v0", entry_point="toy_env:ToyEnv")
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """``own_toys.py`` in the current folder; what it registers is forgotten in the end."""
    (tmp_path / "own_toys.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_toys", None)
    for name in [name for name in gym.registry if name.startswith("toys/")]:
        del gym.registry[name]


def collected(call, *more):
    arguments = ("--task", TASK, "--mix", "explore=1", "--steps", 4, "--episodes", 3, "-o", "toy.h5")
    return call("collect", *arguments, *more)


def test_it_is_recorded_by_workers_and_replays_in_what_gymnasium_makes_of_it(call):
    code, out, err = collected(call, "--workers", 2, "--task-option", "gear=2", "--task-option", "near=0.1")
    assert code == 0, err
    with TrajectoryReader("toy.h5") as reader:
        assert reader.contract.task == "toy" and reader.contract.fps == 25.0  # two steps of 0.02 s
        made = reader.env_args
    assert made == {"env_name": TASK, "type": "gymnasium", "env_kwargs": {"gear": 2, "near": 0.1}}
    env = gym.make(made["env_name"], **made["env_kwargs"]).unwrapped
    for episode in read_all(Path("toy.h5")):
        rng = np.random.default_rng(episode.seed)
        rng.choice(["explore"], p=[1.0])
        start, goal = env.sample_start_and_goal(rng)
        seen = [env.reset(options={"state": start, "goal_state": goal})[0]]
        seen += [env.step(action)[0] for action in episode.actions]
        np.testing.assert_array_equal([s["proprio"] for s in seen], episode.states)
        np.testing.assert_array_equal([s["above"] for s in seen], episode.frames)
    assert collected(call, "--task-option", "near=0.1", "--task-option", "gear=2")[0] == 0
    assert_refused(collected(call), "was recorded with options {'gear': 2, 'near': 0.1}, not None")


def test_a_goal_is_drawn_and_planned_for_and_the_registered_steps_are_the_limit(call, checkpoint_for):
    assert call("goal", "--task", TASK, "-o", "goal.png")[0] == 0
    picture = GoalPicture.load("goal.png")
    assert picture.task == "toy" and picture.camera == "above" and picture.image.shape == (32, 32, 3)
    with Task(TASK) as task:
        np.testing.assert_array_equal(task.env.render_goal(picture.state), picture.image)
        model = checkpoint_for(task.contract)
    chosen = ("--task", TASK, "--checkpoint", model, "--json")
    quick = ("planner.optimizer.samples=8", "planner.optimizer.elites=4", "planner.optimizer.iterations=1")
    code, out, err = call("evaluate", *chosen, "--episodes", 2, *quick)
    facts = json.loads(out)
    assert (facts["task"], facts["max_steps"], facts["planner"]["episodes"]) == ("toy", 7, 2)
    assert "ceiling" not in facts  # it has no expert
    assert call("evaluate", *chosen, "--episodes", 1, "--max-steps", 2, *quick)[0] == 0
    code, out, err = call("plan", "--goal", "goal.png", *chosen, "--out", "run", "planner.arrival.patience=50", *quick)
    assert code in (0, 1), err
    assert json.loads(out)["task"] == "toy" and json.loads(out)["steps"] <= 7


@pytest.mark.parametrize("workers", [1, 2])
def test_no_goal_away_from_its_start(call, tmp_path, checkpoint_for, workers):
    with Task(TASK) as task:
        model = checkpoint_for(task.contract)
    words = "no goal away from its start in 100 tries: in 0 none was made, and 100 were reached at the start", "--task"
    for outcome in (
        collected(call, "--task-option", "near=5", "--workers", workers),
        call("goal", "--task", TASK, "--task-option", "near=5", "-o", "goal.png"),
        call("evaluate", "--task", TASK, "--task-option", "near=5", "--checkpoint", model, "--out", "there"),
    ):
        assert_refused(outcome, *words)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != "") == ["own_toys.py"]


def test_without_registered_steps_they_are_asked_for(call, checkpoint_for):
    task = "own_toys:toys/Endless-v0"
    with Task(task) as opened:
        chosen = ("--task", task, "--checkpoint", checkpoint_for(opened.contract), "--episodes", 1, "--json")
    outcome = call("evaluate", *chosen)
    assert_refused(outcome, f"task {task}: is registered without max_episode_steps; give --max-steps")
    quick = ("planner.optimizer.samples=8", "planner.optimizer.elites=4")
    code, out, _ = call("evaluate", *chosen, "--max-steps", 3, *quick)
    assert code == 0 and json.loads(out)["max_steps"] == 3


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("not_there:toys/Toy-v0", ["there is no module 'not_there', expected one in the current folder"]),
        ("own_toys:toys/Top-v0", ["'own_toys' registers no 'toys/Top-v0' with Gymnasium", "toys/Toy-v0"]),
        ("own_toys:", ["'own_toys' registers no ''"]),
        (":toys/Toy-v0", ["module '' cannot be imported"]),
        ("half:toys/Toy-v0", ["module 'half' cannot be imported (No module named 'something_missing')"]),
        ("broken:toys/Toy-v0", ["module 'broken' cannot be imported (ZeroDivisionError: division by zero)"]),
        ("own_toys:toys/Bare-v0", ["no goal-image task, as it lacks contract, observe", "is_success", "AdaptedTask"]),
    ],
)
@pytest.mark.parametrize("verb", ["collect", "goal", "evaluate"])
def test_a_module_or_id_that_is_wrong(call, tmp_path, tiny_checkpoint, verb, task, words):
    (tmp_path / "half.py").write_text("import something_missing\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    more = {
        "collect": ("--episodes", 1, "-o", "new.h5"),
        "goal": ("-o", "new.png"),
        "evaluate": ("--checkpoint", tiny_checkpoint, "--max-steps", 2),
    }
    assert_refused(call(verb, "--task", task, *more[verb]), *words)
    assert not list(tmp_path.glob("new.*"))
