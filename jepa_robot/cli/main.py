"""Entry points ``jepa-robot`` and ``plan``: find the verb, run it, turn what went wrong into one line.

Exit codes: 0 success, 1 goal not reached, 2 wrong use or failure, 130 interrupted. A verb returns its exit code
(None is 0) and raises `jepa_robot.errors.JepaRobotError` for what a user can mend.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from jepa_robot.cli.lazy import LazyGroup, Verb
from jepa_robot.errors import JepaRobotError

VERBS = {
    "tasks": Verb("jepa_robot.cli.tasks", "List the tasks, or describe one."),
    "collect": Verb("jepa_robot.cli.collect", "Record trajectories of a task into an HDF5 file."),
    "pretrain": Verb("jepa_robot.cli.pretrain", "Train a video encoder on recorded frames."),
    "train": Verb("jepa_robot.cli.train", "Train the action-conditioned predictor on an encoder."),
    "data": Verb("jepa_robot.cli.data", "Look at, check and convert recorded trajectories of any known format."),
    "probe": Verb("jepa_robot.cli.probe", "Measure what a checkpoint's encoder keeps of robot and objects."),
    "curves": Verb("jepa_robot.cli.curves", "Draw the logs of training runs."),
    "goal": Verb("jepa_robot.cli.goal", "Draw a goal picture of a task, or check one."),
    "plan": Verb("jepa_robot.cli.plan", "Move the arm of a task until its camera sees the goal picture."),
    "evaluate": Verb("jepa_robot.cli.evaluate", "Measure a checkpoint's success rate beside its baselines."),
    "tune": Verb("jepa_robot.cli.tune", "Search settings that suit a task and a checkpoint."),
    "import": Verb("jepa_robot.cli.importing", "Make a checkpoint of weights that others have published."),
    "info": Verb("jepa_robot.cli.info", "Print what a checkpoint is made of and reaches, or what a preset takes."),
}

cli = click.version_option(package_name="jepa-robot")(
    LazyGroup("jepa-robot", VERBS, help="Plan robot actions from a goal picture with a latent world model.")
)


def main() -> None:
    """Console script ``jepa-robot``."""
    sys.exit(run(cli, "jepa-robot", sys.argv[1:]))


def plan_main() -> None:
    """Console script ``plan``: the same as ``jepa-robot plan``."""
    sys.exit(run("plan", "plan", sys.argv[1:]))


def run(command: click.Command | str, program: str, args: Sequence[str]) -> int:
    """Run a command (or the verb of that name); print at most one line of error on standard error.

    Returns:
        The exit code.
    """
    args, debug = _take_debug(args)
    try:
        previous = _interrupt_on_sigterm()
        try:
            if isinstance(command, str):
                command = VERBS[command].load()
            _complete_for_shell(command, program)
            with command.make_context(program, args, help_option_names=["-h", "--help"]) as context:
                result = command.invoke(context)
            sys.stdout.flush()
            return result if isinstance(result, int) else 0
        finally:
            signal.signal(signal.SIGTERM, previous)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", 130, debug)
    except BrokenPipeError:
        # The reader of our output went away (``jepa-robot info | head -1``): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if isinstance(error, SystemError) and isinstance(error.__cause__, KeyboardInterrupt):
            # Ctrl-C while h5py released its lock, which is compiled code that Python does not expect to be interrupted.
            return _report("interrupted", 130, debug)
        return _report(f"error: {_describe(error)}", 2, debug)


def _report(line: str, code: int, debug: bool) -> int:
    """Print the line (below the traceback of the exception being handled, if asked for); return the exit code."""
    if debug:
        traceback.print_exc()
    print(line, file=sys.stderr)
    return code


def _take_debug(args: Sequence[str]) -> tuple[list[str], bool]:
    """Take ``--debug`` out of the arguments before a ``--``, wherever it stands."""
    args = list(args)
    end = args.index("--") if "--" in args else len(args)
    options = [a for a in args[:end] if a != "--debug"]
    return options + args[end:], len(options) < end


def _interrupt_on_sigterm() -> signal.Handlers | None:
    """Treat SIGTERM like Ctrl-C in this process; forked workers die of it as usual."""
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise KeyboardInterrupt
        os._exit(128 + number)

    return signal.signal(signal.SIGTERM, handle)


def _complete_for_shell(command: click.Command, program: str) -> None:
    """Answer the shell's request for completions, as click's own main would."""
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    if variable in os.environ:
        from click.shell_completion import shell_complete

        raise click.exceptions.Exit(shell_complete(command, {}, program, variable, os.environ[variable]))


def _describe(error: Exception) -> str:
    """One line: what went wrong, and where it is known, the mend."""
    if isinstance(error, JepaRobotError):
        return str(error)
    if isinstance(error, click.ClickException):
        text = _one_line(error.format_message()).rstrip(".")
        context = getattr(error, "ctx", None)
        return f"{text}; see {context.command_path} --help" if context is not None else text
    full = "No space left on device" in str(error)  # HDF5 raises RuntimeError where a file is flushed
    if isinstance(error, (OSError, RuntimeError)) and (full or getattr(error, "errno", None) == errno.ENOSPC):
        filename = getattr(error, "filename", None)
        where = f"{filename}: " if filename else ""
        return f"{where}the disk is full; free some space or choose another output path"
    text = _one_line(str(error))
    # torch says so by a RuntimeError on CPUs, and by an OutOfMemoryError on GPUs.
    if isinstance(error, MemoryError) or "an't allocate memory" in text or "out of memory" in text:
        return "out of memory; choose smaller settings, such as fewer samples, smaller batches or pictures"
    return f"unexpected {type(error).__name__}{': ' if text else ''}{text}; run again with --debug for the traceback"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
