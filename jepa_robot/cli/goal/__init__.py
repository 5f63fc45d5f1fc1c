"""``jepa-robot goal``: draw a goal picture, or check one."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from jepa_robot.cli.goal.check import check
from jepa_robot.cli.options import SEED, Option, json_option, scene_options


@click.group("goal", invoke_without_command=True, subcommand_metavar="[check PICTURE]")
@click.option(
    "--task", help="Task to draw a goal of, or MODULE:ID of one of yours.  [default: panda_reach; with --state, its]"
)
@scene_options("Camera to draw with, or picture stream of DATA.  [default: the first]")
@click.option("--seed", type=SEED, help="Which of the task's goals to draw.  [default: 0]")
@click.option(
    "--state",
    "state_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw this state: JSON as env.state() gives it, or a picture that was drawn here.",
)
@click.option(
    "--data",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Take a frame of these recorded trajectories, of any known format.",
)
@click.option("--episode", metavar="N|NAME", help="Of DATA: its number from 0, or its name.")
@click.option("--frame", type=int, help="Of that episode, from 0; from its end where negative.  [default: -1]")
@click.option("--format", help="Format of DATA; found by looking unless given.")
@click.option(
    "--interactive",
    is_flag=True,
    help="Drive there by keys in a window, from the start of --seed or from --state.",
)
@click.option(
    "--subgoals", type=click.IntRange(0, 100), default=0,
    help="Draw so many pictures of the task's expert on its way there, too, from the start of --seed: OUTPUT_1.png, ...",
)
@click.option("--image-size", type=click.IntRange(min=16), help="Pixels; the task's or the recording's unless given.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to write.  [default: named after task and source]",
)
@click.option("--save-state", type=click.Path(dir_okay=False, path_type=Path), help="JSON to write the state to.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    task: str | None,
    camera: str | None,
    task_options: dict[str, Option],
    variation: tuple[str, ...],
    seed: int | None,
    state_file: Path | None,
    data: Path | None,
    episode: str | None,
    frame: int | None,
    format: str | None,
    interactive: bool,
    subgoals: int,
    image_size: int | None,
    output: Path | None,
    save_state: Path | None,
    force: bool,
    as_json: bool,
) -> int | None:
    """Draw a goal picture of a task: what its camera sees once the goal is reached.

    The goal is one that the task draws from a seed, a state from a file, a frame of a recorded episode, or where a
    person drives to. `plan --seed N` and `jepa-robot evaluate` sample the same goal from the same seed,
    and the same look from the same --variation.

    The PNG also carries task, camera and the true state, which the planner never sees: they serve to report true
    success. Recordings hold no states: the episode is done again in the simulator, and where that does not give the
    recorded frames, or cannot be done, the PNG is a plain picture.

    Where an object has to be moved, --subgoals draws what is between: `plan` goes to one picture after another.

    `jepa-robot goal check PICTURE` says whether a picture can be a goal for a model.
    """
    if context.invoked_subcommand is not None:
        for parameter in context.command.params:
            if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    f"{parameter.opts[-1]} before check is for drawing; options of check come after it", context
                )
        return None
    from jepa_robot.cli.goal.draw import Request, draw

    request = Request(
        task, camera, task_options, variation, seed, state_file, data, episode, frame, format, interactive, subgoals,
        image_size,
    )
    return draw(request, output, save_state, force, as_json)


command.add_command(check)
