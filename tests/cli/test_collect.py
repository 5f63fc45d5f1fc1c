"""``jepa-robot collect``: what it records, resuming and wrong use."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from collecting import options, shards
from command_line import assert_refused
from episodes import assert_holds, read_all
from hdf5_contents import assert_same_file

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.evaluation.tasks import Task


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Six episodes of four steps."""
    from jepa_robot.cli.main import cli, run

    path = tmp_path_factory.mktemp("collect") / "six.h5"
    assert run(cli, "jepa-robot", ["collect", *options(path, 6)]) == 0
    return path


def test_an_episode_replays_in_the_simulator(recorded):
    """Frame and state t + 1 are what action t leads to from frame t."""
    episodes = read_all(recorded)
    assert len({e.seed for e in episodes}) == 6 and len({e.kind for e in episodes}) > 1
    with Task("panda_reach") as task:
        for episode in episodes[:3]:
            start, goal = task.env.sample_start_and_goal(_generator_after_the_kind(episode))
            observation, _ = task.env.reset(options={"state": start, "goal_state": goal})
            for t in range(4):
                np.testing.assert_array_equal(observation["front"], episode.frames[t])
                np.testing.assert_array_equal(observation["proprio"], episode.states[t])
                observation, *_ = task.env.step(episode.actions[t])
            np.testing.assert_array_equal(observation["front"], episode.frames[4])
            np.testing.assert_array_equal(observation["proprio"], episode.states[4])


def _generator_after_the_kind(episode):
    rng = np.random.default_rng(episode.seed)
    assert rng.choice(["explore", "noisy"], p=[0.7, 0.3]) == episode.kind
    return rng


def test_the_contract_is_the_task_s(recorded):
    with Task("panda_reach") as task, TrajectoryReader(recorded, contract=task.contract) as reader:
        assert reader.env_args == {"env_name": "jepa_robot/PandaReach-v0", "type": "gymnasium", "env_kwargs": {}}
        assert reader.recipe["seed"] == 5 and reader.recipe["steps"] == 4


def test_the_default_mix_has_no_expert(recorded):
    """Its recipe says so, and most actions move the arm by more than a millimetre."""
    with TrajectoryReader(recorded) as reader:
        assert reader.recipe["mix"] == {"noisy": 0.3, "explore": 0.7}
    actions = np.concatenate([episode.actions for episode in read_all(recorded)])
    assert (np.linalg.norm(actions[:, :3], axis=1) > 1e-3).mean() > 0.8


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_do_not_change_the_result(recorded, call, tmp_path, workers):
    code, out, err = call("collect", *options("two.h5", 6), "--workers", workers)
    assert code == 0, err
    assert "recorded 6 episodes" in out and "wait" not in out
    assert [line.split(",")[0] for line in err.splitlines()] == [f"{i}/6 episodes" for i in range(1, 7)]
    assert_same_file(tmp_path / "two.h5", recorded)
    assert [p.name for p in tmp_path.iterdir()] == ["two.h5"]


def test_workers_continue_a_file(recorded, call, tmp_path):
    assert call("collect", *options("part.h5", 2))[0] == 0
    assert call("collect", *options("part.h5", 5), "--workers", 2)[0] == 0
    assert call("collect", *options("part.h5", 6))[0] == 0
    assert_same_file(tmp_path / "part.h5", recorded)


def test_resumed_and_extended(recorded, call):
    assert call("collect", *options("part.h5", 2))[0] == 0
    code, out, err = call("collect", *options("part.h5", 6), "--json")
    assert code == 0 and "6/6 episodes" in err
    facts = json.loads(out)
    assert (facts["episodes"], facts["frames"], facts["new_episodes"], facts["new_frames"]) == (6, 30, 4, 20)
    assert facts["bytes"] == os.path.getsize("part.h5")
    assert facts["bytes_per_frame"] == pytest.approx(facts["bytes"] / 30, abs=0.1)
    assert_holds(Path("part.h5"), read_all(recorded))
    code, out, _ = call("collect", *options("part.h5", 3))
    assert code == 0 and "6 episodes, 30 frames" in out and "nothing to record" in out


