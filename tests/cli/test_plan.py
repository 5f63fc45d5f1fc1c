import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused
from PIL import Image

from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.spec import Contract

FEW = ("planner.optimizer.samples=8", "planner.optimizer.elites=3", "planner.optimizer.iterations=1")
KEYS = [
    *("task", "variation", "success", "steps", "distance_m", "final_energy", "energy_correlation", "latency_ms"),
    *("seed", "checkpoint", "out_dir"),
]


@pytest.fixture
def plan(call, tiny_checkpoint):
    """Run ``plan`` with the tiny checkpoint, unless another is given."""

    def run(*args):
        checkpoint = () if "--checkpoint" in args else ("--checkpoint", tiny_checkpoint)
        return call("plan", *checkpoint, *FEW, *args)

    return run


# The small models here have learned nothing: their energies say nothing about arrival.
NEVER = "planner.arrival.tolerance=0"


@pytest.fixture
def start_png(tmp_path):
    """The goal is the start of seed 5: reached before the first action."""
    with Task("panda_reach") as task:
        start, _ = start_and_goal(task.env, 5)
        GoalPicture(task.env.render_goal(start), "panda_reach", "front", start).save(tmp_path / "start.png")
    return tmp_path / "start.png"


def plain(path, size=64):
    Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(path)
    return path


def test_goal_not_reached(plan, goal_png, tmp_path):
    code, out, err = plan("--goal", goal_png, "--seed", 1, "--max-steps", 2, "--json", "--out", "there", NEVER)
    assert code == 1
    assert len(out.strip().splitlines()) == 1
    facts = json.loads(out)
    assert list(facts) == KEYS
    assert facts["task"] == "panda_reach" and facts["success"] is False and facts["steps"] == 2
    assert facts["seed"] == 1 and facts["out_dir"] == "there"
    assert facts["distance_m"] > 0.025 and facts["final_energy"] > 0
    assert 0 < facts["latency_ms"]["p50"] <= facts["latency_ms"]["p95"]
    assert err.count("step ") == 3
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["recording.rrd", "result.json", "strip.png"]
    assert json.loads((tmp_path / "there/result.json").read_text()) == facts


