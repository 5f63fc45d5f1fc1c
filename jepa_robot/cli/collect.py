"""``jepa-robot collect``: record trajectories of a task into an HDF5 file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
from tqdm import tqdm

from jepa_robot.cli.options import SEED, json_option
from jepa_robot.errors import ConfigError

# No expert: once it has arrived it stands still, and most of its frames show no action's effect.
DEFAULT_MIX = "noisy=0.3,explore=0.7"
# A plain line whenever another tenth of the episodes is there.
_PLAIN_LINES = 10


@click.command("collect")
@click.option("--task", required=True, help="Task to record, e.g. panda_reach.")
@click.option("--episodes", type=click.IntRange(min=1), required=True, help="Episodes that the file shall hold.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="HDF5 file.")
@click.option("--steps", type=click.IntRange(min=1), default=30, show_default=True, help="Actions in an episode.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of all episodes.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that simulate.")
@click.option("--mix", default=DEFAULT_MIX, show_default=True, help="Share of each kind of demonstrator.")
@click.option("--image-size", type=click.IntRange(min=16), help="Pixels; the task's own unless given.")
@click.option(
    "--variation", help="Draw the scene's look for each episode: all, or some of light,colour,camera,distractors."
)
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
    workers: int,
    mix: str,
    image_size: int | None,
    variation: str | None,
    compression: str,
    as_json: bool,
) -> None:
    """Record trajectories of a task into an HDF5 file.

    A file that exists is continued: run the same command again after an interruption, or with more
    episodes. The result does not depend on the number of workers.
    """
    from jepa_robot.evaluation.collection import collect
    from jepa_robot.evaluation.recipe import Recipe

    recipe = Recipe(task, seed, steps, parse_mix(mix), image_size, parse_variation(variation))
    with tqdm(total=episodes, unit="episode", disable=not sys.stderr.isatty()) as bar:
        summary = collect(output, recipe, episodes, workers, compression, _reporter(bar))
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


def parse_variation(text: str | None) -> tuple[str, ...]:
    """``"light,camera"`` or ``"all"`` as factors.

    Raises:
        ConfigError: a factor is unknown.
    """
    if text is None:
        return ()
    from jepa_envs.variation import parse

    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(str(error), where="--variation") from error


def _reporter(bar: tqdm) -> Callable[[int, int], None]:
    """Move the bar, or print plain lines where it is disabled (no terminal)."""

    def report(done: int, episodes: int) -> None:
        if not bar.disable:
            bar.update(done - bar.n)
        elif done * _PLAIN_LINES // episodes > (done - 1) * _PLAIN_LINES // episodes:
            click.echo(f"{done}/{episodes} episodes", err=True)

    return report
