"""How far long work over episodes is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click
from tqdm import tqdm

# A plain line whenever another tenth of the episodes is done.
_PLAIN_LINES = 10


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with (episodes done, all of them) after each; ``quiet``: no plain lines."""
    with tqdm(unit="episode", disable=not sys.stderr.isatty()) as bar:

        def report(done: int, total: int) -> None:
            if not bar.disable:
                bar.total = total
                bar.update(done - bar.n)
            elif not quiet and done * _PLAIN_LINES // total > (done - 1) * _PLAIN_LINES // total:
                click.echo(f"{done}/{total} episodes", err=True)

        yield report