def test_goal_reached_by_the_task_s_verdict(plan, start_png):
    code, out, _ = plan("--goal", start_png, "--seed", 5, "planner.arrival.tolerance=1e9", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["success"] is True and facts["steps"] == 0
    assert facts["distance_m"] == pytest.approx(0, abs=1e-6)


def test_start_and_distance_belong_to_the_seed(plan, goal_png):
    with Task("panda_reach") as task:
        start, _ = start_and_goal(task.env, 7)
        _, goal = start_and_goal(task.env, 3)
        expected = task.env.distance(start, goal)
    _, out, _ = plan("--goal", goal_png, "--seed", 7, "planner.arrival.tolerance=1e9", "--json")
    facts = json.loads(out)
    assert facts["steps"] == 0 and facts["distance_m"] == pytest.approx(expected)


def test_words_for_people(plan, goal_png):
    code, out, _ = plan("--goal", goal_png, "--max-steps", 1, NEVER)
    assert code == 1
    assert "step   0" in out and "step   1" in out
    for word in ("success   no", "steps     1", "distance", "latency", "results   outputs/plan/"):
        assert word in out


@pytest.mark.parametrize("tolerance, code", [("1e9", 0), ("0", 1)])
def test_plain_picture_has_no_true_success(plan, tmp_path, tolerance, code):
    picture = plain(tmp_path / "plain.png")
    options = ("--goal", picture, "--max-steps", 1, f"planner.arrival.tolerance={tolerance}")
    found, out, _ = plan(*options, "--json")
    facts = json.loads(out)
    assert found == code and facts["success"] is None and facts["distance_m"] is None
    assert "true success unknown" in plan(*options)[1]


def test_same_seed_same_run(plan, goal_png):
    runs = [json.loads(plan("--goal", goal_png, "--max-steps", 2, "--json")[1]) for _ in range(2)]
    assert runs[0]["distance_m"] == runs[1]["distance_m"] and runs[0]["final_energy"] == runs[1]["final_energy"]
    assert runs[0]["out_dir"] != runs[1]["out_dir"]


def test_no_goal(plan):
    assert_refused(plan(), "--goal")


def test_missing_picture(plan):
    assert_refused(plan("--goal", "none.png"), "none.png", "no such file")


def test_unreadable_picture(plan, tmp_path, goal_png):
    (tmp_path / "text.png").write_text("hello")
    assert_refused(plan("--goal", "text.png"), "text.png", "not a picture")
    (tmp_path / "cut.png").write_bytes(goal_png.read_bytes()[:3000])
    assert_refused(plan("--goal", "cut.png"), "cut.png")


def test_picture_of_the_wrong_size(plan, tmp_path):
    assert_refused(plan("--goal", plain(tmp_path / "small.png", 32)), "small.png", "32x32", "64x64")


def test_picture_of_another_task(plan, goal_png, tmp_path):
    picture = GoalPicture.load(goal_png)
    dataclasses.replace(picture, task="wash_up").save(tmp_path / "other.png")
    assert_refused(plan("--goal", "other.png"), "other.png", "wash_up", "panda_reach")


def test_picture_with_a_foreign_state(plan, goal_png, tmp_path):
    picture = GoalPicture.load(goal_png)
    dataclasses.replace(picture, state={"cups": 3}).save(tmp_path / "foreign.png")
    assert_refused(plan("--goal", "foreign.png"), "foreign.png", "state")


@pytest.mark.parametrize(
    "args, words",
    [
        (("--task", "wash_up"), ("wash_up", "panda_reach")),
        (("--speed", "3"), ("--speed",)),
        (("planner.optimizer.sample=3",), ("planner.optimizer.sample", "planner.optimizer.samples")),
        (("planner.optimizer.samples=many",), ("planner.optimizer.samples", "integer")),
        (("planner.energy.distance=euclid",), ("euclid", "l2, l1, cosine")),
        (("planner.horizon=0",), ("horizon", "at least 1")),
        (("planner.context_frames=9",), ("planner.context_frames", "at most 4")),
        (("planner.optimizer.momentum=1",), ("momentum", "below 1")),
        (("task.max_steps=0",), ("task.max_steps",)),
        (("threads=-1",), ("threads", "0 or more")),
        (("device=abacus",), ("abacus",)),
        (("--checkpoint", "none.safetensors"), ("none.safetensors", "no such checkpoint")),
        (("--camera", "${oc.env:HOME}"), ("--camera", "${oc.env:HOME}", "without ${")),
        (("--task-option", "rotation=${seed}"), ("--task-option rotation", "without ${")),
        (("--camera", "???"), ("task.camera='???'", "missing")),
        (("task.camera=???",), ("task.camera=???", "missing")),
        (("--checkpoint", ""), ("--checkpoint", "empty", ".safetensors")),
        (("--seed", "-1"), ("--seed",)),
        (("--max-steps", "100001"), ("--max-steps", "100000")),
        (("task.max_steps=100001",), ("task.max_steps", "1 to 100000")),
        (("threads=100000",), ("threads", "at most 1024")),
        (("device=meta",), ("meta", "auto, cpu or cuda")),
        (("planner.optimizer.samples=99999999999999999999999",), ("samples", "2 to 100000")),
        (("planner.optimizer.init_std=inf", "planner.optimizer.min_std=0"), ("init_std", "finite")),
        (("planner.max_novelty=-1",), ("max_novelty", "above 0")),
        (("planner.energy.action_cost=-1",), ("planner.energy.action_cost", "0 to 1e+09")),
        (("planner.energy.action_cost=inf",), ("planner.energy.action_cost", "0 to 1e+09")),
    ],
)
def test_wrong_options(plan, goal_png, tmp_path, args, words):
    assert_refused(plan("--goal", goal_png, *args), *words)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "option, override",
    [
        (("--task", "panda_reach"), "task=panda_push"),
        (("--task", "panda_reach"), "task.name=panda_push"),
        (("--camera", "front"), "task.camera=top"),
        (("--task-option", "rotation=none"), "task.options.rotation=yaw"),
        (("--variation", "light"), "task.variation=[camera]"),
        (("--max-steps", "3"), "task.max_steps=2"),
    ],
)
def test_an_option_and_an_override_of_the_same(plan, goal_png, option, override):
    assert_refused(plan("--goal", goal_png, *option, override), f"override '{override}'", option[0], "leave one")