def test_image_size(call):
    assert call("collect", *options("small.h5", 1), "--image-size", 32, "--compression", "gzip")[0] == 0
    assert read_all(Path("small.h5"))[0].frames.shape == (5, 32, 32, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 6}, "six.h5: was recorded with seed 5, not 6; repeat the command that made it"),
        ({"steps": 9}, "was recorded with steps 4, not 9"),
        ({"mix": "expert=1"}, "was recorded with mix "),
        ({"image-size": 32}, "was recorded with image_size None, not 32"),
    ],
)
def test_another_command_on_the_file(recorded, call, changed, message):
    before = recorded.read_bytes()
    assert_refused(call("collect", *options(recorded, 9, **changed)), message)
    assert recorded.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "juggle"}, "there is no task 'juggle'; expected one of panda_reach"),
        ({"mix": "expert=0.5,magic=0.5"}, "there is no demonstrator 'magic'; expected of expert, noisy, explore"),
        ({"mix": "expert=0.5"}, "expected shares that add up to 1"),
        ({"mix": "expert"}, "--mix: 'expert' is no share"),
        ({"mix": "expert=nan"}, "--mix: 'expert=nan' is no share"),
        ({"mix": "expert=0.5,expert=0.5"}, "--mix: 'expert=0.5' is no share"),
        ({"steps": 0}, "--steps"),
        ({"steps": 100_001}, "--steps"),  # an episode is held in memory until it is whole
        ({"episodes": 0}, "--episodes"),
        ({"compression": "zip"}, "--compression"),
        ({"workers": 0}, "--workers: is '0'; expected a number from 1 to 1000, ray, or ray:N"),
        ({"workers": 1001}, "--workers: is '1001'"),
        ({"episodes": 10**20}, "--episodes"),
        ({"workers": "ray:"}, "--workers: is 'ray:'"),
        ({"workers": "rays"}, "--workers: is 'rays'"),
        ({"workers": "ray:0"}, "--workers: is 'ray:0'"),
    ],
)
def test_wrong_use(call, tmp_path, changed, message):
    assert_refused(call("collect", *options("new.h5", 2, **changed)), message)
    assert list(tmp_path.iterdir()) == []


def test_not_a_recording(call, tmp_path):
    (tmp_path / "notes.h5").write_text("my notes\n" * 500)
    assert_refused(call("collect", *options("notes.h5", 2)), "notes.h5: is not an HDF5 file")
    assert (tmp_path / "notes.h5").read_text() == "my notes\n" * 500


def test_no_such_folder_is_made(call, tmp_path):
    (tmp_path / "file").touch()
    assert_refused(call("collect", *options("file/new.h5", 1)), "cannot be written")


