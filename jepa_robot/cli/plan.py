"""``plan``: move the arm of a task until its camera sees the goal picture."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jepa_robot.cli.options import SEED, Option, json_option, parse_numbers, planning_options
from jepa_robot.errors import ConfigError, GoalError
from jepa_robot.files import atomic_folder, atomic_path, require_free

if TYPE_CHECKING:
    from jepa_robot.cli.planning import Setup
    from jepa_robot.evaluation.episodes import EpisodeResult, Step


@click.command("plan")
@click.option(
    "--goal", "goals", required=True, multiple=True, type=click.Path(path_type=Path),
    help="What the camera shall see: a picture, a short video (.mp4), or latents (.safetensors). Several are gone to "
    "one after another.",
)
@click.option("--any", "any_of", is_flag=True, help="Any of several goals will do.")
@click.option(
    "--goal-steps", multiple=True, type=click.IntRange(min=0), metavar="N",
    help="Actions after which to go on to the next goal, arrived or not; one number for all, or one for each; 0: not "
    "before arrival.  [default: 0]",
)
@click.option(
    "--goal-state", multiple=True, metavar="NAME=NUMBER", callback=parse_numbers,
    help="Proprioception wanted in the end, in the contract's unit; can be repeated. Needs planner.energy.state.",
)
@click.option(
    "--video-frames", type=click.IntRange(1, 1000), default=4, show_default=True, help="Goals taken of a goal video."
)
@planning_options
@click.option("--seed", type=SEED, default=0, show_default=True, help="Start state and sampling.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for strip.png, recording.rrd and result.json, new or empty.  [default: outputs/plan/TIME]",
)
@json_option
def command(
    goals: tuple[Path, ...],
    any_of: bool,
    goal_steps: tuple[int, ...],
    goal_state: dict[str, float],
    video_frames: int,
    task: str | None,
    camera: str | None,
    task_options: dict[str, Option],
    variation: tuple[str, ...],
    seed: int,
    checkpoint: str | None,
    max_steps: int | None,
    planner: Path | None,
    out: Path | None,
    as_json: bool,
    overrides: tuple[str, ...],
) -> int:
    """Move the arm of a task until its camera sees the goal picture.

    With --goal grasp.png --goal lift.png --goal place.png it goes to one after another: to the next when the planner
    finds that it has arrived, or after --goal-steps actions.

    Settings from configs/plan.yaml can be given as KEY=VALUE, e.g. planner/optimizer=icem planner.optimizer.samples=256.
    The exit code is 0 when the goal was reached, 1 when not, 2 when something is wrong.

    A picture drawn by `jepa-robot goal` carries the true goal, by which success is judged; of several it is the last
    one. With any other goal true success is unknown, and the exit code is what the planner believes.

    With --variation the scene has the look that `jepa-robot goal` draws with the same --seed and --variation.
    """
    out = _default_folder() if out is None else out
    require_free(out)
    for path in goals:
        if not path.exists():
            raise GoalError("no such file", where=path, expected="a picture, a video (.mp4) or latents (.safetensors)")

    from jepa_robot.cli.planning import configuration, prepare  # loads torch and Hydra
    from jepa_robot.evaluation.episodes import Goal, run_episode
    from jepa_robot.evaluation.goal_files import load_goal
    from jepa_robot.evaluation.policies import PlannerPolicy
    from jepa_robot.evaluation.starts import start_and_goal
    from jepa_robot.planning.goals import state_goal
    from jepa_robot.reporting.recording import save_recording
    from jepa_robot.reporting.strip import save_strip

    config = configuration("plan", overrides, task, camera, task_options, variation, max_steps, planner)
    setup = prepare(config, checkpoint)
    if goal_state and not setup.settings.energy.state:
        raise ConfigError("is given, but weighs nothing", where="--goal-state", mend="add planner.energy.state=1")
    model = setup.planner.engine.model
    wanted = state_goal(model.contract.states, goal_state) if goal_state else None
    steps = [count or None for count in goal_steps] or [None]
    loaded = load_goal(goals, model, video_frames, steps, any_of, wanted)
    # The folder is made first: what cannot be written to is refused before the arm moves.
    with setup.task as opened, atomic_folder(out) as folder:
        for picture in loaded.pictures:
            picture.require(opened.contract)
        judged = loaded.picture.state if loaded.picture is not None else None
        if judged is not None:
            opened.check_state(judged, loaded.picture.source)
        start, _ = start_and_goal(opened.env, seed)
        result = run_episode(
            opened,
            PlannerPolicy(setup.planner, loaded.goal),
            start,
            Goal(loaded.image(opened.contract), judged),
            setup.max_steps,
            seed,
            on_step=_Progress(as_json),
        )
        facts = _facts(result, setup, seed, out)
        save_strip(folder / "strip.png", result)
        save_recording(folder / "recording.rrd", result, opened.contract)
        with atomic_path(folder / "result.json") as path:
            path.write_text(json.dumps(facts, indent=2) + "\n")
    click.echo(json.dumps(facts) if as_json else _report(result, facts))
    reached = result.arrived if result.success is None else result.success
    return 0 if reached else 1


def _default_folder() -> Path:
    """A folder of its own for every run, also for two in the same second."""
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = Path("outputs/plan") / name, 1
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{name}_{number}")
    return folder


class _Progress:
    """Prints every step, and every kind of warning once."""

    def __init__(self, to_stderr: bool):
        self.to_stderr = to_stderr
        self.warned: set[str] = set()

    def __call__(self, step: Step) -> None:
        parts = [f"step {step.index:3d}", f"energy {step.decision.energy:.5f}"]
        if step.distance_m is not None:
            parts.append(f"distance {100 * step.distance_m:5.1f} cm")
        parts.append(f"{1000 * step.decision.latency_s:4.0f} ms")
        click.echo("   ".join(parts) + ("   arrived" if step.decision.arrived else ""), err=self.to_stderr)
        for text in step.decision.warnings:
            kind = re.sub(r"[\d.e+-]+", "", text)  # whatever its numbers
            if kind not in self.warned:
                self.warned.add(kind)
                click.echo(f"warning: step {step.index}: {text}", err=True)


def _facts(result: EpisodeResult, setup: Setup, seed: int, out: Path) -> dict[str, Any]:
    from jepa_robot.evaluation.statistics import percentiles

    latency = percentiles([1000 * t for t in result.latencies_s], (50, 95))
    return {
        "task": setup.task.name,
        "variation": list(setup.variation),
        "success": result.success,
        "steps": result.actions,
        "distance_m": result.distance_m,
        "final_energy": result.final_energy if math.isfinite(result.final_energy) else None,
        "energy_correlation": result.energy_correlation,
        "latency_ms": latency,
        "seed": seed,
        "checkpoint": setup.checkpoint,
        "out_dir": str(out),
    }


def _report(result: EpisodeResult, facts: dict[str, Any]) -> str:
    ended = "the planner found that it had arrived" if result.arrived else "the steps were used up"
    if result.success is None:
        verdict = f"true success unknown (the picture carries no state): {ended}"
        distance = f"unknown (final energy {result.final_energy:.5f})"
    else:
        verdict = f"{'yes' if result.success else 'no'}: {ended}"
        distance = f"{100 * facts['distance_m']:.1f} cm"
    latency = facts["latency_ms"]
    return "\n".join(
        [
            "",
            f"success   {verdict}",
            f"steps     {facts['steps']}",
            f"distance  {distance}",
            f"latency   {latency['p50']:.0f} ms a step (median), {latency['p95']:.0f} ms (95th percentile)",
            f"results   {facts['out_dir']}",
        ]
    )
