"""How fast random training windows are read: this library's loader beside the usual ways, in one run.

    python scripts/bench_loader.py
    python scripts/bench_loader.py --peer-python ENV/bin/python     # with stable-worldmodel installed in ENV
    python scripts/bench_loader.py --task Pusher-v5                 # pictures that are easier to compress
    python scripts/bench_loader.py --memory                         # memory on a file of 20 GB

Windows of 8 frames at 224 px with their states and actions, drawn at random, from rendered episodes: of our reaching
task, whose floor and light are textured, or of one of Gymnasium's own MuJoCo tasks. All ways are measured in turn, in
several rounds; ratios are of the medians. Each reads the same content:

- robomimic's style: a gzip file, opened for each window and indexed frame by frame;
- plain h5py on our file: held open, one slice (or one index a frame) of each array;
- stable-worldmodel: its own writer's file, its own loader, two worker processes;
- ours: `WindowBatches` in this process with one and two threads, and with two worker processes; the last row is a file
  without compression, as the peer's is. The columns 'ours is' divide the fastest compressed way, and the uncompressed
  one, by each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np

from jepa_robot.data.dataset import open_trajectories
from jepa_robot.data.loader import LoaderConfig, WindowBatches
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.record import Recorder
from jepa_robot.data.streamed import SourceSpec
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.evaluation.collection import collect
from jepa_robot.evaluation.recipe import Recipe
from jepa_robot.planning.types import Observation
from jepa_robot.spec import Camera, Contract, Dim

FRAMES, SIZE, BATCH, STEPS = 8, 224, 16, 30
KEYS = ("obs/front", "obs/proprio", "actions")
UNCOMPRESSED = "ours uncompressed, 2 threads"

# Runs in the peer's environment: writes its file once, then answers every line on standard input with samples/s.
PEER = """
import sys, time, numpy as np, torch
from stable_worldmodel.data.formats.hdf5 import HDF5Dataset, HDF5Writer
npz, path, frames, batch, workers, batches = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
content = np.load(npz)
with HDF5Writer(path, mode="overwrite") as writer:
    for i in range(int(content["count"])):
        writer.write_episode({k: list(content[f"{k}_{i}"]) for k in ("pixels", "proprio", "action")})
data = HDF5Dataset(path=path, num_steps=frames)
def endless():
    while True:
        yield from torch.utils.data.DataLoader(
            data, batch_size=batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True)
stream = endless()
next(stream)
print("ready", flush=True)
for _ in sys.stdin:
    began = time.perf_counter()
    for _ in range(batches):
        next(stream)
    print(batch * batches / (time.perf_counter() - began), flush=True)
"""


def record_gymnasium(task: str, path: Path, episodes: int) -> None:
    """Random actions in a task of Gymnasium's, seen by its own camera."""
    import gymnasium as gym
    import jepa_envs.gl  # noqa: F401  (chooses what renders without a display)

    env = gym.make(task, render_mode="rgb_array", width=SIZE, height=SIZE)
    low, high = env.action_space.low, env.action_space.high
    contract = Contract(
        task=task,
        cameras=(Camera("front", SIZE, SIZE),),
        fps=float(env.metadata["render_fps"]),
        actions=tuple(Dim(f"action_{i}", "1", "actuator", float(a), float(b)) for i, (a, b) in enumerate(zip(low, high))),
        states=tuple(Dim(f"state_{i}", "1", "task", -1e3, 1e3) for i in range(env.observation_space.shape[0])),
    )
    env.action_space.seed(0)
    with Recorder(path, contract) as recorder:
        for episode in range(episodes):
            state, _ = env.reset(seed=episode)
            recorder.start(Observation(env.render(), state.astype(np.float32)))
            for t in range(STEPS):
                action = env.action_space.sample()
                state, *_ = env.step(action)
                recorder.step(action, Observation(env.render(), state.astype(np.float32), (t + 1) / contract.fps))
            recorder.end()
    env.close()


def gzip_copy(path: Path, out: Path) -> None:
    """The same episodes as robomimic writes pictures with gzip: chunks of h5py's choice."""
    with h5py.File(path, "r") as source, h5py.File(out, "w") as target:
        for name, demo in source["data"].items():
            for key in KEYS:
                target.create_dataset(f"data/{name}/{key}", data=demo[key][()], compression="gzip")


def uncompressed_copy(path: Path, out: Path) -> None:
    """The same episodes in our format without compression."""
    with TrajectoryReader(path) as reader:
        with TrajectoryWriter(out, reader.contract, reader.env_args, compression="none") as writer:
            for i in range(len(reader)):
                writer.append(reader.read(i))


def picker(episodes: int, seed: int = 0) -> Callable[[], tuple[str, int]]:
    """Random windows: the name of the episode and the first frame."""
    rng = np.random.default_rng(seed)
    return lambda: (f"data/demo_{rng.integers(episodes)}", int(rng.integers(STEPS - FRAMES + 1)))


def robomimic_style(path: Path, episodes: int) -> Callable[[], None]:
    pick = picker(episodes)

    def read() -> None:
        name, start = pick()
        with h5py.File(path, "r") as file:
            for key in KEYS:
                np.stack([file[f"{name}/{key}"][t] for t in range(start, start + FRAMES)])

    return read


def plain_h5py(path: Path, episodes: int, slices: bool) -> Callable[[], None]:
    pick, file = picker(episodes), h5py.File(path, "r")

    def read() -> None:
        name, start = pick()
        for key in KEYS:
            if slices:
                file[f"{name}/{key}"][start : start + FRAMES]
            else:
                np.stack([file[f"{name}/{key}"][t] for t in range(start, start + FRAMES)])

    return read


