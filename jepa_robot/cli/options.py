"""Types of options that several verbs have."""

from __future__ import annotations

import click

# What torch and NumPy both take.
SEED = click.IntRange(min=0, max=2**63 - 1)
