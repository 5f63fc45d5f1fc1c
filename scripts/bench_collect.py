"""How many frames a second `jepa-robot collect` records with one and with two workers, for each task of this package.

    python scripts/bench_collect.py [TASK ...] [--sizes 64 128 224] [--frames 5000]

A frame is simulated, drawn, compressed and written. The first tenth of the episodes is left out, as processes start
in it; joining the shards in the end counts. Prints frames/s, their ratio, and how many CPU milliseconds a frame
takes in all processes together, start-up included: where other programs use the machine, those say more than the clock.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jepa_envs
import numpy as np

from jepa_robot.evaluation.collection import collect
from jepa_robot.evaluation.recipe import Recipe

MIX = {"noisy": 0.3, "explore": 0.7}
STEPS = 30


@dataclass(frozen=True)
class Speed:
    """Frames a second, and CPU seconds of each."""

    rate: float
    cpu: float


def measure(task: str, size: int, frames: int, workers: int) -> Speed:
    """Record about so many frames into a file that is thrown away."""
    episodes, moments = max(4 * workers, frames // (STEPS + 1)), []

    def report(done: int, wanted: int) -> None:
        moments.append((time.perf_counter(), done))

    before = cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        summary = collect(
            Path(folder) / "bench.h5", Recipe(task, 0, STEPS, MIX, size), episodes, workers, report=report
        )
        end = time.perf_counter()
    began, left_out = moments[episodes // 10 + workers]
    return Speed((episodes - left_out) * (STEPS + 1) / (end - began), (cpu_seconds() - before) / summary.frames)


def cpu_seconds() -> float:
    """Used so far by this process and by those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all unless given")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224], help="pixels (default 64 128 224)")
    parser.add_argument("--frames", type=int, default=5000, help="recorded for each figure (default 5000)")
    options = parser.parse_args()
    print(f"{'task':<28}{'pixels':>6}{'one worker':>12}{'two workers':>13}{'ratio':>7}   CPU ms/frame, one and two")
    ratios = []
    for task in options.tasks or jepa_envs.TASKS:
        for size in options.sizes:
            one, two = (measure(task, size, options.frames, workers) for workers in (1, 2))
            ratios.append(two.rate / one.rate)
            print(
                f"{task:<28}{size:>6}{one.rate:>12.0f}{two.rate:>13.0f}{ratios[-1]:>6.2f}x"
                f"{1e3 * one.cpu:>12.2f}{1e3 * two.cpu:>6.2f}",
                flush=True,
            )
    print(f"ratio: median {np.median(ratios):.2f}, least {min(ratios):.2f}   (frames/s)")


if __name__ == "__main__":
    main()
