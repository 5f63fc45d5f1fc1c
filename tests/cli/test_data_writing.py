"""``jepa-robot data convert``, ``merge`` and ``repair``: what they print, their exit codes, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import assert_refused
from episodes import seeds
from waiting import wait_until

from jepa_robot.data.format import Episode
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.spec import Contract

ROOT = Path(__file__).parents[2]


def write(path: Path, contract: Contract, seeds: range, steps: int = 4, compression: str = "gzip") -> Path:
    camera, middle = contract.camera, (contract.state_low + contract.state_high) / 2
    with TrajectoryWriter(path, contract, {}, compression=compression) as writer:
        for seed in seeds:
            frames = np.random.default_rng(seed).integers(
                0, 256, (steps + 1, camera.height, camera.width, 3), dtype=np.uint8
            )
            actions = np.zeros((steps, len(contract.actions)), np.float32)
            writer.append(Episode(frames, np.repeat(middle[None], steps + 1, 0), actions, "x", seed))
    return path


def break_episode(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        file[f"data/{name}/actions"][1, 0] = np.nan


def test_convert(call, contract):
    write(Path("in.h5"), contract, range(3))
    code, out, err = call("data", "convert", "in.h5", "out.h5", "--compression", "none")
    assert code == 0 and err.splitlines() == ["1/3 episodes", "2/3 episodes", "3/3 episodes"]
    assert out.splitlines()[0].startswith("out.h5: 3 episodes, 15 frames, 0.")
    assert out.splitlines()[1].startswith("converted 3 episodes from jepa_robot in ")
    assert seeds(Path("out.h5")) == [0, 1, 2]
    code, out, err = call("data", "convert", "in.h5", "out.h5", "--compression", "none")
    assert code == 0 and "nothing to convert: the file holds them already" in out
    assert_refused(call("data", "convert", "in.h5", "out.h5"), "compression 'none', not 'blosc'")


def test_convert_json(call, contract):
    write(Path("in.h5"), contract, range(3))
    break_episode(Path("in.h5"), "demo_1")
    code, out, err = call("data", "convert", "in.h5", "out.h5", "--skip-broken", "--json")
    found = json.loads(out)
    assert code == 0 and found.pop("seconds") >= 0 and found.pop("size") == os.path.getsize("out.h5")
    assert found == {
        "path": "out.h5", "format": "jepa_robot", "episodes": 2, "frames": 10, "new_episodes": 2, "new_frames": 10,
        "broken": 1,
    }
    assert [line for line in err.splitlines() if "left out" in line] == [
        "left out: in.h5:data/demo_1/actions: dx at step 1 is nan; expected a finite number; record the episode again"
    ]


def test_convert_stops_at_a_broken_episode(call, contract):
    write(Path("in.h5"), contract, range(3))
    break_episode(Path("in.h5"), "demo_1")
    code, out, err = call("data", "convert", "in.h5", "out.h5")
    assert code == 2 and out == "" and "in.h5:data/demo_1/actions: dx at step 1 is nan" in err
    assert "leave such episodes out with --skip-broken" in err.splitlines()[-1]
    assert seeds(Path("out.h5")) == [0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.h5", "out.h5"], "none.h5: no such file or folder"),
        (["in.h5", "in.h5"], "in.h5: is the source itself"),
        (["in.h5", "out.h5", "--format", "robomimc"], "there is no format 'robomimc'; expected robomimic"),
        (["in.h5", "out.h5", "--camera", "back"], "has no camera 'back'; expected one of front"),
        (["in.h5", "out.h5", "--fps", "9"], "has a contract of its own, so fps cannot be given"),
        (["in.h5"], "Missing argument 'OUTPUT.h5'"),
    ],
)
def test_convert_wrong_use(call, contract, args, message):
    write(Path("in.h5"), contract, range(1))
    assert_refused(call("data", "convert", *args), message)
    assert not Path("out.h5").exists()


@pytest.fixture(scope="module")
def large(contract, tmp_path_factory):
    """200 episodes, enough for a second process; of one colour, so that they are soon written."""
    camera, state = contract.camera, (contract.state_low + contract.state_high) / 2
    states, actions = np.repeat(state[None], 121, 0), np.zeros((120, len(contract.actions)), np.float32)
    path = tmp_path_factory.mktemp("large") / "in.h5"
    with TrajectoryWriter(path, contract, {}) as writer:
        for seed in range(200):
            frames = np.full((121, camera.height, camera.width, 3), seed, np.uint8)
            writer.append(Episode(frames, states, actions, "x", seed))
    return path


@pytest.mark.slow
def test_convert_interrupted(call, large, tmp_path):
    """With the second process at work: complete episodes are left, nobody stays behind, and it goes on."""
    path, done = tmp_path / "out.h5", 0
    args = ["data", "convert", str(large), str(path), "--compression", "gzip"]  # slow enough to be interrupted
    command = [sys.executable, "-m", "jepa_robot.cli.main", *args]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert "/200 episodes" in process.stderr.readline()
        process.send_signal(number)
        err = process.stderr.read()  # to the end: the second process has closed it, too
        code = process.wait()
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 130 and err.splitlines()[-1] == "interrupted" and "Traceback" not in err
        with TrajectoryReader(path) as reader:
            assert done <= len(reader) < 200 and (len(reader) > done or number == signal.SIGKILL)
            done = len(reader)
        wait_until(lambda: not _group_is_alive(process.pid))
    code, out, _ = call(*args)
    assert code == 0 and f"converted {200 - done} episodes" in out
    with TrajectoryReader(path) as reader:
        assert [reader.read(i, 0, 1).seed for i in range(len(reader))] == list(range(200))


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_merge(call, contract):
    write(Path("a.h5"), contract, range(2))
    write(Path("b.h5"), contract, range(2, 5), compression="blosc")
    code, out, err = call("data", "merge", "a.h5", "b.h5", "-o", "all.h5")
    assert code == 0 and out.startswith("all.h5: 5 episodes, 25 frames, ") and err.splitlines()[-1] == "5/5 episodes"
    assert seeds(Path("all.h5")) == [0, 1, 2, 3, 4]
    code, out, err = call("data", "merge", "b.h5", "a.h5", "-o", "json.h5", "--json")
    size = os.path.getsize("json.h5")
    assert json.loads(out) == {"path": "json.h5", "episodes": 5, "frames": 25, "bytes": size}
    for args, message in (
        (["a.h5", "b.h5", "-o", "all.h5"], "all.h5: exists"),
        (["a.h5", "-o", "x.h5"], "expected at least two files"),
        (["a.h5", "b.h5"], "Missing option '-o'"),
    ):
        assert_refused(call("data", "merge", *args), message)


def test_repair(call, contract):
    write(Path("a.h5"), contract, range(3))
    code, out, err = call("data", "repair", "a.h5")
    assert code == 0 and out.splitlines() == ["a.h5: nothing to repair", "a.h5: 3 complete episodes"]
    break_episode(Path("a.h5"), "demo_1")
    code, out, err = call("data", "repair", "a.h5")
    assert code == 0 and out.splitlines() == ["a.repaired.h5: 2 complete episodes; 1 lost"]
    assert [line for line in err.splitlines() if "lost" in line] == [
        "lost: a.h5:data/demo_1/actions: dx at step 1 is nan; expected a finite number; record the episode again"
    ]
    assert seeds(Path("a.repaired.h5")) == [0, 2]
    code, out, err = call("data", "repair", "a.h5", "-o", "other.h5", "--json")
    assert code == 0
    assert json.loads(out) == {"path": "other.h5", "episodes": 2, "lost": 1, "finished": False, "copied": True}
    Path("bad.h5").write_bytes(Path("a.h5").read_bytes()[:1000])
    assert_refused(call("data", "repair", "bad.h5"), "bad.h5: nothing can be saved")
