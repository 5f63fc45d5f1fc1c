"""Recording a loop: the README's snippet, what is kept when things go wrong, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.record import Recorder
from jepa_robot.errors import ContractError, DataError
from jepa_robot.planning.types import Observation

README = Path(__file__).parents[2] / "datasets" / "README.md"


class ToyRobot:
    """One joint that moves right; its camera draws it into one buffer again and again."""

    def __init__(self):
        self.x, self.steps, self.frame = 0.3, 0, np.zeros((64, 64, 3), np.uint8)

    def picture(self):
        self.frame[:] = 0
        self.frame[:, int(64 * self.x + 0.5)] = 255
        return self.frame

    def state(self):
        return np.array([self.x], np.float32)

    def choose_action(self):
        return np.array([0.01 * (1 + self.steps)], np.float32)

    def move(self, action):
        self.x += float(action[0])
        self.steps += 1

    def done(self):
        """After every fourth step; the next episode begins at 0."""
        if self.steps < 4:
            return False
        self.steps = 0
        return True


def test_the_snippet_of_the_readme(tmp_path, monkeypatch):
    snippets = [s for s in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "Recorder" in s]
    assert len(snippets) == 1
    monkeypatch.chdir(tmp_path)
    exec(compile(snippets[0], README, "exec"), {"robot": ToyRobot()})
    with TrajectoryReader(tmp_path / "push_cup.h5") as reader:
        assert reader.contract.task == "push_cup" and reader.lengths.tolist() == [4, 4, 4]
        x = 0.3
        for i in range(3):
            episode = reader.read(i)
            np.testing.assert_allclose(episode.actions[:, 0], [0.01, 0.02, 0.03, 0.04], rtol=1e-6)
            positions = x + np.array([0, 0.01, 0.03, 0.06, 0.1])
            np.testing.assert_allclose(episode.states[:, 0], positions, rtol=1e-6)
            # The camera's buffer was copied: every frame shows its own position.
            columns = [int(np.flatnonzero(frame[0, :, 0])[0]) for frame in episode.frames]
            assert columns == [int(64 * p + 0.5) for p in positions]
            assert (np.diff(episode.times) > 0).all() and episode.kind == "teleoperation"
            x = positions[-1]


@pytest.fixture
def see():
    """An observation whose every value follows from its number."""

    def make(number, **changes):
        values = {"image": np.full((16, 16, 3), number, np.uint8), "state": np.full(3, number / 100, np.float32)}
        return Observation(**(values | {"time": 10 + number / 5} | changes))

    return make


def drive(recorder, see, first, steps):
    recorder.start(see(first))
    for t in range(steps):
        recorder.step(np.array([0.01, 0.02]), see(first + t + 1))


def firsts(path):
    """The first picture of each episode."""
    with TrajectoryReader(path) as reader:
        return [int(reader.read(i).frames[0, 0, 0, 0]) for i in range(len(reader))]


def test_time_stamps_are_kept(tmp_path, contract, see):
    with Recorder(tmp_path / "r.h5", contract, kind="script") as recorder:
        drive(recorder, see, 5, 3)
        recorder.end()
    with h5py.File(tmp_path / "r.h5", "r") as file:
        demo = file["data/demo_0"]
        np.testing.assert_array_equal(demo["timestamps"][:], 10 + np.arange(5, 9) / 5)
        np.testing.assert_array_equal(demo["obs/front"][:, 0, 0, 0], [5, 6, 7])
        assert demo["final_obs/front"][0, 0, 0] == 8 and demo.attrs["kind"] == b"script"


def test_an_ended_episode_is_permanent_at_once(tmp_path, contract, see):
    recorder = Recorder(tmp_path / "r.h5", contract)
    drive(recorder, see, 5, 3)
    recorder.end()
    drive(recorder, see, 50, 3)
    copy = tmp_path / "copy.h5"  # as a kill would leave it
    copy.write_bytes((tmp_path / "r.h5").read_bytes())
    assert firsts(copy) == [5] and len(recorder) == 1 and recorder.recording
    recorder.discard()
    recorder.close()
    recorder.close()


def test_an_exception_loses_the_running_episode_only(tmp_path, contract, see):
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path / "r.h5", contract) as recorder:
        drive(recorder, see, 5, 2)
        recorder.end()
        drive(recorder, see, 30, 2)
        1 / 0  # noqa: B018
    assert firsts(tmp_path / "r.h5") == [5]
    with Recorder(tmp_path / "r.h5", contract) as recorder:
        assert len(recorder) == 1
        drive(recorder, see, 60, 2)
        recorder.end()
    assert firsts(tmp_path / "r.h5") == [5, 60]


def test_discard(tmp_path, contract, see):
    with Recorder(tmp_path / "r.h5", contract) as recorder:
        recorder.discard()  # nothing is running: nothing happens
        drive(recorder, see, 5, 2)
        recorder.discard()
        assert not recorder.recording and len(recorder) == 0
        drive(recorder, see, 30, 2)
        recorder.end()
    assert firsts(tmp_path / "r.h5") == [30]


def test_forgotten_end(tmp_path, contract, see):
    with pytest.raises(DataError, match="demo_1: was neither ended nor discarded, and is lost; call end"):
        with Recorder(tmp_path / "r.h5", contract) as recorder:
            drive(recorder, see, 5, 2)
            recorder.end()
            drive(recorder, see, 30, 2)
    assert firsts(tmp_path / "r.h5") == [5]


@pytest.mark.parametrize(
    ("action", "changes", "message"),
    [
        ([0.01, 0.02], {"image": np.zeros((16, 16, 4), np.uint8)}, r"obs/front\[2\]: is uint8 \[16, 16, 4\]; expected"),
        ([0.01, 0.02], {"image": np.zeros((16, 16, 3))}, r"obs/front\[2\]: is float64"),
        ([0.01, 0.02], {"state": np.zeros(2)}, r"obs/proprio\[2\]: is \[0.0, 0.0\]; expected 3 finite numbers"),
        ([0.01, 0.02], {"state": [0, np.nan, 0]}, r"obs/proprio\[2\]: is \[0.0, nan, 0.0\]"),
        ([0.01, 0.02], {"time": 10.2 + 6 / 5 - 0.2}, r"timestamps\[2\]: is 11.2 after 11.2; expected a later time"),
        ([0.01, 0.02], {"time": np.nan}, r"timestamps\[2\]: is nan; expected seconds"),
        ([0.06, 0.02], {}, r"action 1/actions: dx at step 0 is 0.06; expected \[-0.05, 0.05\] m"),
        ([0.01, np.inf], {}, "action 1/actions: gripper at step 0 is inf"),
        ([0.01], {}, r"actions\[1\]: is \[1\]; expected \[2\]"),
        (0.01, {}, r"actions\[1\]: is \[\]; expected \[2\]"),
    ],
)
def test_a_wrong_step_is_refused_and_not_added(tmp_path, contract, see, action, changes, message):
    with Recorder(tmp_path / "r.h5", contract) as recorder:
        drive(recorder, see, 5, 1)
        with pytest.raises(DataError, match=f"r.h5:data/demo_0.*{message}"):
            recorder.step(action, dataclasses.replace(see(7), **changes))
        recorder.step([0.01, 0.02], see(7))
        recorder.end()
    with TrajectoryReader(tmp_path / "r.h5") as reader:
        assert reader.lengths.tolist() == [2]
        assert reader.read(0).frames[:, 0, 0, 0].tolist() == [5, 6, 7]


def test_wrong_order(tmp_path, contract, see):
    with Recorder(tmp_path / "r.h5", contract) as recorder:
        with pytest.raises(DataError, match=r"step\(\) without an episode; call start\(\) first"):
            recorder.step([0, 0], see(1))
        with pytest.raises(DataError, match=r"end\(\) without an episode"):
            recorder.end()
        recorder.start(see(1))
        with pytest.raises(DataError, match=r"an episode is running; call end\(\) or discard\(\)"):
            recorder.start(see(2))
        with pytest.raises(DataError, match="has no action"):
            recorder.end()
        recorder.discard()
        with pytest.raises(DataError, match=r"obs/front\[0\]"):
            recorder.start(dataclasses.replace(see(1), image=np.zeros(3)))
        assert not recorder.recording


def test_other_contract(tmp_path, contract):
    Recorder(tmp_path / "r.h5", contract).close()
    with pytest.raises(ContractError, match="fps is 5.0"):
        Recorder(tmp_path / "r.h5", dataclasses.replace(contract, fps=9.0))
