"""``jepa-robot tune WHAT``: search settings that suit a task and a checkpoint."""

from __future__ import annotations

from jepa_robot.cli.lazy import LazyGroup, Verb

VERBS = {"planner": Verb("jepa_robot.cli.tune.planner", "Search a planner's settings by success and time.")}

command = LazyGroup("tune", VERBS, help=__doc__.partition(": ")[2].capitalize())
