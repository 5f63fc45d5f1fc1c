"""Are deadlines kept? Plans with random budgets, alone and while the other core is busy.

    python scripts/bench_deadlines.py                       # 1,000 plans each: about 10 minutes
    python scripts/bench_deadlines.py --plans 100 --checkpoint CKPT --optimizer icem

Every plan starts from a random picture of a task and goes for another; its budget is drawn evenly from 20 to 500 ms.
A row says by how much of its budget a plan was late (median, 99th percentile, worst), how much of it was used, and how
many candidates there was time for in short and in long budgets.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.models import load
from jepa_robot.planning import Observation, build_planner, default_settings
from jepa_robot.planning.presets import changed

SHORTEST, LONGEST = 0.02, 0.5  # seconds
WARM_UP = 20  # plans by which the pace is learnt, not counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="panda_reach", help="default: %(default)s")
    parser.add_argument("--plans", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--optimizer", default="cem", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.checkpoint)
    moments = pictures(model.contract.task, 50, options.seed)
    print("| Other core | Late by, median / 99% / worst | Later than 10% | Budget used | Candidates < 100 / > 400 ms |")
    print("|---|---|---|---|---|")
    for busy in (False, True):
        with load_on_the_other_core() if busy else contextlib.nullcontext():
            rows = measure(model, moments, options)
        budgets, taken, candidates = (np.array(column) for column in zip(*rows))
        late = taken / budgets - 1
        short, long = candidates[budgets < 0.1], candidates[budgets > 0.4]
        print(
            f"| {'busy' if busy else 'idle'} "
            f"| {np.median(late):+.1%} / {np.percentile(late, 99):+.1%} / {late.max():+.1%} "
            f"| {(late > 0.1).sum()} of {len(late)} | {np.median(taken / budgets):.0%} "
            f"| {np.median(short):.0f} / {np.median(long):.0f} |",
            flush=True,
        )


def measure(model, moments, options) -> list[tuple[float, float, int]]:
    """Budget and time taken in seconds, and candidates evaluated, of every plan."""
    settings = changed(default_settings(options.optimizer), {"extend": True, "max_novelty": None})
    planner, rng = build_planner(model, settings), np.random.default_rng(options.seed)
    rows = []
    for number in range(options.plans + WARM_UP):
        here, there = rng.choice(len(moments), 2, replace=False)
        planner.reset(moments[there].image, seed=number)
        budget = rng.uniform(SHORTEST, LONGEST)
        begun = time.perf_counter()
        plan = planner.plan(moments[here], deadline=begun + budget)
        rows.append((budget, time.perf_counter() - begun, plan.diagnostics.health.evaluated))
    return rows[WARM_UP:]


def pictures(task: str, count: int, seed: int) -> list[Observation]:
    """What the robot sees and feels at random starts."""
    with Task(task) as opened:
        starts = [start_and_goal(opened.env, seed + i)[0] for i in range(count)]
        return [Observation(opened.env.render_goal(s), opened.proprioception(s)) for s in starts]


@contextlib.contextmanager
def load_on_the_other_core() -> Iterator[None]:
    """A process that multiplies matrices without a pause."""
    work = """
import numpy as np
a = np.random.rand(300, 300)
print("ready", flush=True)
while True:
    a = np.tanh(a @ a)
"""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", work], env=one_thread, stdout=subprocess.PIPE)
    try:
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("the process that should keep the other core busy did not start")
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
