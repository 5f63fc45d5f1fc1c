"""``jepa-robot goal`` from a state file, from a recording and by hand, and what is wrong with each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from collecting import options
from command_line import assert_refused
from episodes import read_all
from PIL import Image

from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task

STATE = "expected a state as env.state() gives it, as JSON, or a picture drawn by: jepa-robot goal"


@pytest.fixture(scope="module")
def goal():
    """State of goal 3 of the reach task, and its picture at 32 pixels by another camera."""
    with Task("panda_reach", 32, camera="left") as task:
        _, goal = start_and_goal(task.env, 3)
        return json.loads(json.dumps(goal)), task.env.render_goal(goal)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two episodes of four steps."""
    from jepa_robot.cli.main import cli, run

    path = tmp_path_factory.mktemp("goal") / "two.h5"
    assert run(cli, "jepa-robot", ["collect", *options(path, 2)]) == 0
    return path


def write(path, data):
    Path(path).write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_state_file_is_drawn_at_any_size_and_camera(call, goal):
    code, out, err = call("goal", "--state", write("g.json", goal[0]), "--image-size", 32, "--camera", "left")
    assert code == 0, err
    found = GoalPicture.load("panda_reach_g.png")
    assert (found.task, found.camera, found.state) == ("panda_reach", "left", goal[0])
    assert np.array_equal(found.image, goal[1])
    assert out.splitlines()[-1] == "plan --goal panda_reach_g.png --camera left task.image_size=32"


def test_a_picture_that_carries_a_state_is_drawn_again(call, goal):
    assert call("goal", "--seed", 3, "-o", "first.png", "--save-state", "s.json").code == 0
    assert json.loads(Path("s.json").read_text()) == goal[0]
    result = call("goal", "--state", "first.png", "--image-size", 32, "--camera", "left", "-o", "g.png", "--json")
    assert json.loads(result.out) == {
        "path": "g.png", "task": "panda_reach", "state_file": "first.png", "warnings": [], "camera": "left",
        "width": 32, "height": 32, "has_state": True,
    }  # fmt: skip
    assert np.array_equal(GoalPicture.load("g.png").image, goal[1])


