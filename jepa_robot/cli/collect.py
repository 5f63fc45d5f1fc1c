"""``jepa-robot collect``: record trajectories of a task into an HDF5 file."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from jepa_robot.cli.options import SEED, STEPS, Option, json_option, scene_options
from jepa_robot.errors import ConfigError

if TYPE_CHECKING:
    from jepa_robot.evaluation.ray_pool import RayWorkers

# No expert: once it has arrived it stands still, and most of its frames show no action's effect.
DEFAULT_MIX = "noisy=0.3,explore=0.7"
# A plain line whenever another tenth of the episodes is there.
_PLAIN_LINES = 10
# Share of the actions that move the object, below which a model hardly learns what becomes of it.
FEW_MOVES = 0.05
# Of processes on one machine: each holds a simulator.
MAX_WORKERS = 1000


@click.command("collect")
@click.option("--task", required=True, help="Task to record, e.g. panda_reach, or MODULE:ID of one of yours.")
@click.option("--episodes", type=click.IntRange(1, 1_000_000), required=True, help="Episodes that the file shall hold.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="HDF5 file.")
@click.option("--steps", type=STEPS, default=30, show_default=True, help="Actions in an episode.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of all episodes.")
@click.option(
    "--workers",
    metavar="N|ray[:N]",
    default="1",
    show_default=True,
    help="Processes that simulate and write: N on this machine, or on a Ray cluster (RAY_ADDRESS), one a CPU or N.",
)
@click.option("--mix", default=DEFAULT_MIX, show_default=True, help="Share of each kind of demonstrator.")
@click.option("--image-size", type=click.IntRange(min=16), help="Pixels; the task's own unless given.")
@scene_options()
@click.option(
    "--compression",
    type=click.Choice(["blosc", "gzip", "none"]),
    default="blosc",
    show_default=True,
    help="Of the pictures; gzip is what every HDF5 reader understands.",
)
@json_option
def command(
    task: str,
    episodes: int,
    output: Path,
    steps: int,
    seed: int,
    workers: str,
    mix: str,
    image_size: int | None,
    camera: str | None,
    task_options: dict[str, Option],
    variation: tuple[str, ...],
    compression: str,
    as_json: bool,
) -> None:
    """Record trajectories of a task into an HDF5 file.

    A file that exists is continued: run the same command again after an interruption, or with more
    episodes. The result does not depend on the number of workers, which keep what they record in the
    folder .OUTPUT.shards until it is in the file; on a cluster all machines have to see it.
    """
    from jepa_robot.evaluation.collection import collect
    from jepa_robot.evaluation.recipe import Recipe

    recipe = Recipe(task, seed, steps, parse_mix(mix), image_size, variation, camera, task_options)
    with contextlib.closing(_Progress(steps + 1)) as progress:
        summary = collect(output, recipe, episodes, parse_workers(workers), compression, progress)
    if summary.object_moves is not None and summary.object_moves < FEW_MOVES:
        click.echo(
            f"warning: the object moves in {100 * summary.object_moves:.1f}% of the steps; a model hardly learns what "
            f"becomes of it; record longer episodes (--steps), or more of the demonstrators that touch it (--mix)",
            err=True,
        )
    if as_json:
        result = {
            "path": str(summary.path),
            "task": task,
            "seed": seed,
            "episodes": summary.episodes,
            "frames": summary.frames,
            "new_episodes": summary.new_episodes,
            "new_frames": summary.new_frames,
            "seconds": round(summary.seconds, 3),
            "frames_per_second": round(summary.frames_per_second, 1),
            "bytes": summary.size,
            "bytes_per_frame": round(summary.bytes_per_frame, 1),
            "waiting": summary.waiting,
            "object_moves": None if summary.object_moves is None else round(summary.object_moves, 4),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"{summary.path}: {summary.episodes} episodes, {summary.frames} frames")
    if summary.new_episodes:
        click.echo(
            f"recorded {summary.new_episodes} episodes in {summary.seconds:.1f} s, "
            f"{summary.frames_per_second:.0f} frames/s"
        )
    else:
        click.echo("nothing to record: the file holds as many already")
    click.echo(f"{summary.size / 1e6:.1f} MB, {summary.bytes_per_frame:.0f} bytes/frame")
    if summary.object_moves is not None:
        click.echo(f"the object moves in {100 * summary.object_moves:.0f}% of the steps")
    if summary.waiting:
        click.echo(f"{summary.waiting} later episodes wait in shards: run again with more --episodes to have them")


def parse_mix(text: str) -> dict[str, float]:
    """``"noisy=0.3,explore=0.7"`` as shares.

    Raises:
        ConfigError: it is not of that form.
    """
    mix: dict[str, float] = {}
    for part in text.split(","):
        kind, _, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not kind.strip() or kind.strip() in mix or not value >= 0:
            raise ConfigError(f"{part!r} is no share", where="--mix", expected=f"KIND=SHARE,... such as {DEFAULT_MIX}")
        mix[kind.strip()] = value
    return mix


def parse_workers(text: str) -> int | RayWorkers:
    """``"4"``, ``"ray"`` or ``"ray:4"``.

    Raises:
        ConfigError: it is none of that form.
    """
    from jepa_robot.evaluation.ray_pool import RayWorkers

    if match := re.fullmatch("ray(?::([1-9][0-9]*))?", text):
        return RayWorkers(int(match[1]) if match[1] else None)
    if re.fullmatch("[1-9][0-9]*", text) and int(text) <= MAX_WORKERS:
        return int(text)
    raise ConfigError(f"is {text!r}", where="--workers", expected=f"a number from 1 to {MAX_WORKERS}, ray, or ray:N")


class _Progress:
    """A bar of frames on a terminal, plain lines elsewhere; called with (episodes done, episodes wanted).

    Args:
        frames: of an episode.
    """

    def __init__(self, frames: int):
        self._frames = frames
        self._bar: tqdm | None = None

    def __call__(self, done: int, episodes: int) -> None:
        if self._bar is None:  # what was there before counts neither for the speed nor for the time that is left
            self._first, self._began = done, time.monotonic()
            self._bar = tqdm(
                total=episodes * self._frames,
                initial=done * self._frames,
                unit="frame",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            )
        elif not self._bar.disable:
            self._bar.update(done * self._frames - self._bar.n)
        elif done * _PLAIN_LINES // episodes > (done - 1) * _PLAIN_LINES // episodes:
            speed = (done - self._first) * self._frames / (time.monotonic() - self._began)
            left = tqdm.format_interval((episodes - done) * self._frames / speed)
            click.echo(f"{done}/{episodes} episodes, {speed:.0f} frames/s, {left} left", err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
