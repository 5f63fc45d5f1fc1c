"""How fast PandaReach simulates and draws in one process, and what the fast settings of its renderer are worth.

    python scripts/bench_render.py

Prints frames/s of simulating a control step and drawing it, and of drawing alone, at three picture sizes: with the
task's settings, and with MuJoCo's default quality (shadow maps, four-fold multisampling, fine curves) and a table that
reflects.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from jepa_envs.gl import mujoco
from jepa_envs.panda import HIGH, LOW, SCENE, Panda
from jepa_envs.panda_reach import ACTION_HIGH, CAMERA
from jepa_envs.renderer import Renderer


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


def measure(size: int, seconds: float) -> tuple[float, float, float]:
    """Frames/s at size x size pixels: (simulate and draw fast, draw fast, draw in default quality with reflections)."""
    panda, rng = Panda(), np.random.default_rng(0)
    panda.place((LOW + HIGH) / 2)
    fast = Renderer(panda.model, CAMERA, size)

    def step_and_draw() -> None:
        panda.step(rng.uniform(-ACTION_HIGH, ACTION_HIGH))
        fast.render(panda.data)

    both = rate(step_and_draw, seconds)
    fast_rate = rate(lambda: fast.render(panda.data), seconds)
    fast.close()

    spec = mujoco.MjSpec.from_file(str(SCENE))
    for light in spec.lights:
        light.castshadow = True
    model = spec.compile()
    defaults = mujoco.MjSpec().visual
    model.vis.quality.shadowsize = defaults.quality.shadowsize
    model.vis.quality.offsamples = defaults.quality.offsamples
    model.vis.quality.numslices = defaults.quality.numslices
    model.vis.quality.numstacks = defaults.quality.numstacks
    model.vis.quality.numquads = defaults.quality.numquads
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    model.mat_reflectance[model.material("table").id] = 0.2
    data = mujoco.MjData(model)
    data.qpos[:] = panda.data.qpos
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, size, size) as plain:

        def draw_default() -> None:
            plain.update_scene(data, CAMERA)
            plain.render()

        return both, fast_rate, rate(draw_default, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="spent on each figure (default 3)")
    seconds = parser.parse_args().seconds
    print("pixels    simulate+draw   draw only   default quality   ratio   (frames/s, one process)")
    for size in (64, 128, 224):
        both, fast, default = measure(size, seconds)
        print(f"{size:>3}x{size:<3} {both:>16.0f} {fast:>11.0f} {default:>17.0f} {fast / default:>6.1f}x", flush=True)


if __name__ == "__main__":
    main()
