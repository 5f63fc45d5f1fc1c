"""Running jepa-robot's verbs from the scripts beside this one, each once: what is there already is not done again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def told(folder: Path, step: str, *arguments: str | Path) -> dict[str, Any]:
    """What the verb that is the step's first word prints as JSON, kept in ``FOLDER/STEP.json``."""
    result = folder / f"{step.replace(' ', '_')}.json"
    if not result.exists():
        printed = run(step.split()[0], *arguments, "--json")
        temporary = result.with_suffix(".part")
        temporary.write_bytes(printed)
        os.replace(temporary, result)
    return json.loads(result.read_text())


def run(*arguments: str | Path) -> bytes:
    """What a verb of jepa-robot prints; its errors go to this process's, and end it."""
    words = [str(argument) for argument in arguments]
    print("+ jepa-robot", *words, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "jepa_robot.cli.main", *words], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def success(policy: dict[str, Any]) -> str:
    """A policy's success rate and its 95% interval, in percent."""
    low, high = policy["success_interval_95"]
    return f"{100 * policy['success_rate']:.0f}% ({100 * low:.0f} - {100 * high:.0f})"