def samples_per_second(read: Callable[[], None], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        read()
    return count / (time.perf_counter() - began)


class Ours:
    """Batches of the library's loader."""

    def __init__(self, path: Path, workers: int = 0, threads: int = 1):
        data = open_trajectories([SourceSpec(path)], memory_gb=0.0, threads=threads)
        self.batches = WindowBatches(data, np.arange(len(data)), FRAMES, BATCH, config=LoaderConfig(workers=workers))
        next(self.batches)

    def __call__(self, count: int) -> float:
        began = time.perf_counter()
        for _ in itertools.islice(self.batches, count // BATCH):
            pass
        return count // BATCH * BATCH / (time.perf_counter() - began)


class Peer:
    """stable-worldmodel's loader in an environment of its own."""

    def __init__(self, python: str, path: Path, folder: Path, count: int):
        arrays: dict[str, np.ndarray] = {}
        with TrajectoryReader(path) as reader:
            for i in range(len(reader)):
                episode = reader.read(i)
                arrays |= {f"pixels_{i}": episode.frames[:-1], f"proprio_{i}": episode.states[:-1]}
                arrays[f"action_{i}"] = episode.actions
            np.savez(folder / "content.npz", count=len(reader), **arrays)
        numbers = [str(n) for n in (FRAMES, BATCH, 2, count // BATCH)]
        self.process = subprocess.Popen(
            [python, "-c", PEER, str(folder / "content.npz"), str(folder / "peer.h5"), *numbers],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self._line("ready")

    def _line(self, expected: str = "") -> str:
        for line in self.process.stdout:
            if not expected or line.strip() == expected:
                return line
        raise SystemExit("the peer's process ended; is stable-worldmodel installed there?")

    def __call__(self, count: int) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())


def speed(path: Path, folder: Path, episodes: int, rounds: int, count: int, peer_python: str | None) -> dict[str, float]:
    """Samples a second, median over the rounds."""
    gzipped = folder / "gzip.h5"
    gzip_copy(path, gzipped)
    plain = {
        "robomimic's style, gzip": robomimic_style(gzipped, episodes),
        "plain h5py, an index a frame": plain_h5py(path, episodes, slices=False),
        "plain h5py, slices": plain_h5py(path, episodes, slices=True),
    }
    ways: dict[str, Callable[[int], float]] = {
        name: (lambda read: lambda n: samples_per_second(read, n))(read) for name, read in plain.items()
    }
    if peer_python:
        ways["stable-worldmodel, 2 workers"] = Peer(peer_python, path, folder, count)
    plain_copy = folder / "uncompressed.h5"
    uncompressed_copy(path, plain_copy)
    ways |= {
        "ours, 1 thread": Ours(path),
        "ours, 2 threads": Ours(path, threads=2),
        "ours, 2 workers": Ours(path, workers=2),
        UNCOMPRESSED: Ours(plain_copy, threads=2),
    }
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            measured[name].append(way(count))
    return {name: float(np.median(values)) for name, values in measured.items()}


def memory(path: Path, folder: Path, gigabytes: float) -> dict[str, float]:
    """Largest memory in MB after 50 batches, of the file as it is and of one that holds its episodes many times.

    Episodes are repeated as hard links, so that the large file has the index and the reading of a large one.
    """
    large = folder / "large.h5"
    large.write_bytes(path.read_bytes())
    with h5py.File(large, "r+") as file:
        data = file["data"]
        names, frames = list(data), sum(len(demo["actions"]) for demo in data.values())
        repeats = int(gigabytes * 1e9 / path.stat().st_size)
        for i in range(len(names), repeats * len(names)):
            data[f"demo_{i}"] = data[names[i % len(names)]]
        print(f"{len(data)} episodes, {repeats * frames} frames", file=sys.stderr)
    found = {}
    for name, source in (("as recorded", path), (f"{gigabytes:g} GB", large)):
        run = subprocess.run(
            [sys.executable, __file__, "--batches-of", str(source)], stdout=subprocess.PIPE, text=True, check=True
        )
        found[name] = float(run.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="panda_reach", help="panda_reach, or a MuJoCo task that Gymnasium knows")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=320, help="windows a round and way")
    parser.add_argument("--peer-python", help="Python of an environment with stable-worldmodel")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--batches-of", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.batches_of:
        ours = Ours(args.batches_of)
        ours(50 * BATCH)
        # Not getrusage: its peak is that of the parent where that is higher.
        status = Path("/proc/self/status").read_text().split()
        print(int(status[status.index("VmHWM:") + 1]) / 1e3)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "episodes.h5"
        if args.task == "panda_reach":
            collect(path, Recipe(args.task, seed=0, steps=STEPS, mix={"explore": 1.0}, image_size=SIZE), args.episodes)
        else:
            record_gymnasium(args.task, path, args.episodes)
        if args.memory:
            print(json.dumps({"memory_mb": memory(path, folder, args.gigabytes)}, indent=2))
            return
        bytes_a_frame = path.stat().st_size / (args.episodes * (STEPS + 1))
        found = speed(path, folder, args.episodes, args.rounds, args.samples, args.peer_python)
    best = max(value for name, value in found.items() if name.startswith("ours, "))
    title = f"{args.task}, {FRAMES} frames, {SIZE} px, {bytes_a_frame / 1e3:.0f} kB a frame"
    print(f"{title:46s} windows/s   frames/s   ours is   uncompressed")
    for name, value in found.items():
        print(f"{name:46s} {value:9.0f}  {FRAMES * value:9.0f}   {best / value:5.1f} x    {found[UNCOMPRESSED] / value:5.1f} x")


if __name__ == "__main__":
    main()
