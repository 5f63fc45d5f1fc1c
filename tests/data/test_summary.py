"""Streamed statistics are those of the whole array."""

from __future__ import annotations

import numpy as np
import pytest

from jepa_robot.data import summary
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.summary import PixelStats, RunningStats, count_kinds, gather_statistics, spaced
from jepa_robot.data.writer import TrajectoryWriter


@pytest.fixture
def path(tmp_path, contract, make_episode):
    with TrajectoryWriter(tmp_path / "toy.h5", contract, {}) as writer:
        for seed in range(6):
            writer.append(make_episode(seed, steps=5 + seed))
    return tmp_path / "toy.h5"


def test_running_statistics_are_those_of_the_array():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(1000, 3)) * [1, 1e-3, 100] + [0, 500, -7]).astype(np.float32)
    stats = RunningStats(3, rng)
    for part in np.array_split(rows, [1, 1, 4, 300, 999]):
        stats.add(part)
    whole = rows.astype(np.float64)
    np.testing.assert_allclose(stats.mean, whole.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(stats.std, whole.std(axis=0), rtol=1e-6)
    np.testing.assert_array_equal([stats.low, stats.high], [whole.min(axis=0), whole.max(axis=0)])
    np.testing.assert_allclose(stats.percentiles(), np.percentile(whole, [1, 50, 99], axis=0))
    assert stats.rows == 1000 and not stats.sampled


def test_what_is_not_finite_is_left_out_and_counted():
    stats = RunningStats(3, np.random.default_rng(0))
    stats.add(np.array([[1, np.nan, 5], [3, np.nan, np.inf]], np.float32))
    stats.add(np.array([[5, np.nan, 7]], np.float32))
    assert stats.count.tolist() == [3, 0, 2]
    np.testing.assert_allclose(stats.mean, [3, np.nan, 6])
    np.testing.assert_allclose(stats.std, [np.sqrt(8 / 3), np.nan, 1])
    np.testing.assert_array_equal([stats.low, stats.high], [[1, np.nan, 5], [5, np.nan, 7]])
    np.testing.assert_allclose(stats.percentiles()[1], [3, np.nan, 6])


def test_percentiles_of_a_bounded_sample(monkeypatch):
    monkeypatch.setattr(summary, "SAMPLE_ROWS", 2000)
    stats = RunningStats(1, np.random.default_rng(0))
    for part in np.array_split(np.arange(50_000, dtype=np.float32)[:, None], 25):
        stats.add(part)
    assert stats.sampled and stats._sample.shape == (2000, 1)
    # A percentile of 2000 of 50 000 numbers is off by about sqrt(p (1 - p) / 2000): at most 1.1%.
    np.testing.assert_allclose(stats.percentiles()[:, 0] / 50_000, [0.01, 0.5, 0.99], atol=0.035)
    assert stats.low == 0 and stats.high == 49_999


def test_pixels():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 200, (7, 9, 5, 3), dtype=np.uint8) + np.array([0, 20, 55], np.uint8)
    stats = PixelStats()
    for part in np.split(frames, [1, 5]):
        stats.add(part)
    mean, std = stats.mean_std()
    np.testing.assert_allclose(mean, (frames / 255).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(std, (frames / 255).std(axis=(0, 1, 2)))


@pytest.mark.parametrize("frames_a_piece", [2, 4, 1000])
def test_statistics_of_chosen_episodes(path, make_episode, monkeypatch, frames_a_piece):
    monkeypatch.setattr("jepa_robot.data.trace.CHUNK_BYTES", frames_a_piece * 16 * 16 * 3)
    chosen = [0, 2, 5]
    with TrajectoryReader(path) as reader:
        found = gather_statistics(reader, chosen)
    assert found.episodes == 3
    episodes = [make_episode(seed, steps=5 + seed) for seed in chosen]
    for stats, key in ((found.actions, "actions"), (found.states, "states")):
        rows = np.concatenate([getattr(e, key) for e in episodes]).astype(np.float64)
        assert stats.rows == len(rows)
        np.testing.assert_allclose(stats.mean, rows.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(stats.std, rows.std(axis=0), rtol=1e-6)
    pixels = np.concatenate([e.frames for e in episodes]) / 255
    mean, std = found.pixels.mean_std()
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)))


def test_the_seed_sets_the_sample(path, monkeypatch):
    monkeypatch.setattr(summary, "SAMPLE_ROWS", 10)
    with TrajectoryReader(path) as reader:
        a, b, c = (gather_statistics(reader, range(6), seed).states.percentiles() for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_kinds(path, monkeypatch):
    with TrajectoryReader(path) as reader:
        assert count_kinds(reader) == ({"expert": 3, "noisy": 3}, 0)
        monkeypatch.setattr(summary, "KIND_EPISODES", 2)
        assert count_kinds(reader) == ({"expert": 1, "noisy": 1}, 0)  # the first and the last


@pytest.mark.parametrize(
    ("count", "most", "chosen"), [(3, 5, [0, 1, 2]), (10, 3, [0, 4, 9]), (1, 4, [0]), (5, 1, [0])]
)
def test_evenly_spaced(count, most, chosen):
    assert spaced(count, most) == chosen
