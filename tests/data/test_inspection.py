"""All checks together, on a source in memory, a piece of an episode at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jepa_robot.data import trace as traces
from jepa_robot.data.format import Episode
from jepa_robot.data.inspection import inspect
from jepa_robot.data.source import Source
from jepa_robot.data.trace import chunks, read_trace
from jepa_robot.errors import DataError
from jepa_robot.spec import Camera, Contract, Dim

CONTRACT = Contract(
    task="toy",
    cameras=(Camera("front", 8, 8),),
    fps=10.0,
    actions=(Dim("dx", "m", "base", -0.2, 0.2, "x"),),
    states=(Dim("x", "m", "base", -3.0, 3.0),),
)


class Toy(Source):
    """Episodes in memory; those in ``broken`` cannot be decoded."""

    format = "toy"

    def __init__(self, episodes: list[Episode], broken: set[int] = frozenset()):
        self.path, self.contract, self.recipe = Path("toy"), CONTRACT, {}
        self.names = [f"episode {i}" for i in range(len(episodes))]
        self.lengths = np.array([len(e.actions) for e in episodes])
        self.reads: list[tuple[int, int, int]] = []
        self._episodes, self._broken = episodes, broken

    @classmethod
    def recognises(cls, path):
        return False

    def read(self, index, start=0, stop=None):
        stop = int(self.lengths[index]) if stop is None else stop
        self.reads.append((index, start, stop))
        if index in self._broken:
            raise DataError("does not decode", where=self.where(index))
        e = self._episodes[index]
        times = None if e.times is None else e.times[start : stop + 1]
        piece = slice(start, stop + 1)
        return Episode(e.frames[piece], e.states[piece], e.actions[start:stop], e.kind, e.seed, times)

    def close(self):
        pass


def episode(seed: int, steps: int = 40, lag: int = 0) -> Episode:
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-0.15, 0.15, (steps + 6, 1))
    states = np.concatenate([[[0.0]], np.cumsum(actions, axis=0)])
    return Episode(
        frames=rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        states=states[3 : steps + 4].astype(np.float32),
        actions=actions[3 + lag : steps + 3 + lag].astype(np.float32),
        seed=seed,
        times=0.1 * np.arange(steps + 1),
    )


def found(report):
    return [(f.episode, f.key, f.step, f.kind) for f in report.findings]


def test_what_is_right_is_clean():
    report = inspect(Toy([episode(i) for i in range(5)]))
    assert report.findings == () and (report.episodes, report.steps, report.unreadable) == (5, 200, 0)
    assert report.alignment.best == 0 and report.alignment.r2[0] > 0.99


@pytest.mark.parametrize("lag", [-2, -1, 1, 2])
def test_a_shift_is_a_finding(lag):
    report = inspect(Toy([episode(i, lag=lag) for i in range(5)]))
    assert found(report) == [(None, "actions", None, "alignment")]
    message = report.findings[0].message
    after = {-2: "t-2 to t-1", -1: "t-1 to t", 1: "t+1 to t+2", 2: "t+2 to t+3"}[lag]
    assert f"from frame {after} (R2 1.00)" in message
    assert message.endswith(f"{'frames lag behind actions' if lag > 0 else 'actions lag behind frames'} by "
                            f"{abs(lag)} step{'s' * (abs(lag) > 1)}")


def test_every_fault_is_found_where_it_is():
    episodes = [episode(i) for i in range(6)]
    episodes[1].actions[7] = np.nan
    episodes[2].frames[5] = 0
    episodes[3].frames[10:16] = episodes[3].frames[10]
    episodes[3].states[10:16, 0] = np.linspace(-1, 1, 6)
    episodes[4].times[20:] += 0.5
    episodes[5] = episodes[0]
    report = inspect(Toy(episodes))
    assert found(report) == [
        ("episode 1", "actions", 7, "not_finite"),
        ("episode 2", "obs/front", 5, "blank"),
        ("episode 3", "obs/front", 10, "frozen"),
        ("episode 4", "timestamps", 19, "gap"),
        ("episode 5", "actions", None, "duplicate"),
    ]


def test_a_broken_episode_stops_it_or_is_counted():
    source = Toy([episode(i) for i in range(4)], broken={1, 2})
    with pytest.raises(DataError, match="episode 1: does not decode"):
        inspect(source)
    report = inspect(source, skip_broken=True)
    assert (report.episodes, report.steps, report.unreadable) == (2, 80, 2)
    assert found(report) == [(f"episode {i}", "episode", None, "unreadable") for i in (1, 2)]
    with pytest.raises(DataError, match="episode 0"):
        inspect(Toy([episode(0), episode(1)], broken={0, 1}), skip_broken=True)


def test_progress():
    seen = []
    inspect(Toy([episode(0), episode(1)], broken={0}), True, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("frames", [2, 3, 7, 41, 100])
def test_pieces_make_the_same_trace(monkeypatch, frames):
    e = episode(0)
    e.frames[5] = 9
    e.frames[12] = e.frames[11]
    source = Toy([e])
    whole = read_trace(source, 0)
    assert whole.blank.nonzero()[0].tolist() == [5] and whole.repeated.nonzero()[0].tolist() == [11]
    monkeypatch.setattr(traces, "CHUNK_BYTES", frames * 8 * 8 * 3)
    source.reads.clear()
    pieces = read_trace(source, 0)
    assert max(stop - start for _, start, stop in source.reads) + 1 == min(frames, 41)
    for key in ("states", "actions", "times", "blank", "repeated"):
        np.testing.assert_array_equal(getattr(whole, key), getattr(pieces, key))
    assert pieces.digest == whole.digest


def test_the_digest_is_of_all_the_content():
    digests = {read_trace(Toy([episode(0)]), 0).digest}
    for key, at in (("frames", (40, 7, 7, 2)), ("states", (40, 0)), ("actions", (39, 0)), ("times", 40)):
        changed = episode(0)
        getattr(changed, key)[at] += 1
        digests.add(read_trace(Toy([changed]), 0).digest)
    assert len(digests) == 5


def test_pieces_share_one_frame(monkeypatch):
    monkeypatch.setattr(traces, "CHUNK_BYTES", 15 * 8 * 8 * 3)
    parts = [(start, len(piece.frames)) for start, piece in chunks(Toy([episode(0)]), 0)]
    assert parts == [(0, 15), (14, 15), (28, 13)]
