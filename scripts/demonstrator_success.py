"""How often a task's demonstrators reach the goal, how fast, and in how many steps they move the object.

    python scripts/demonstrator_success.py TASK --episodes 200 --kind expert

Episode i starts from the start and goal of seed i and lasts as long as the task's. Prints, for each kind, the share of
episodes that are a success at their end with its 95% interval (Wilson's), the median step of the first success, and
the share of steps in which the object moves by more than a millimetre, up to the first success and in all.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import gymnasium as gym
import jepa_envs
import numpy as np

MOVES = 0.001  # metres


@dataclass(frozen=True)
class Run:
    """One episode of T steps: success after each, bool [T], and how far the object went in each, metres [T]."""

    success: np.ndarray
    moved: np.ndarray

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
        has_object = hasattr(env, "object_position")
        moved.append(np.linalg.norm(env.object_position(state) - env.object_position(before)) if has_object else 0.0)
    return Run(np.array(success), np.array(moved))


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share (Wilson, 1927)."""
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / trials + spread / trials / 4) / (1 + spread)
    return middle - half, middle + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=sorted(jepa_envs.TASKS))
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--kind", help="one kind of demonstrator; all where not given")
    parser.add_argument("--least", type=float, default=0.0, help="exit 1 where fewer of the episodes succeed")
    options = parser.parse_args()
    steps = gym.spec(jepa_envs.TASKS[options.task]).max_episode_steps
    env = jepa_envs.make(options.task, image_size=16).unwrapped
    worst = 1.0
    for kind in [options.kind] if options.kind else env.demonstrator_kinds():
        runs = [run(env, kind, seed, steps) for seed in range(options.episodes)]
        successes = sum(bool(r.success[-1]) for r in runs)
        low, high = wilson(successes, len(runs))
        moves = np.concatenate([r.moved for r in runs]) > MOVES
        before = np.concatenate([r.moved[: r.first] for r in runs]) > MOVES
        print(
            f"{options.task} {kind}: {successes} of {len(runs)} ({100 * low:.1f}% to {100 * high:.1f}%), median of "
            f"{np.median([r.first for r in runs]):.0f} steps; the object moves in {100 * before.mean():.0f}% of the "
            f"steps up to success, {100 * moves.mean():.0f}% of all",
            flush=True,
        )
        worst = min(worst, successes / len(runs))
    env.close()
    sys.exit(worst < options.least)


if __name__ == "__main__":
    main()
