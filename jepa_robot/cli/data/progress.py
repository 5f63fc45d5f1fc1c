"""How far long work over episodes is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from tqdm import tqdm

from jepa_robot.data.source import Source, SourceOptions

# A plain line whenever another tenth of the episodes is done.
_PLAIN_LINES = 10
# Opening most sources takes less than this, and then says nothing.
_OPENING_SECONDS = 2.0


@contextlib.contextmanager
def progress(quiet: bool = False, task: str = "", delay: float = 0.0) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with (episodes done, all of them) after each.

    Args:
        quiet: no plain lines.
        task: what is being done, where a verb does several things.
        delay: seconds that have to pass before anything is shown; what is shown late also vanishes from a terminal.
    """
    began, hidden = time.monotonic(), not sys.stderr.isatty()
    with tqdm(unit="episode", disable=hidden, desc=task or None, delay=delay, leave=not delay) as bar:

        def report(done: int, total: int) -> None:
            if not bar.disable:
                bar.total = total
                bar.update(done - bar.n)
                if delay and done == total and time.monotonic() - began >= delay:
                    bar.clear()
            elif not quiet and done * _PLAIN_LINES // total > (done - 1) * _PLAIN_LINES // total:
                if time.monotonic() - began >= delay:
                    click.echo(f"{task} {done}/{total} episodes".lstrip(), err=True)

        yield report


@contextlib.contextmanager
def opening(task: str = "looking at") -> Iterator[Callable[[int, int], None]]:
    """`progress` of opening a source: most formats open at once, others look at every episode first."""
    with progress(task=task, delay=_OPENING_SECONDS) as report:
        yield report


@contextlib.contextmanager
def opened(path: Path, format: str | None, options: SourceOptions) -> Iterator[Source]:
    """A source, whose opening is reported and which is closed at the end.

    Raises:
        DataError: see `open_source`.
    """
    from jepa_robot.data.sources import open_source

    with opening() as report:
        source = open_source(path, format, options, report)
    with source:
        yield source
