"""A group of verbs each of which is imported when it is run, so that help and completion stay fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import click

EPILOG = "Errors are one line; add --debug anywhere to see the traceback."


@dataclass(frozen=True)
class Verb:
    """Where a verb's ``command`` lives, and its line in ``--help`` (kept here so that help imports no verb)."""

    module: str
    help: str

    def load(self) -> click.Command:
        command: click.Command = importlib.import_module(self.module).command
        if command.epilog is None:
            command.epilog = EPILOG
        return command


class LazyGroup(click.Group):
    """Verbs by name; an unknown one is answered with those that come close."""

    def __init__(self, name: str, verbs: Mapping[str, Verb], help: str, **settings: object):
        super().__init__(name, help=help, epilog=EPILOG, subcommand_metavar="VERB [ARGS]...", **settings)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return self.verbs[name].load() if name in self.verbs else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            raise click.UsageError(f"no verb given; expected one of {', '.join(self.verbs)}", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.verbs and not name.startswith("-"):
            close = get_close_matches(name, self.verbs)
            hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(self.verbs)}"
            raise click.UsageError(f"unknown verb {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in self.verbs.items()])
