"""``plan``: move the arm of a task until its camera sees the goal picture."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jepa_robot.cli.options import SEED, Option, json_option, planning_options
from jepa_robot.files import atomic_folder, atomic_path, require_free

if TYPE_CHECKING:
    from jepa_robot.cli.planning import Setup
    from jepa_robot.evaluation.episodes import EpisodeResult, Step


@click.command("plan")
@click.option(
    "--goal", "goal_path", required=True, type=click.Path(path_type=Path), help="Picture of what the camera shall see."
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
    goal_path: Path,
    task: str | None,
    camera: str | None,
    task_options: dict[str, Option],
    variation: tuple[str, ...],
    seed: int,
    checkpoint: str | None,
    max_steps: int | None,
    out: Path | None,
    as_json: bool,
    overrides: tuple[str, ...],
) -> int:
    """Move the arm of a task until its camera sees the goal picture.

    Settings from configs/plan.yaml can be given as KEY=VALUE, e.g. planner.optimizer.samples=256. The exit code is 0 when the
    goal was reached, 1 when not, 2 when something is wrong.

    A picture drawn by `jepa-robot goal` carries the true goal, by which success is judged. With any other picture
    true success is unknown, and the exit code is what the planner believes.

    With --variation the scene has the look that `jepa-robot goal` draws with the same --seed and --variation.
    """
    out = _default_folder() if out is None else out
    require_free(out)
    from jepa_robot.evaluation.goal_picture import GoalPicture

    picture = GoalPicture.load(goal_path)

    from jepa_robot.cli.planning import configuration, prepare  # loads torch and Hydra
    from jepa_robot.evaluation.episodes import Goal, run_episode
    from jepa_robot.evaluation.policies import PlannerPolicy
    from jepa_robot.evaluation.starts import start_and_goal
    from jepa_robot.reporting.recording import save_recording
    from jepa_robot.reporting.strip import save_strip

    setup = prepare(configuration("plan", overrides, task, camera, task_options, variation, max_steps), checkpoint)
    # The folder is made first: what cannot be written to is refused before the arm moves.
    with setup.task as opened, atomic_folder(out) as folder:
        picture.require(opened.contract)
        if picture.state is not None:
            opened.check_state(picture.state, str(goal_path))
        start, _ = start_and_goal(opened.env, seed)
        result = run_episode(
            opened,
            PlannerPolicy(setup.planner),
            start,
            Goal(picture.image, picture.state),
            setup.max_steps,
            seed,
            on_step=lambda step: click.echo(_progress(step), err=as_json),
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


def _progress(step: Step) -> str:
    parts = [f"step {step.index:3d}", f"energy {step.decision.energy:.5f}"]
    if step.distance_m is not None:
        parts.append(f"distance {100 * step.distance_m:5.1f} cm")
    parts.append(f"{1000 * step.decision.latency_s:4.0f} ms")
    return "   ".join(parts) + ("   arrived" if step.decision.arrived else "")


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
