"""Goals of `plan` beyond one picture: several, any of several, videos, latents, proprioception."""

import json

import av
import numpy as np
import pytest
import torch
from command_line import assert_refused
from PIL import Image

from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.models import load
from jepa_robot.planning.goal_latents import save_goal_latents

QUICK = ("planner.optimizer.samples=8", "planner.optimizer.elites=3", "planner.optimizer.iterations=1")
NEVER = ("planner.arrival.tolerance=0", "planner.arrival.patience=50")


@pytest.fixture
def plan(call, tiny_checkpoint):
    return lambda *args: call("plan", "--checkpoint", tiny_checkpoint, *QUICK, *args)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three goals, of seeds 1 to 3, that carry their true states."""
    folder = tmp_path_factory.mktemp("goals")
    with Task("panda_reach") as task:
        for seed in (1, 2, 3):
            _, state = start_and_goal(task.env, seed)
            GoalPicture(task.env.render_goal(state), "panda_reach", "front", state).save(folder / f"{seed}.png")
    return [folder / f"{seed}.png" for seed in (1, 2, 3)]


def goals(paths):
    return [word for path in paths for word in ("--goal", path)]


def test_several_goals_one_after_another(plan, pictures, tmp_path):
    code, out, _ = plan(*goals(pictures), "--goal-steps", 1, "--max-steps", 3, "--seed", 4, *NEVER, "--json")
    facts = json.loads(out)
    assert code == 1 and facts["steps"] == 3
    with Task("panda_reach") as task:  # judged by the last one
        start, _ = start_and_goal(task.env, 4)
        goal = GoalPicture.load(pictures[-1]).state
        assert abs(facts["distance_m"] - task.env.distance(start, goal)) < 3 * 0.1
    assert facts["success"] is False


def test_any_of_several_goals(plan, pictures):
    code, out, _ = plan(*goals(pictures), "--any", "--max-steps", 1, "planner.arrival.tolerance=1e9", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["steps"] == 0
    assert facts["success"] is None and facts["distance_m"] is None  # whose true state it should be is not known


def test_a_goal_video(plan, pictures, tmp_path):
    with av.open(tmp_path / "way.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        for path in pictures:
            frame = av.VideoFrame.from_ndarray(np.array(Image.open(path)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    options = ("--goal", "way.mp4", "--video-frames", 2, "--max-steps", 1, "planner.max_novelty=inf", *NEVER)
    code, out, _ = plan(*options, "--json")
    assert code == 1 and json.loads(out)["success"] is None
    assert_refused(plan("--goal", "way.mp4", "--video-frames", 3), "way.mp4", "has 3 frames", "at least 4")


def test_goal_latents(plan, pictures, tiny_checkpoint, tmp_path):
    model = load(str(tiny_checkpoint))
    image = torch.from_numpy(np.array(Image.open(pictures[0])))
    save_goal_latents(tmp_path / "goal.safetensors", model.encode(image[None, None])[0, 0], model)
    runs = []
    for goal in (tmp_path / "goal.safetensors", pictures[0]):
        _, out, _ = plan("--goal", goal, "--max-steps", 1, *NEVER, "--json")
        runs.append(json.loads(out))
    assert runs[0]["final_energy"] == pytest.approx(runs[1]["final_energy"], rel=1e-4)
    assert runs[0]["success"] is None and runs[1]["success"] is False


def test_wanted_proprioception(plan, pictures):
    goal = ("--goal", pictures[0], "--max-steps", 1, *NEVER)
    without = json.loads(plan(*goal, "--json")[1])
    wanted = json.loads(plan(*goal, "--goal-state", "z=0.3", "planner.energy.state=100", "--json")[1])
    assert wanted["final_energy"] > without["final_energy"]
    assert_refused(plan(*goal, "--goal-state", "z=0.3"), "--goal-state", "planner.energy.state=1")


@pytest.mark.parametrize(
    "args, words",
    [
        (("--goal-steps", "1", "--goal-steps", "2"), ("2 numbers of steps", "3 sub-goals")),
        (("--goal-steps", "-1"), ("--goal-steps",)),
        (("--goal-state", "z"), ("--goal-state", "'z'", "NAME=NUMBER")),
        (("--goal-state", "z=high"), ("--goal-state", "z=high")),
        (("--goal-state", "z=1", "--goal-state", "z=2"), ("--goal-state", "once")),
        (("--goal-state", "w=1", "planner.energy.state=1"), ("'w'", "x, y, z, gripper")),
        (("--goal-state", "z=9", "planner.energy.state=1"), ("z is 9", " m")),
        (("--goal", "nowhere.png"), ("nowhere.png", "no such file")),
        (("--planner", "nowhere.yaml"), ("nowhere.yaml", "cannot be read")),
    ],
)
def test_wrong_goals(plan, pictures, args, words):
    assert_refused(plan(*goals(pictures), *args), *words)


@pytest.mark.parametrize(
    "text, words",
    [
        ("horizon: far", ("planner.horizon='far'", "integer")),
        ("horizont: 2", ("planner.horizont", "planner.horizon")),
        ("optimizer: {name: guess}", ("guess", "cem")),
        ("- horizon", ("settings.yaml", "is list")),
        ("horizon: [", ("settings.yaml", "cannot be read")),
    ],
)
def test_wrong_presets(plan, pictures, tmp_path, text, words):
    (tmp_path / "settings.yaml").write_text(text)
    assert_refused(plan("--goal", pictures[0], "--planner", "settings.yaml"), *words)


def test_a_preset_is_used_and_overrides_go_before_it(call, tiny_checkpoint, pictures, tmp_path):
    (tmp_path / "settings.yaml").write_text("optimizer: {name: gradient, starts: 2, iterations: 2}\nhorizon: 2\n")
    chosen = ("plan", "--checkpoint", tiny_checkpoint, "--goal", pictures[0], "--max-steps", 1, *NEVER, "--json")
    first = json.loads(call(*chosen, "--planner", "settings.yaml")[1])
    words = ("planner/optimizer=gradient", "planner.optimizer.starts=2", "planner.optimizer.iterations=2")
    assert json.loads(call(*chosen, *words, "planner.horizon=2")[1])["final_energy"] == first["final_energy"]
    assert_refused(call(*chosen, "--planner", "settings.yaml", "planner.optimizer.starts=0"), "starts is 0")


def test_doubts_are_said_once(plan, pictures):
    box = ("planner.constraints.high.z=0.16", "planner.constraints.low.z=0.159")
    _, _, err = plan("--goal", pictures[0], "--max-steps", 3, *NEVER, *box)
    assert sum("violates z" in line for line in err.splitlines()) == 1
    assert "warning: step 0:" in err
