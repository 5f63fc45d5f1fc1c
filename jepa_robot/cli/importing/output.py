"""The checkpoint that an import writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from jepa_robot.errors import ConfigError, OutputError

_OUT = click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The .safetensors to write."
)
_FORCE = click.option("--force", is_flag=True, help="Replace a file that exists.")


def output_options(command: Callable) -> Callable:
    """``--out`` and ``--force``."""
    return _OUT(_FORCE(command))


def require_output(out: Path, force: bool) -> None:
    """Check, before anything is read, that the checkpoint may be written.

    Raises:
        ConfigError: it has another kind of name.
        OutputError: it exists.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"is {out.name}", where="--out", expected="a name that ends in .safetensors")
    if out.exists() and not force:
        raise OutputError("exists", where=out, mend="choose another file, or replace it with --force")
