"""Options that several verbs have."""

from __future__ import annotations

import click

# What torch and NumPy both take.
SEED = click.IntRange(min=0, max=2**63 - 1)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else."
)
checkpoint_option = click.option(
    "--checkpoint", help="A .safetensors file or a shipped name.  [default: the task's shipped one]"
)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
