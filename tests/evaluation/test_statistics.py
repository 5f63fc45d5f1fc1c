import math

import numpy as np
import pytest

from jepa_robot.evaluation.correlation import rank_correlation
from jepa_robot.evaluation.episodes import Decision, EpisodeResult, Goal, Step
from jepa_robot.evaluation.statistics import percentiles, row, summary, wilson_interval

IMAGE = np.zeros((4, 4, 3), np.uint8)


def result(distances, success, first, latency=0.1, energy=2.0):
    decision = Decision(np.zeros(2, np.float32), energy=energy, latency_s=latency)
    steps = [Step(i, IMAGE, d, decision) for i, d in enumerate(distances)]
    return EpisodeResult(7, Goal(IMAGE), steps, True, success, first)


@pytest.mark.parametrize("k, n", [(0, 10), (95, 100), (7, 9), (50, 50)])
def test_wilson_interval_against_the_formula(k, n):
    z, p = 1.959963984540054, k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(k, n) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_percentiles_interpolate():
    assert percentiles([1.0, 2.0, 3.0, 4.0], (50, 90)) == {"p50": 2.5, "p90": pytest.approx(3.7)}
    assert percentiles([], (50,)) == {"p50": None}


def test_summary_counts_the_end_apart_from_the_way():
    results = [
        result([0.3, 0.01, 0.02], True, 1, latency=0.1),
        result([0.3, 0.02, 0.2], False, 1, latency=0.3),
        result([0.3, 0.2, 0.1, 0.3], False, None, latency=0.3),
        result([0.3, 0.1, 0.1, 0.01], True, 3, latency=0.3),
    ]
    found = summary(results)
    assert found["episodes"] == 4 and found["successes"] == 2 and found["success_rate"] == 0.5
    assert found["ever_reached_rate"] == 0.75
    assert found["steps_to_success"] == {"p50": 2.0, "p90": pytest.approx(2.8)}
    assert found["steps"]["p50"] == 2.5
    assert found["final_distance_m"]["p50"] == pytest.approx(0.11)
    assert found["latency_ms"]["p50"] == pytest.approx(300)
    assert found["success_interval_95"] == list(wilson_interval(2, 4))


def test_row():
    found = row("planner", 3, result([0.3, 0.01, 0.02], True, 1, energy=float("nan")))
    assert found["policy"] == "planner" and found["episode"] == 3 and found["seed"] == 7
    assert found["steps"] == 2 and found["steps_to_success"] == 1 and found["final_energy"] is None
    assert (found["start_distance_m"], found["final_distance_m"], found["closest_m"]) == (0.3, 0.02, 0.01)
    assert found["latency_ms_p50"] == pytest.approx(100)


def test_rank_correlation_against_the_formula():
    """Without ties it is 1 - 6 sum(d^2) / (n (n^2 - 1)), d the differences of ranks."""
    rng = np.random.default_rng(0)
    energies, distances = rng.normal(size=9), rng.normal(size=9)
    ranks = [[sorted(values).index(v) for v in values] for values in (list(energies), list(distances))]
    expected = 1 - 6 * sum((a - b) ** 2 for a, b in zip(*ranks)) / (9 * 80)
    assert rank_correlation(energies, distances) == pytest.approx(expected)
    assert rank_correlation(np.exp(distances), distances) == pytest.approx(1)


def test_rank_correlation_of_what_can_be_compared():
    assert rank_correlation([3.0, math.nan, 2.0, 1.0, 9.0], [1.0, 5.0, 2.0, 3.0, math.inf]) == pytest.approx(-1)
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([], []) is None
