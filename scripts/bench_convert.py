"""How fast `jepa-robot data convert` is beside reading alone and writing alone.

    python scripts/bench_convert.py [--source gzip] [--compression blosc] [--frames 6000] [--size 224]

Makes a file of drawn episodes, then reads it, writes the same episodes, and converts it, all to the end of fsync.
Rounds alternate between the three and the fastest of each counts, as machines are noisy. Prints frames/s and how
much of the slower of reading and writing converting reaches: by the clock, which needs two idle cores, and by the
processor time of the busier of its two processes, which does not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jepa_robot.data.convert import convert
from jepa_robot.data.format import COMPRESSIONS, Episode
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.spec import Camera, Contract, Dim

STEPS = 60


def contract(size: int) -> Contract:
    return Contract(
        task="drawn", cameras=(Camera("front", size, size),), fps=10.0,
        actions=(Dim("dx", "m", "base", -1, 1), Dim("dy", "m", "base", -1, 1)),
        states=(Dim("x", "m", "base", -1, 1), Dim("y", "m", "base", -1, 1)),
    )


def draw(seed: int, size: int) -> Episode:
    """Shaded floor, textured blocks that move, and some noise: compresses about as rendered pictures do."""
    rng = np.random.default_rng(seed)
    floor = np.linspace(40, 200, size).astype(np.uint8)[:, None, None] * np.ones((1, size, 3), np.uint8)
    frames = np.repeat(floor[None], STEPS + 1, axis=0)
    side = size // 4
    for _ in range(3):
        block = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((side // 8, side // 8, 1))).astype(np.uint8)
        block += rng.integers(0, 4, block.shape, dtype=np.uint8)
        place, speed = rng.uniform(0, size - side, 2), rng.uniform(-3, 3, 2)
        for t in range(STEPS + 1):
            top, left = np.clip(place + t * speed, 0, size - side).astype(int)
            frames[t, top : top + len(block), left : left + len(block)] = block
    walk = rng.uniform(-1, 1, (STEPS + 1, 2)).astype(np.float32)
    return Episode(frames, walk, walk[1:].copy(), "drawn", seed)


def write(path: Path, episodes: Iterator[Episode], size: int, compression: str) -> None:
    with TrajectoryWriter(path, contract(size), {}, compression=compression) as writer:
        for episode in episodes:
            writer.append(episode)


def read(path: Path) -> None:
    with TrajectoryReader(path) as reader:
        for i in range(len(reader)):
            reader.read(i).check(reader.contract, reader.where(i))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of processor time: in this process or, where that is more, in those that it started."""
    began, used = time.perf_counter(), os.times()
    work()
    now = os.times()
    here = now.user + now.system - used.user - used.system
    children = now.children_user + now.children_system - used.children_user - used.children_system
    return time.perf_counter() - began, max(here, children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", choices=COMPRESSIONS, default="gzip", help="compression of what is read")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="blosc", help="compression of what is written")
    parser.add_argument("--frames", type=int, default=6000, help="frames to convert (default 6000)")
    parser.add_argument("--size", type=int, default=224, help="pixels (default 224)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts (default 3)")
    args = parser.parse_args()
    # A few episodes again and again: drawing costs nothing then, and every chunk is still compressed.
    drawn = [draw(seed, args.size) for seed in range(8)]
    count = max(1, args.frames // (STEPS + 1))

    def episodes() -> Iterator[Episode]:
        return (drawn[i % len(drawn)] for i in range(count))

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.h5"), Path(folder, "target.h5")
        write(source, episodes(), args.size, args.source)
        spent: dict[str, list[tuple[float, float]]] = {"read": [], "write": [], "convert": []}
        for _ in range(args.rounds):
            spent["read"].append(seconds(lambda: read(source)))
            spent["write"].append(seconds(lambda: write(target, episodes(), args.size, args.compression)))
            target.unlink()
            spent["convert"].append(seconds(lambda: convert(source, target, compression=args.compression)))
            size = target.stat().st_size
            target.unlink()
    frames = count * (STEPS + 1)
    clock, processor = ({name: frames / min(t[k] for t in times) for name, times in spent.items()} for k in (0, 1))
    print(f"{frames} frames of {args.size} px, {args.source} -> {args.compression}, {size / frames:.0f} bytes/frame")
    print("           by the clock   by processor time   (frames/s)")
    for name in spent:
        print(f"{name:8s}   {clock[name]:12.0f}   {processor[name]:17.0f}")
    ratios = [rates["convert"] / min(rates["read"], rates["write"]) for rates in (clock, processor)]
    print(f"converting reaches {ratios[0]:.0%} of the slower by the clock, {ratios[1]:.0%} by processor time")


if __name__ == "__main__":
    main()
