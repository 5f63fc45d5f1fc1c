"""Random actions at the bounds, for a long time: does a task stay finite, without warnings and without growing?

    python scripts/soak.py TASK --steps 100000 [--task-option rotation=xyz]

Every action dimension is at one of its bounds, held for 1 to 20 steps; an episode is 200 steps. Prints steps/s, the
numbers that are not finite, MuJoCo's warnings and how much memory the process gained after the first tenth. Exits 1
if anything went wrong.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import jepa_envs
import numpy as np
from jepa_envs.task import MujocoGoalTask

EPISODE = 200  # steps
MOST_GROWTH = 8.0  # MB


def resident_mb() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def soak(env: MujocoGoalTask, steps: int, seed: int) -> dict[str, float]:
    """Drive ``env`` for ``steps``; what went wrong, and the memory gained."""
    rng = np.random.default_rng(seed)
    low, high = env.action_space.low, env.action_space.high
    not_finite, warnings, before = 0, 0, 0.0
    held = 0
    for step in range(steps):
        if step % EPISODE == 0:
            warnings += sum(env.warnings().values())
            if step:
                env.restore(env.state())  # raises where a state is not one that the task accepts
            env.reset(seed=int(rng.integers(2**31)))
        if step == steps // 10:
            before = resident_mb()
        if held == 0:
            action, held = np.where(rng.random(low.shape) < 0.5, low, high), int(rng.integers(1, 21))
        held -= 1
        observation, *_ = env.step(action)
        state = env.state()
        numbers = [*state["qpos"], *state["qvel"], *observation["proprio"]]
        not_finite += not np.all(np.isfinite(numbers)) or not env.observation_space["proprio"].contains(
            observation["proprio"]
        )
    warnings += sum(env.warnings().values())
    return {"not_finite": not_finite, "warnings": warnings, "growth_mb": resident_mb() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=sorted(jepa_envs.TASKS))
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--task-option", action="append", default=[], metavar="NAME=VALUE", help="e.g. rotation=xyz; can be repeated"
    )
    options = parser.parse_args()
    env = jepa_envs.make(
        options.task, image_size=16, options=dict(text.split("=", 1) for text in options.task_option)
    ).unwrapped
    begin = time.perf_counter()
    found = soak(env, options.steps, options.seed)
    seconds = time.perf_counter() - begin
    env.close()
    print(
        f"{' '.join([options.task, *options.task_option])}: {options.steps} steps, {options.steps / seconds:.0f}/s, "
        f"{found['not_finite']:.0f} not finite or out of bounds, {found['warnings']:.0f} warnings, "
        f"{found['growth_mb']:+.1f} MB"
    )
    if found["not_finite"] or found["warnings"] or found["growth_mb"] > MOST_GROWTH:
        sys.exit(1)


if __name__ == "__main__":
    main()