def test_ray_that_is_missing(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = call("collect", *options("new.h5", 2, workers="ray"))
    assert_refused(outcome, "--workers ray: Ray is not installed; install the extra: pip install 'jepa-robot[ray]'")
    assert list(tmp_path.iterdir()) == []


def test_shards_of_another_recipe(recorded, call, tmp_path):
    """They are not mixed in."""
    shards(tmp_path / "new.h5").mkdir()
    shutil.copy(recorded, shards(tmp_path / "new.h5") / "shard-0000.h5")
    outcome = call("collect", *options("new.h5", 6, seed=6), "--workers", 2)
    assert_refused(outcome, "shard-0000.h5: was recorded with seed 5, not 6")
    code, out, _ = call("collect", *options("new.h5", 6), "--json")
    assert code == 0 and json.loads(out)["new_episodes"] == 0
    assert_same_file(tmp_path / "new.h5", recorded)


def test_how_often_the_object_moves_is_counted(call):
    """Replayed, with the block's place read from the simulator."""
    assert call("collect", *options("push.h5", 3, task="push_t", steps=20), "--workers", 2)[0] == 0
    code, out, err = call("collect", *options("push.h5", 4, task="push_t", steps=20), "--json")
    assert code == 0 and "warning" not in err
    moved = []
    with Task("push_t") as task:
        for episode in read_all(Path("push.h5")):
            rng = np.random.default_rng(episode.seed)
            rng.choice(2)
            state, goal = task.env.sample_start_and_goal(rng)
            task.env.reset(options={"state": state, "goal_state": goal})
            before, count = task.env.pose_of(state)[2:], 0
            for action in episode.actions:
                task.env.step(action)
                after = task.env.pose_of(task.env.state())[2:]
                degrees = np.rad2deg(np.arcsin(abs(np.sin(after[2] - before[2]))))
                count += np.hypot(*(after - before)[:2]) > 1 or degrees > 1
                before = after
            assert episode.object_moves == count
            moved.append(count)
    assert json.loads(out)["object_moves"] == pytest.approx(sum(moved) / 80, abs=1e-4)
    assert 0.05 < sum(moved) / 80 < 0.95


def test_an_object_that_hardly_moves(recorded, call):
    code, out, err = call("collect", *options("still.h5", 2, task="push_t", steps=1))
    assert code == 0 and out.splitlines()[-1] == "the object moves in 0% of the steps"
    assert "warning: the object moves in 0.0% of the steps; a model hardly learns what becomes of it" in err
    code, out, err = call("collect", *options(recorded, 6), "--json")
    assert json.loads(out)["object_moves"] is None and "warning" not in err


def test_the_look_varies_and_is_part_of_the_recipe(recorded, call):
    """The same motions in other looks; the look is recorded, and cannot be mixed with another."""
    assert call("collect", *options("varied.h5", 6, variation="light,colour"))[0] == 0
    varied, plain = read_all(Path("varied.h5")), read_all(recorded)
    with TrajectoryReader("varied.h5") as reader:
        assert reader.recipe["variation"] == ["light", "colour"]
        assert reader.env_args["env_kwargs"] == {"variation": ["light", "colour"]}
    with TrajectoryReader(recorded) as reader:
        assert "variation" not in reader.recipe
    for a, b in zip(varied, plain):
        assert a.kind == b.kind
        np.testing.assert_array_equal(a.states[0], b.states[0])
        assert np.abs(a.frames[0].astype(int) - b.frames[0]).max() > 20
    for path, changed in (("varied.h5", {}), ("varied.h5", {"variation": "light"}), (recorded, {"variation": "all"})):
        code, _, err = call("collect", *options(path, 9, **changed))
        assert code == 2 and "was recorded with variation " in err and err.count("\n") == 1
    assert call("collect", *options("two.h5", 6, variation="colour,light"), "--workers", 2)[0] == 0
    assert_holds(Path("two.h5"), varied)
    code, _, err = call("collect", *options("new.h5", 1, variation="smell"))
    assert code == 2 and "--variation: variation 'smell' is unknown, expected 'all' or of light, colour" in err


@pytest.mark.parametrize("task", ["push_t", "two_rooms"])
def test_other_tasks_are_recorded_with_their_own_demonstrators(call, task):
    assert call("collect", *options("other.h5", 3, task=task, mix="expert=0.3,noisy=0.3,explore=0.4"))[0] == 0
    with Task(task) as opened, TrajectoryReader("other.h5", contract=opened.contract) as reader:
        assert reader.env_args["env_name"] == opened.env.spec.id
        for i in range(3):
            episode = reader.read(i)
            assert np.all(episode.actions >= opened.contract.action_low)
            assert np.all(episode.actions <= opened.contract.action_high)
            assert np.abs(np.diff(episode.states, axis=0)).max() > 0.5