def test_options_of_the_task_are_passed_on(call):
    result = call("goal", "--task", "panda_push", "--task-option", "rotation=yaw", "--image-size", 16)
    assert result.code == 0, result.err
    expected = "plan --goal panda_push_seed0.png --task panda_push --task-option rotation=yaw task.image_size=16"
    assert result.out.splitlines()[-1] == expected


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: [g], f"holds a list; {STATE}"),
        (lambda g: "{", "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        (lambda g: "[" * 100_000, "is not JSON (maximum recursion"),
        (lambda g: g | {"task": 3}, "has a task that is no name"),
        (lambda g: g | {"task": "juggle"}, "there is no task 'juggle'"),
        (lambda g: without(g, "task"), "does not say of which task it is; name it: --task"),
        (lambda g: without(g, "qpos"), "holds a state that task panda_reach cannot be in (not a state of panda_reach"),
        (lambda g: g | {"qpos": g["qpos"][:3]}, "expected finite numbers of shape (9,)"),
        (lambda g: g | {"qpos": [float("nan")] * 9}, "expected finite numbers of shape (9,)"),
        (lambda g: g | {"qpos": [3.0, *g["qpos"][1:]]}, "is a state that cannot be reached: x is -"),
        (lambda g: g | {"appearance": 3}, "has an appearance that task panda_reach cannot have"),
    ],
)
def test_a_file_that_is_no_state(call, goal, change, words):
    outcome = call("goal", "--state", write("g.json", change(goal[0])))
    assert_refused(outcome, words, *([] if "there is no task" in words else ["g.json: "]))
    assert [p.name for p in Path().iterdir()] == ["g.json"]


def test_a_goal_in_a_wall(call):
    with Task("two_rooms", 16) as task:
        state = task.env.state_at((17.0, 30.0))
    write("wall.json", state | {"qpos": [0.32, 0.05]})
    assert_refused(call("goal", "--state", "wall.json"), "wall.json", "the agent at (32.0, 5.0) is in a wall")


def test_a_state_of_another_task_or_of_one_that_is_only_named_by_option(call, goal):
    write("g.json", goal[0])
    outcome = call("goal", "--state", "g.json", "--task", "two_rooms")
    assert_refused(outcome, "g.json: is a state of task 'panda_reach'; expected 'two_rooms', as --task says")
    write("old.json", without(goal[0], "task"))
    assert call("goal", "--state", "old.json", "--task", "panda_reach", "-o", "g.png").code == 0
    assert GoalPicture.load("g.png").state == without(goal[0], "task")


def test_files_that_are_neither(call):
    Path("noise.json").write_bytes(bytes(range(255, 100, -1)))
    Image.new("RGB", (8, 8)).save("plain.png")
    assert_refused(call("goal", "--state", "noise.json"), "noise.json: is neither JSON nor a PNG")
    assert_refused(call("goal", "--state", "plain.png"), "plain.png: is a picture that carries no state")
    assert_refused(call("goal", "--state", "missing.json"), "missing.json: there is no such file", STATE)
    assert_refused(call("goal", "--state", "."), ".: cannot be read (Is a directory)")


def test_a_recorded_frame_carries_the_state_that_it_shows(call, recorded):
    code, out, err = call("goal", "--data", recorded, "--episode", 1, "--frame", 2, "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts == {
        "path": "two_demo_1_frame2.png", "task": "panda_reach", "data": str(recorded), "episode": "demo_1", "frame": 2,
        "camera": "front", "why_no_state": None, "width": 64, "height": 64, "has_state": True,
    }  # fmt: skip
    found, episode = GoalPicture.load(facts["path"]), read_all(recorded)[1]
    assert np.array_equal(found.image, episode.frames[2]) and found.camera == "front"
    with Task("panda_reach") as task:
        np.testing.assert_array_equal(task.proprioception(found.state), episode.states[2])
        found.require(task.contract)


def test_the_last_frame_by_default_and_redrawn_if_asked(call, recorded):
    assert call("goal", "--data", recorded, "--episode", "demo_0", "-o", "last.png").code == 0
    assert np.array_equal(GoalPicture.load("last.png").image, read_all(recorded)[0].frames[4])
    result = call("goal", "--data", recorded, "--episode", 0, "--camera", "top", "--image-size", 128, "-o", "big.png")
    assert result.code == 0, result.err
    found = GoalPicture.load("big.png")
    assert found.camera == "top" and found.state == GoalPicture.load("last.png").state
    with Task("panda_reach", 128, camera="top") as task:
        assert np.array_equal(found.image, task.env.render_goal(found.state))


def test_other_people_s_recordings_give_plain_pictures(call):
    sample = Path(__file__).parents[1] / "data" / "samples" / "stable_worldmodel"
    code, out, err = call("goal", "--data", sample, "--episode", 0, "--image-size", 16, "-o", "plain.png")
    assert code == 0, err
    assert "it carries no state, so true success will be unknown: a recording of format stable_worldmodel" in out
    found = GoalPicture.load("plain.png")
    assert (found.task, found.state, found.image.shape) == (None, None, (16, 16, 3))
    outcome = call("goal", "--data", sample, "--episode", 0, "-o", "other.png", "--save-state", "s.json")
    assert_refused(outcome, "has no state to save; leave --save-state out")
    assert [p.name for p in Path().iterdir()] == ["plain.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--episode", 2], "has no episode '2'; expected 0 to 1, or a name such as demo_0"),
        (["--episode", "demo_7"], "has no episode 'demo_7'"),
        (["--episode", 0, "--frame", 5], "demo_0: has no frame 5; expected 0 to 4, or -1 to -5 from the end"),
        (["--episode", 0, "--frame", -6], "has no frame -6"),
        (["--episode", 0, "--camera", "back"], "camera 'back' is unknown, expected one of front, left, top"),
        (["--episode", 0, "--format", "minari"], "two.h5"),
        (["--episode", 0, "--format", "tape"], "there is no format 'tape'"),
        ([], "--episode: is missing"),
        (["--episode", 0, "--seed", 0], "given together: --seed and --data; expected one of --seed, --state"),
        (["--episode", 0, "--interactive"], "given together: --data and --interactive"),
        (["--episode", 0, "--task", "push_t"], "--task: is given with --data"),
        (["--episode", 0, "--task-option", "rotation=yaw"], "--task-option: is given with --data"),
    ],
)
def test_wrong_frames_and_options_of_a_recording(call, recorded, arguments, words):
    assert_refused(call("goal", "--data", recorded, *arguments), words)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", 1, "--state", "g.json"], "given together: --seed and --state"),
        (["--frame", 1], "--frame: is given without --data"),
        (["--episode", 1], "--episode: is given without --data"),
        (["--format", "minari"], "--format: is given without --data"),
        (["--camera", "back"], "camera 'back' is unknown, expected one of front, left, top"),
        (["--image-size", 9999], "image_size is 9999"),
        (["--data", "missing.h5", "--episode", 0], "missing.h5: no such file or folder"),
        (["-o", "g.jpg", "--interactive"], "g.jpg: a goal picture is a PNG"),
        (["-o", "g.png", "--save-state", "g.png"], "--save-state: is the picture's name, too"),
        (["--seed", 1, "check", "g.png"], "--seed before check is for drawing"),
        (["chek"], "No such command 'chek'"),
    ],
)
def test_wrong_use(call, arguments, words):
    assert_refused(call("goal", *arguments), words)
    assert list(Path().iterdir()) == []


