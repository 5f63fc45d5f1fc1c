"""The common frame of all verbs: help, errors on one line, exit codes, --debug, interruption."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import jepa_robot.cli
from jepa_robot.cli import main
from jepa_robot.cli.main import VERBS, Verb, run
from jepa_robot.errors import DataError


@pytest.fixture
def verb(monkeypatch):
    """Make a verb ``trial`` out of a function, next to the real ones."""

    def make(body, *options):
        command = click.Command("trial", callback=body, params=list(options))
        module = type(sys)("trial")
        module.command = command
        monkeypatch.setitem(sys.modules, "trial", module)
        monkeypatch.setitem(VERBS, "trial", Verb("trial", "For tests."))

    return make


def raising(error):
    def body():
        raise error

    return body


def test_help_names_every_verb_and_imports_none():
    code = (
        "import sys; from jepa_robot.cli.main import cli, run; assert run(cli, 'jepa-robot', ['--help']) == 0; "
        "bad = {'torch', 'mujoco', 'hydra', 'rerun', 'h5py', 'numpy'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, verb in VERBS.items():
        assert f"{name} " in done.stdout and verb.help in " ".join(done.stdout.split())


def test_the_table_lists_exactly_the_modules_with_a_command():
    folder = Path(jepa_robot.cli.__file__).parent
    modules = [*folder.glob("[!_]*.py"), *(p.parent for p in folder.glob("*/__init__.py"))]
    names = {f"jepa_robot.cli.{p.stem}" for p in modules}
    commands = {n for n in names if isinstance(getattr(importlib.import_module(n), "command", None), click.Command)}
    assert commands == {verb.module for verb in VERBS.values()}


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_has_help(jepa_robot, name):
    result = jepa_robot(name, "--help")
    assert result.code == 0 and result.out.startswith(f"Usage: jepa-robot {name} ")
    assert result.err == ""


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ([], "no verb given"),
        (["plna"], "did you mean plan"),
        (["zzz"], "expected one of tasks, collect, "),
        (["goal", "--sed", "3"], "--seed"),
        (["goal", "--seed"], "requires an argument"),
        (["goal", "--seed", "x"], "'x' is not a valid integer"),
        (["--verson"], "--version"),
        (["goal", "extra"], "extra"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(jepa_robot, args, wanted):
    result = jepa_robot(*args)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("error: ") and wanted in result.err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("is empty", where="a.h5", mend="record it again"), "error: a.h5: is empty; record it again"),
        (OSError(errno.ENOSPC, "No space left on device", "a.h5"), "error: a.h5: the disk is full; free some space"),
        (OSError("Can't write data (errno = 28, error message = 'No space left on device')"), "the disk is full"),
        (RuntimeError("Can't flush (errno = 28, error message = 'No space left on device')"), "the disk is full"),
        (ValueError("two\nlines"), "error: unexpected ValueError: two lines; run again with --debug"),
        (KeyboardInterrupt(), "interrupted"),
        (click.Abort(), "interrupted"),
    ],
)
def test_errors_of_a_verb_are_one_line(jepa_robot, verb, error, line):
    verb(raising(error))
    result = jepa_robot("trial")
    assert result.code == (130 if line == "interrupted" else 2)
    assert result.out == "" and result.err.count("\n") == 1 and line in result.err


@pytest.mark.parametrize(("cause", "code"), [(KeyboardInterrupt(), 130), (None, 2)])
def test_an_interrupt_inside_compiled_code(jepa_robot, verb, cause, code):
    def body():
        raise SystemError("returned a result with an exception set") from cause

    verb(body)
    assert jepa_robot("trial").code == code


@pytest.mark.parametrize("args", [["--debug", "trial"], ["trial", "--debug"]])
def test_debug_anywhere_adds_the_traceback(jepa_robot, verb, args):
    verb(raising(ValueError("what")))
    result = jepa_robot(*args)
    assert result.code == 2
    assert result.err.startswith("Traceback") and result.err.splitlines()[-1].startswith("error: unexpected ValueError")


def test_debug_after_a_double_dash_is_an_argument(jepa_robot, verb):
    verb(lambda words: click.echo(words[0]), click.Argument(["words"], nargs=-1))
    assert jepa_robot("trial", "--", "--debug").out == "--debug\n"


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_verb_returns_its_exit_code(jepa_robot, verb, result, code):
    verb(lambda: result)
    assert jepa_robot("trial").code == code


def test_plan_alone_is_the_verb_plan(verb, capsys, monkeypatch):
    verb(lambda: click.echo("planned"))
    monkeypatch.setitem(VERBS, "plan", VERBS["trial"])
    monkeypatch.setattr(sys, "argv", ["plan"])
    with pytest.raises(SystemExit) as stop:
        main.plan_main()
    assert stop.value.code == 0 and capsys.readouterr().out == "planned\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_interrupt_with_130(number):
    code = (
        "import click, signal, sys; from jepa_robot.cli.main import run\n"
        "def body():\n    print('ready', flush=True)\n    signal.pause()\n"
        "sys.exit(run(click.Command('wait', callback=body), 'wait', []))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err == "interrupted\n"


def test_sigterm_kills_a_forked_worker_without_a_word(verb, jepa_robot):
    def body():
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, b"ready")
            signal.pause()
            os._exit(0)
        os.read(reader, 5)
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    verb(body)
    result = jepa_robot("trial")
    assert result.code == 128 + signal.SIGTERM and result.err == ""


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import click, sys; from jepa_robot.cli.main import run\n"
        "sys.exit(run(click.Command('talk', callback=lambda: [print('x' * 99) for _ in range(9999)]), 'talk', []))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(timeout=30) == 1


def test_sigterm_handling_ends_with_the_run():
    before = signal.getsignal(signal.SIGTERM)
    assert run(click.Command("nothing", callback=lambda: None), "nothing", []) == 0
    assert signal.getsignal(signal.SIGTERM) is before
