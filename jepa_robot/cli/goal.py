"""``jepa-robot goal``: draw a goal picture."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jepa_robot.cli.options import SEED, json_option
from jepa_robot.errors import OutputError
from jepa_robot.evaluation.goal_picture import GoalPicture, start_and_goal


@click.command("goal")
@click.option("--task", default="panda_reach", show_default=True, help="Task to draw a goal of.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which of its goals to draw.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to write.  [default: TASK_seedSEED.png]",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def command(task: str, seed: int, output: Path | None, force: bool, as_json: bool) -> None:
    """Draw a goal picture of a task: what its camera sees once the goal is reached.

    `plan --seed N` and `jepa-robot evaluate` sample the same goal from the same seed. The PNG also carries task,
    camera and the true state, which the planner never sees: they serve to report true success.
    """
    output = output or Path(f"{task}_seed{seed}.png")
    if output.exists() and not force:
        raise OutputError("exists already", where=output, mend="choose another name, or replace it with --force")

    from jepa_robot.evaluation.tasks import Task  # after the checks above: it loads the simulator

    with Task(task) as opened:
        _, goal = start_and_goal(opened.env, seed)
        image = opened.env.render_goal(goal)
        camera = opened.contract.camera.name
    GoalPicture(image, task, camera, goal).save(output)

    height, width = image.shape[:2]
    if as_json:
        facts = {"path": str(output), "task": task, "camera": camera, "seed": seed, "width": width, "height": height}
        click.echo(json.dumps(facts))
    else:
        click.echo(f"{output}: goal {seed} of {task}, {width}x{height} pixels of camera {camera}")
        click.echo(f"plan --goal {output}")
