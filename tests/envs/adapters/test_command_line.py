"""Other packages' tasks through the command line, from recording to a goal picture.

Neither needs torch, which their own environments do not have.
"""

from __future__ import annotations

import json
from pathlib import Path

import jepa_envs
import numpy as np
import pytest

from jepa_robot.cli.main import cli, run
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.spec import Contract

STEPS = 30


@pytest.mark.parametrize(
    ("task", "camera"),
    [
        pytest.param("point_maze_umaze", "tilted", marks=pytest.mark.pointmaze),
        pytest.param("fetch_push", "opposite", marks=pytest.mark.fetch),
        pytest.param("metaworld_door_open", "topview", marks=pytest.mark.metaworld),
    ],
)
def test_they_are_recorded_and_drawn(
    task: str, camera: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = ["--task", task, "--camera", camera, "--image-size", "48", "--json"]
    recording = ["collect", *seen, "-o", "some.h5", "--steps", str(STEPS), "--mix", "expert=1"]
    assert run(cli, "jepa-robot", [*recording, "--episodes", "1"]) == 0
    capsys.readouterr()
    assert run(cli, "jepa-robot", [*recording, "--episodes", "2"]) == 0
    facts = json.loads(capsys.readouterr().out)
    env = jepa_envs.make(task, image_size=48, camera=camera).unwrapped
    with TrajectoryReader(tmp_path / "some.h5") as reader:
        assert reader.env_args["env_name"] == jepa_envs.task_id(task)
        assert reader.contract == Contract.from_dict(env.contract())
        episodes = [reader.read(i) for i in range(2)]
    moved = []
    for episode in episodes:
        rng = np.random.default_rng(episode.seed)
        rng.choice(["expert"], p=[1.0])
        start, goal = env.sample_start_and_goal(rng)
        observation, _ = env.reset(options={"state": start, "goal_state": goal})
        for t, action in enumerate(episode.actions):
            np.testing.assert_array_equal(observation[camera], episode.frames[t])
            np.testing.assert_array_equal(observation["proprio"], episode.states[t])
            before = env.state()
            observation, *_ = env.step(action)
            moved.append(env.object_moved(before, env.state()))
    if task in ("fetch_push", "metaworld_door_open"):
        assert facts["object_moves"] == pytest.approx(np.mean(moved), abs=1e-4) and 0.1 < np.mean(moved) < 0.95
    else:
        assert facts["object_moves"] is None and set(moved) == {None}

    assert run(cli, "jepa-robot", ["goal", *seen, "--seed", "3", "-o", "goal.png"]) == 0
    picture = GoalPicture.load(tmp_path / "goal.png")
    assert (picture.task, picture.camera, picture.image.shape) == (task, camera, (48, 48, 3))
    _, goal = env.sample_start_and_goal(np.random.default_rng(3))
    np.testing.assert_array_equal(env.render_goal(goal), picture.image)
    assert env.is_success(picture.state, goal)
    env.close()
