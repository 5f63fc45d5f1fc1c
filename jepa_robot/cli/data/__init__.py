"""``jepa-robot data VERB``: look at, check and convert recorded trajectories of any known format."""

from __future__ import annotations

from jepa_robot.cli.lazy import LazyGroup, Verb

VERBS = {
    "info": Verb("jepa_robot.cli.data.info", "Print episodes, hours, frame rate, shapes and ranges."),
    "check": Verb("jepa_robot.cli.data.check", "Look for what would spoil training; exit 1 when something is found."),
    "stats": Verb("jepa_robot.cli.data.stats", "Print means, deviations and ranges of every dimension."),
    "preview": Verb("jepa_robot.cli.data.preview", "Draw a contact sheet and a Rerun recording."),
    "convert": Verb("jepa_robot.cli.data.convert", "Write any known format as one file of our own."),
    "merge": Verb("jepa_robot.cli.data.merge", "Join files of our own without decompressing them."),
    "repair": Verb("jepa_robot.cli.data.repair", "Recover the complete episodes of a file left open by a killed writer."),
}

command = LazyGroup("data", VERBS, help=__doc__.partition(": ")[2].capitalize())
