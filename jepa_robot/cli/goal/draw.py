"""Where a goal picture comes from, and writing it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from jepa_robot.cli.goal.check import DEFAULT_TASK
from jepa_robot.cli.options import Option
from jepa_robot.errors import ConfigError, GoalError, OutputError
from jepa_robot.evaluation.goal_picture import GoalPicture, require_png_name
from jepa_robot.evaluation.starts import start_and_goal

WAY_STEPS = 100  # of an expert, in a task that does not say how long an episode may be


@dataclass(frozen=True)
class Request:
    """What was asked for; None for what was not."""

    task: str | None
    camera: str | None
    task_options: dict[str, Option]
    variation: tuple[str, ...]
    seed: int | None
    state_file: Path | None
    data: Path | None
    episode: str | None
    frame: int | None
    format: str | None
    interactive: bool
    subgoals: int
    image_size: int | None


@dataclass(frozen=True)
class Drawn:
    """A goal picture.

    Attributes:
        facts: where it comes from, for ``--json``.
        story: the same in words.
        name: a default name for its file, without ending.
        notes: what else there is to know, one line each.
        way: sub-goals, to be gone to before it.
    """

    picture: GoalPicture
    facts: dict[str, Any]
    story: str
    name: str
    notes: tuple[str, ...] = ()
    way: tuple[GoalPicture, ...] = ()


def draw(request: Request, output: Path | None, save_state: Path | None, force: bool, as_json: bool) -> int:
    """Make the picture, write it, and say so.

    Returns:
        The exit code: 130 where a person was to drive to the goal, and closed the window.

    Raises:
        JepaRobotError: what is asked for is contradictory, impossible, or cannot be written.
    """
    _require_one_source(request)
    # What cannot be right in the end is refused before anybody drives.
    if output is not None:
        require_png_name(output)
    for path in (output, save_state, *_of_way(output, request.subgoals)):
        if path is not None:
            _require_absent(path, force)
    if save_state is not None and save_state in (output, *_of_way(output, request.subgoals)):
        raise ConfigError("is the picture's name, too", where="--save-state", expected="a file of its own")

    drawn = _from_recording(request) if request.data is not None else _from_simulator(request, output, force, as_json)
    if drawn is None:
        click.echo("cancelled, nothing was written", err=True)
        return 130

    picture = drawn.picture
    if output is None:
        output = Path(f"{drawn.name}.png")
        _require_absent(output, force)
    way = _of_way(output, len(drawn.way))
    for path in way:
        _require_absent(path, force)
    if save_state is not None and picture.state is None:
        raise GoalError("has no state to save", where=drawn.story, mend="leave --save-state out; " + drawn.notes[0])
    if save_state is None:
        picture.save(output)
    else:
        from jepa_robot.evaluation.goal_state import saving_state

        with saving_state(picture.state, save_state):
            picture.save(output)
    for path, subgoal in zip(way, drawn.way):
        subgoal.save(path)
    _report(request, drawn, output, way, save_state, as_json)
    return 0


def _of_way(output: Path | None, count: int) -> list[Path]:
    """Names for sub-goals of the picture ``output``."""
    return [] if output is None else [output.with_name(f"{output.stem}_{i + 1}{output.suffix}") for i in range(count)]


def _require_one_source(request: Request) -> None:
    """
    Raises:
        ConfigError: two sources of a goal are given, or options without the one that they belong to.
    """
    sources = {"--seed": request.seed, "--state": request.state_file, "--data": request.data}
    given = [name for name, value in sources.items() if value is not None]
    if request.interactive and request.data is not None:
        given = ["--data", "--interactive"]
    if len(given) > 1:
        raise ConfigError(
            f"are given together: {' and '.join(given)}", where="sources of a goal",
            expected="one of --seed, --state and --data (--interactive begins at --seed or --state)",
        )
    if request.subgoals and (given not in ([], ["--seed"]) or request.interactive):
        where = "--interactive" if request.interactive else given[0]
        raise ConfigError(
            f"is given with {where}", where="--subgoals", expected="--seed, from whose start there is a way"
        )
    if request.data is None:
        for name in ("episode", "frame", "format"):
            if getattr(request, name) is not None:
                raise ConfigError("is given without --data", where=f"--{name}", mend="add --data DATA, or leave it out")
    elif request.episode is None:
        raise ConfigError("is missing", where="--episode", expected="an episode of --data: its number from 0, or name")
    says = {  # what is said by a source itself
        "--data": {"--task": request.task, "--task-option": request.task_options, "--variation": request.variation},
        "--state": {"--variation": request.variation},
    }
    for source in given:
        for option, value in says.get(source, {}).items():
            if value not in (None, {}, ()):
                raise ConfigError(f"is given with {source}", where=option, mend="leave it out: that says it itself")


def _require_absent(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise OutputError("exists already", where=path, mend="choose another name, or replace it with --force")


def _from_recording(request: Request) -> Drawn:
    from jepa_robot.cli.data.progress import opening
    from jepa_robot.evaluation.replay import recorded_goal

    frame = -1 if request.frame is None else request.frame
    with opening() as report:
        goal = recorded_goal(
            request.data, request.episode, frame, request.format, request.image_size, request.camera, report
        )
    why = goal.why_no_state
    facts = {"data": str(request.data), "episode": goal.episode, "frame": goal.frame}
    facts |= {"camera": goal.camera, "why_no_state": why}
    notes = () if why is None else (f"it carries no state, so true success will be unknown: {why}",)
    story = f"frame {goal.frame} of {goal.episode} of {request.data}"
    name = f"{request.data.stem}_{goal.episode}_frame{goal.frame}"
    return Drawn(goal.picture, facts, story, _file_name(name), notes)


def _from_simulator(request: Request, output: Path | None, force: bool, as_json: bool) -> Drawn | None:
    """None where a person was to drive to the goal, and closed the window."""
    from jepa_robot.evaluation.episodes import Goal
    from jepa_robot.evaluation.goal_state import factors_of, read_state, require_reachable  # loads the simulator
    from jepa_robot.evaluation.interactive import drive
    from jepa_robot.evaluation.tasks import Task, registered
    from jepa_robot.evaluation.way import expert_way

    state, found = (None, None) if request.state_file is None else read_state(request.state_file)
    asked = request.task or found or (DEFAULT_TASK if state is None else None)
    if asked is None:
        raise GoalError("does not say of which task it is", where=request.state_file, mend="name it: --task")
    name = _default_name(request, asked)
    if output is None:
        _require_absent(Path(f"{name}.png"), force)
    variation = request.variation or factors_of(state or {})
    with Task(asked, request.image_size, variation, request.camera, request.task_options) as task:
        facts, story = _described(request, task.name)
        if state is None:
            start, goal = start_and_goal(task.env, request.seed or 0)
            state = start if request.interactive else goal
        elif found not in (None, task.name):
            where = request.state_file
            raise GoalError(f"is a state of task {found!r}", where=where, expected=f"{task.name!r}, as --task says")
        else:
            doubts = require_reachable(task, state, str(request.state_file))
            for doubt in doubts:
                click.echo(f"warning: {request.state_file}: {doubt}", err=True)
            facts["warnings"] = list(doubts)
        if request.interactive:
            state = drive(task, state, tell=lambda line: click.echo(line, err=as_json))
            if state is None:
                return None
        camera = task.contract.camera.name
        picture = GoalPicture(task.env.render_goal(state), task.name, camera, state)
        way = []
        if request.subgoals:
            steps = registered(asked).max_episode_steps or WAY_STEPS
            way = expert_way(task, start, Goal(picture.image, state), request.subgoals, steps, request.seed or 0)
    pictures = tuple(GoalPicture(moment.image, task.name, camera, moment.state) for moment in way)
    return Drawn(picture, facts | {"camera": camera}, story, name, way=pictures)


def _default_name(request: Request, task: str) -> str:
    """Of a picture from the simulator, without ending."""
    source = f"seed{request.seed or 0}" if request.state_file is None else request.state_file.stem
    return _file_name(f"{task}_{source}" + ("_interactive" if request.interactive else ""))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)


def _described(request: Request, task: str) -> tuple[dict[str, Any], str]:
    """Facts and story of a goal from the simulator."""
    if request.state_file is None:
        facts, story = {"seed": request.seed or 0}, f"goal {request.seed or 0} of {task}"
    else:
        facts, story = {"state_file": str(request.state_file)}, f"{request.state_file}, a state of {task}"
    if request.interactive:
        facts, story = facts | {"interactive": True}, f"a goal of {task}, driven to by hand"
    return facts, story


def _command(request: Request, output: Path, way: list[Path], task: str | None) -> str:
    """The command that plans towards the picture."""
    parts = ["plan"]
    for path in (*way, output):
        parts += ["--goal", str(path)]
    if (named := request.task or task) not in (None, DEFAULT_TASK):
        parts += ["--task", named]
    for name, value in request.task_options.items():
        parts += ["--task-option", f"{name}={json.dumps(value) if not isinstance(value, str) else value}"]
    if request.camera is not None and task is not None:
        parts += ["--camera", request.camera]
    if request.variation:
        parts += ["--variation", ",".join(request.variation)]
    if request.variation or way:  # the same look and start are those of the same seed
        parts += ["--seed", str(request.seed or 0)]
    if request.image_size is not None and task is not None:
        parts.append(f"task.image_size={request.image_size}")
    return shlex.join(parts)


def _report(
    request: Request, drawn: Drawn, output: Path, way: list[Path], save_state: Path | None, as_json: bool
) -> None:
    height, width = drawn.picture.image.shape[:2]
    has_state = drawn.picture.state is not None
    if as_json:
        size = {"width": width, "height": height, "has_state": has_state}
        before = {"subgoals": [str(path) for path in way]} if way else {}
        click.echo(json.dumps({"path": str(output), "task": drawn.picture.task} | drawn.facts | size | before))
        return
    click.echo(f"{output}: {drawn.story}, {width}x{height} pixels of camera {drawn.facts['camera']}")
    for path in way:
        click.echo(f"{path}: on the expert's way there")
    for note in drawn.notes:
        click.echo(note)
    if save_state is not None:
        click.echo(f"{save_state}: its state")
    click.echo(_command(request, output, way, drawn.picture.task))
