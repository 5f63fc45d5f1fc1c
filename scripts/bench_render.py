"""How fast a task simulates and draws in one process, and what the fast settings of its renderer are worth.

    python scripts/bench_render.py [TASK]

TASK may be of another package, in an environment that has it. Prints frames/s of simulating a control step and drawing
it, and of drawing alone, at three picture sizes: with the task's settings, and with MuJoCo's default quality (shadow
maps, four-fold multisampling, fine curves) and a surface that reflects.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import jepa_envs
import numpy as np
from jepa_envs.gl import mujoco


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls of ``work`` a second, after a warm-up call; the median of five spells, as machines are noisy."""
    work()
    rates = []
    for _ in range(5):
        begin, calls = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds / 5:
            work()
            calls += 1
        rates.append(calls / (time.perf_counter() - begin))
    return float(np.median(rates))


def measure(task: str, size: int, seconds: float) -> tuple[float, float, float]:
    """Frames/s at size x size pixels: (step and draw, draw, draw in default quality with reflections)."""
    env, rng = jepa_envs.make(task, image_size=size).unwrapped, np.random.default_rng(0)
    env.reset(seed=0)
    low, high = env.action_space.low, env.action_space.high
    both = rate(lambda: env.step(rng.uniform(low, high)), seconds)
    fast = rate(env.observe, seconds)
    env.close()

    model = copy.deepcopy(env._simulation.model)
    defaults = mujoco.MjSpec().visual.quality
    for name in ("shadowsize", "offsamples", "numslices", "numstacks", "numquads"):
        setattr(model.vis.quality, name, getattr(defaults, name))
    model.light_castshadow[:] = True
    model.mat_reflectance[:1] = 0.2
    data = mujoco.MjData(model)
    data.qpos[:] = env._simulation.data.qpos
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, size, size) as plain:

        def draw_default() -> None:
            plain.update_scene(data, env._renderer.view(env.camera))
            plain.render()

        return both, fast, rate(draw_default, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = sorted({**jepa_envs.TASKS, **jepa_envs.ADAPTED_TASKS})
    parser.add_argument("task", nargs="?", choices=tasks, metavar="TASK", default="panda_reach")
    parser.add_argument("--seconds", type=float, default=3.0, help="spent on each figure (default 3)")
    options = parser.parse_args()
    print("pixels    simulate+draw   draw only   default quality   ratio   (frames/s, one process)")
    for size in (64, 128, 224):
        both, fast, default = measure(options.task, size, options.seconds)
        print(f"{size:>3}x{size:<3} {both:>16.0f} {fast:>11.0f} {default:>17.0f} {fast / default:>6.1f}x", flush=True)


if __name__ == "__main__":
    main()
