"""Numbers that say how well a policy did, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jepa_robot.evaluation.episodes import EpisodeResult


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95% Wilson score interval of a success rate."""
    from scipy.stats import binomtest  # takes half a second to load

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def percentiles(values: Sequence[float], wanted: Sequence[int]) -> dict[str, float | None]:
    """``{"p50": ..., ...}``, linearly interpolated; None where there are no values."""
    return {f"p{p}": float(np.percentile(values, p)) if len(values) else None for p in wanted}


def summary(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Success rate with interval, steps, distance and latency of episodes with known goal states.

    ``success`` counts episodes that end at the goal; ``ever_reached`` those that met it at any time; ``refused``
    those that the policy did not begin.
    ``energy_correlation`` is how well energies order an episode's moments by their distance to the goal.
    ``steps_to_success`` is over successful episodes: actions until the goal was first met.
    """
    successes = sum(bool(r.success) for r in results)
    reached = [r.first_success for r in results if r.success and r.first_success is not None]
    low, high = wilson_interval(successes, len(results))
    return {
        "episodes": len(results),
        "successes": successes,
        "refused": sum(r.refused for r in results),
        "success_rate": successes / len(results),
        "success_interval_95": [low, high],
        "ever_reached_rate": sum(r.first_success is not None for r in results) / len(results),
        "steps_to_success": percentiles(reached, (50, 90)),
        "steps": percentiles([r.actions for r in results], (50, 90)),
        "final_distance_m": percentiles([r.distance_m for r in results if r.distance_m is not None], (50, 95)),
        "energy_correlation": percentiles(
            [r.energy_correlation for r in results if r.energy_correlation is not None], (50,)
        ),
        "latency_ms": percentiles([1000 * t for r in results for t in r.latencies_s], (50, 95)),
    }


def row(policy: str, episode: int, result: EpisodeResult) -> dict[str, Any]:
    """One episode as plain data for a table."""
    energy = result.final_energy
    return {
        "policy": policy,
        "episode": episode,
        "seed": result.seed,
        "success": result.success,
        "arrived": result.arrived,
        "refused": result.refused,
        "steps": result.actions,
        "steps_to_success": result.first_success,
        "start_distance_m": result.steps[0].distance_m,
        "final_distance_m": result.distance_m,
        "closest_m": result.closest_m,
        "final_energy": energy if np.isfinite(energy) else None,
        "latency_ms_p50": percentiles([1000 * t for t in result.latencies_s], (50,))["p50"],
    }
