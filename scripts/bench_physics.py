"""What batched physics would save in collecting: MuJoCo's own batch against its steps one by one, per recorded frame.

    python scripts/bench_physics.py [TASK ...]

Both simulate the control periods of as many episodes as there are, on one thread. Prints CPU milliseconds of one
control period, and which share of everything that a recorded frame takes (demonstrator, physics, drawing) the physics
is: `jepa-robot collect` keeps every core busy with a process, so that only what costs less CPU would be faster.
Needs MuJoCo 4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jepa_envs
import mujoco
import numpy as np
from mujoco.batch import Batch

EPISODES = 32
REPEATS = 5
MIX = ("noisy", "explore")


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of a call, the least of several."""
    work()
    spent = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return 1e3 * min(spent)


def measure(task: str) -> tuple[float, float, float]:
    """CPU ms a frame: (physics step by step, physics in a batch, everything that is recorded)."""
    env = jepa_envs.make(task).unwrapped
    env.reset(seed=0)
    model, present = env._simulation.model, env._simulation.data
    steps = round(1 / (env.metadata["render_fps"] * model.opt.timestep))
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, present, state, kind)
    simulations = [mujoco.MjData(model) for _ in range(EPISODES)]
    for data in simulations:
        mujoco.mj_setState(model, data, state, kind)
        data.ctrl[:] = present.ctrl
    batch = Batch(model, nsim=EPISODES, nthread=1)
    batch.bind("qpos")[:] = present.qpos
    if model.nu:
        batch.bind("ctrl")[:] = present.ctrl

    def one_by_one() -> None:
        for data in simulations:
            for _ in range(steps):
                mujoco.mj_step(model, data)

    def in_a_batch() -> None:
        for _ in range(steps):
            batch.step()

    return cpu_ms(one_by_one) / EPISODES, cpu_ms(in_a_batch) / EPISODES, _recorded(env)


def _recorded(env: jepa_envs.GoalImageTask, frames: int = 60) -> float:
    """CPU ms of a frame of an episode as it is recorded, the mean over the usual demonstrators."""

    def episodes() -> None:
        rng = np.random.default_rng(0)
        for kind in MIX:
            start, goal = env.sample_start_and_goal(rng)
            env.reset(options={"state": start, "goal_state": goal})
            demonstrator = env.make_demonstrator(kind, rng)
            for _ in range(frames):
                env.step(demonstrator.act(env.state(), goal))

    return cpu_ms(episodes) / (frames * len(MIX))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all of this package's unless given")
    print(f"{'task':<28}{'step by step':>14}{'mujoco.batch':>14}{'share of a frame':>18}   (CPU ms a control period)")
    for task in parser.parse_args().tasks or jepa_envs.TASKS:
        loop, batch, frame = measure(task)
        print(f"{task:<28}{loop:>14.3f}{batch:>14.3f}{100 * loop / frame:>17.0f}%", flush=True)


if __name__ == "__main__":
    main()