@pytest.mark.parametrize("camera", ["it's", "a\\b", "end\\", "a\\'b", 'say "front"', "a=b, [c]"])
def test_an_option_s_text_is_taken_as_it_is(plan, goal_png, camera):
    assert_refused(plan("--goal", goal_png, "--camera", camera), f"camera {camera!r} is unknown")


@pytest.mark.parametrize(
    "args, words",
    [
        (("--task", "panda_grasp"), ("task panda_grasp", "no shipped checkpoint", "--checkpoint FILE")),
        (("task.name=wash_up",), ("there is no task 'wash_up'",)),
    ],
)
def test_no_checkpoint_for_the_task(call, goal_png, args, words):
    assert_refused(call("plan", "--goal", goal_png, *args), *words)


def test_more_memory_than_there_is(plan, goal_png, tmp_path, monkeypatch):
    import torch

    from jepa_robot.planning import Planner

    monkeypatch.setattr(Planner, "follow", lambda *_: torch.empty(2**60))
    assert_refused(plan("--goal", goal_png, "--out", "there"), "out of memory", "fewer samples")
    assert list(tmp_path.iterdir()) == []


def test_truncated_checkpoint(plan, goal_png, tiny_checkpoint, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(tiny_checkpoint.read_bytes()[:5000])
    assert_refused(plan("--goal", goal_png, "--checkpoint", "cut.safetensors"), "cut.safetensors", "cannot be read")


def test_checkpoint_for_other_actions(plan, goal_png, tiny_checkpoint, tmp_path, rewrite_contract):
    def slower(contract: Contract) -> Contract:
        first = dataclasses.replace(contract.actions[0], high=0.01)
        return dataclasses.replace(contract, actions=(first, *contract.actions[1:]))

    rewrite_contract(tmp_path / "other.safetensors", slower)
    result = plan("--goal", goal_png, "--checkpoint", "other.safetensors")
    assert_refused(result, "actions[dx].high", "0.01", "0.05", "other.safetensors", "task panda_reach")


def test_output_folder_in_use(plan, goal_png, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("mine")
    assert_refused(plan("--goal", goal_png, "--out", "used"), "used", "not empty")
    assert [p.name for p in (tmp_path / "used").iterdir()] == ["file"]


def test_output_folder_that_cannot_be_made_is_refused_before_the_arm_moves(plan, goal_png):
    assert_refused(plan("--goal", goal_png, "--out", "/proc/run"), "/proc/run: cannot be written")
    Path("mine.txt").write_text("mine")
    assert_refused(plan("--goal", goal_png, "--out", "mine.txt/run"), "mine.txt is a file, not a folder")
    assert Path("mine.txt").read_text() == "mine"


def test_interrupted_run_leaves_nothing(plan, goal_png, tmp_path, monkeypatch):
    from jepa_robot.planning import Planner

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Planner, "follow", stop)
    code, out, err = plan("--goal", goal_png, "--out", "there")
    assert code == 130 and err.strip() == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_nothing(plan, goal_png, tmp_path, monkeypatch):
    import errno
    import pathlib

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    code, out, err = plan("--goal", goal_png, "--max-steps", 1, "--json", "--out", "there")
    assert code == 2 and out == "" and "No space left on device" in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
