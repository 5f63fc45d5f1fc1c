"""How often a task's demonstrators reach the goal, how fast, and in how many steps they move the object.

    python scripts/demonstrator_success.py TASK --episodes 200 --kind expert [--task-option rotation=xyz]

Episode i starts from the start and goal of seed i and lasts as long as the task's. Prints, for each kind, the share of
episodes that are a success at their end with its 95% interval (Wilson's), the median step of the first success, and,
where there is an object, the share of steps in which it moves, up to the first success and in all.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import gymnasium as gym
import jepa_envs
import numpy as np
from jepa_robot.evaluation.statistics import wilson_interval


@dataclass(frozen=True)
class Run:
    """One episode of T steps: success after each, bool [T], and whether the object moved in each (None: no object)."""

    success: np.ndarray
    moved: list[bool | None]

    @property
    def first(self) -> int:
        """Steps up to the first success; all where there is none."""
        return int(self.success.argmax()) + 1 if self.success.any() else len(self.success)


def run(env: gym.Env, kind: str, seed: int, steps: int) -> Run:
    """One episode of a demonstrator."""
    rng = np.random.default_rng(seed)
    start, goal = env.sample_start_and_goal(rng)
    demonstrator = env.make_demonstrator(kind, rng)
    env.reset(options={"state": start, "goal_state": goal})
    state, success, moved = start, [], []
    for _ in range(steps):
        *_, info = env.step(demonstrator.act(state, goal))
        before, state = state, env.state()
        success.append(info["success"])
        moved.append(env.object_moved(before, state))
    return Run(np.array(success), moved)


def moves(runs: list[Run]) -> str:
    """How often the object moves in episodes; empty where there is none."""
    if None in runs[0].moved:
        return ""
    before, whole = (np.concatenate(steps) for steps in ([r.moved[: r.first] for r in runs], [r.moved for r in runs]))
    return f"; the object moves in {before.mean():.0%} of the steps up to success, {whole.mean():.0%} of all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=sorted(jepa_envs.TASKS))
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument(
        "--task-option", action="append", default=[], metavar="NAME=VALUE", help="e.g. rotation=xyz; can be repeated"
    )
    parser.add_argument("--kind", help="one kind of demonstrator; all where not given")
    parser.add_argument("--least", type=float, default=0.0, help="exit 1 where fewer of the episodes succeed")
    options = parser.parse_args()
    steps = gym.spec(jepa_envs.TASKS[options.task]).max_episode_steps
    env = jepa_envs.make(
        options.task, image_size=16, options=dict(text.split("=", 1) for text in options.task_option)
    ).unwrapped
    worst = 1.0
    for kind in [options.kind] if options.kind else env.demonstrator_kinds():
        runs = [run(env, kind, seed, steps) for seed in range(options.episodes)]
        successes = sum(bool(r.success[-1]) for r in runs)
        low, high = wilson_interval(successes, len(runs))
        print(
            f"{' '.join([options.task, *options.task_option])} {kind}: {successes} of {len(runs)} ({low:.1%} to {high:.1%}), median of "
            f"{np.median([r.first for r in runs]):.0f} steps{moves(runs)}",
            flush=True,
        )
        worst = min(worst, successes / len(runs))
    env.close()
    sys.exit(worst < options.least)


if __name__ == "__main__":
    main()