def test_a_state_that_exists_is_kept(call):
    write("s.json", "precious")
    assert_refused(call("goal", "--save-state", "s.json"), "s.json: exists already", "--force")
    assert Path("s.json").read_text() == "precious" and not Path("panda_reach_seed0.png").exists()


def drive_by(monkeypatch, keys):
    """In place of the window: one that presses keys, and is closed after that."""
    from jepa_envs.task import MujocoGoalTask

    class Window:
        def __init__(self, on_key):
            self.left = len(keys)
            for key in keys:
                on_key(key)

        def is_open(self):
            return self.left > 0

        def show(self):
            self.left -= 1

        def close(self):
            pass

    monkeypatch.setattr(MujocoGoalTask, "open_viewer", lambda env, on_key: Window(on_key))


def test_by_hand_from_the_start_of_a_seed(call, monkeypatch):
    drive_by(monkeypatch, ["=", "up", "enter"])
    code, out, err = call("goal", "--interactive", "--seed", 4)
    assert code == 0, err
    assert out.startswith("right / left") and out.splitlines()[-1] == "plan --goal panda_reach_seed4_interactive.png"
    found = GoalPicture.load("panda_reach_seed4_interactive.png")
    with Task("panda_reach") as task:
        start, _ = start_and_goal(task.env, 4)
        task.env.reset(options={"state": start, "goal_state": start})
        task.env.step(np.array([0, 0.05, 0, 0], np.float32))
        assert found.state == json.loads(json.dumps(task.env.state()))
        assert np.array_equal(found.image, task.env.observe()["front"])


def test_by_hand_from_a_state_with_the_legend_on_standard_error(call, monkeypatch, goal):
    drive_by(monkeypatch, ["enter"])
    result = call("goal", "--interactive", "--state", write("g.json", goal[0]), "-o", "g.png", "--json")
    assert result.code == 0 and json.loads(result.out)["interactive"] is True and "close the window" in result.err
    assert GoalPicture.load("g.png").state == goal[0]


def test_a_window_that_is_closed_leaves_nothing(call, monkeypatch):
    drive_by(monkeypatch, ["up"])
    result = call("goal", "--interactive", "--save-state", "s.json")
    assert result.code == 130 and result.err == "cancelled, nothing was written\n"
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_no_display(call, monkeypatch):
    pytest.importorskip("glfw")
    monkeypatch.setenv("DISPLAY", ":9999")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert_refused(call("goal", "--interactive"), "--interactive: no display to open a window on; set DISPLAY")
    assert list(Path().iterdir()) == []


def test_sub_goals_on_the_way(call):
    code, out, err = call("goal", "--task", "two_rooms", "--seed", 4, "--subgoals", 2, "-o", "rooms.png")
    assert code == 0, err
    names = ["rooms_1.png", "rooms_2.png", "rooms.png"]
    assert out.splitlines()[-1] == f"plan {' '.join(f'--goal {name}' for name in names)} --task two_rooms --seed 4"
    with Task("two_rooms") as task:
        start, goal = start_and_goal(task.env, 4)
        pictures = [GoalPicture.load(name) for name in names]
        for picture in pictures:
            picture.require(task.contract)
            assert np.array_equal(picture.image, task.env.render_goal(picture.state))
        left = [task.env.distance(state, goal) for state in (start, *(picture.state for picture in pictures))]
        assert left[-1] == 0 and 0 < left[2] < left[0]


def test_sub_goals_are_refused_without_a_start(call):
    assert call("goal", "--task", "two_rooms", "-o", "rooms.png")[0] == 0
    for args in (("--state", "rooms.png"), ("--interactive",)):
        assert_refused(call("goal", *args, "--subgoals", 2, "-o", "more.png"), "--subgoals", args[0])
    Path("other_2.png").touch()
    assert_refused(call("goal", "--task", "two_rooms", "--subgoals", 2, "-o", "other.png"), "other_2.png", "exists")
    assert sorted(path.name for path in Path(".").glob("*.png")) == ["other_2.png", "rooms.png"]
