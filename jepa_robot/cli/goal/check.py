"""``jepa-robot goal check``: whether a picture can be a goal for a model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from jepa_robot.cli.lazy import EPILOG
from jepa_robot.cli.options import checkpoint_option, json_option
from jepa_robot.cli.report import table
from jepa_robot.errors import ContractError, GoalError, OutputError
from jepa_robot.evaluation.goal_picture import GoalPicture, require_png_name

DEFAULT_TASK = "panda_reach"


@click.command("check", epilog=EPILOG)
@click.argument("picture", type=click.Path(path_type=Path))
@checkpoint_option
@click.option("--task", help="Task that it shall be a goal of.  [default: the picture's, else panda_reach]")
@click.option(
    "--fit",
    "fitted",
    metavar="FILE.png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the picture's middle square, scaled to the model's size, and check that.",
)
@json_option
def check(picture: Path, checkpoint: str | None, task: str | None, fitted: Path | None, as_json: bool) -> int:
    """Say whether PICTURE can be a goal for a model.

    Compared are size, task and camera (where the picture tells them), brightness, colours and contrast with the means
    of the training data, and how unlike those its latents are (novelty), by which the planner refuses goals.

    The exit code is 0 for a picture that can be used, 1 for one that cannot, and 2 where that cannot be told.
    """
    if fitted is not None:
        require_png_name(fitted)
        if fitted.exists():
            raise OutputError("exists already", where=fitted, mend="choose another name for --fit")
    try:
        picture.open("rb").close()
    except OSError as error:
        raise GoalError(f"cannot be read ({error.strerror})", where=picture, expected="a picture") from error

    from jepa_robot.cli.checkpoints import checkpoint_for
    from jepa_robot.evaluation.goal_check import check_goal, fit, unreadable  # loads torch
    from jepa_robot.models import load
    from jepa_robot.planning import build_planner

    try:
        loaded, wrong = GoalPicture.load(picture), None
    except GoalError as error:
        loaded, wrong = None, error
    wanted = task or (loaded and loaded.task) or DEFAULT_TASK
    name = checkpoint_for(wanted, checkpoint)
    planner = build_planner(load(name))
    if task is not None and task != planner.contract.task:
        raise ContractError(
            f"was trained for task {planner.contract.task!r}", where=f"checkpoint {name}", expected=repr(task),
            mend="choose another checkpoint or task",
        )
    if loaded is None:
        verdict = unreadable(wrong)
    else:
        if fitted is not None:
            loaded = fit(loaded, planner.contract.camera)
            loaded.save(fitted)
        verdict = check_goal(loaded, planner)
    if as_json:
        facts = {
            "path": str(picture),
            "fitted": None if fitted is None or loaded is None else str(fitted),
            "checkpoint": name,
            "usable": verdict.usable,
            "novelty": verdict.novelty,
            "max_novelty": planner.max_novelty,
            "checks": [dataclasses.asdict(one) for one in verdict.checks],
            "hints": list(verdict.hints),
        }
        click.echo(json.dumps(facts))
    else:
        words = {True: "yes", False: "no", None: "-"}
        rows = [(one.name, one.value, one.expected, words[one.ok]) for one in verdict.checks]
        click.echo("\n".join(table([("check", "value", "expected", "ok"), *rows])))
        click.echo("")
        for hint in verdict.hints:
            click.echo(f"hint: {hint}")
        what = "can be a goal" if verdict.usable else "cannot be a goal"
        click.echo(f"{fitted if fitted and loaded else picture} {what} for {name}")
    return 0 if verdict.usable else 1
