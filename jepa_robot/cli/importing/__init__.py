"""``jepa-robot import FAMILY``: make a checkpoint of weights that others have published."""

from __future__ import annotations

from jepa_robot.cli.lazy import LazyGroup, Verb

VERBS = {
    "vjepa2": Verb("jepa_robot.cli.importing.vjepa2", "V-JEPA 2 and V-JEPA 2-AC: .pt files and Hugging Face folders."),
    "timm": Verb("jepa_robot.cli.importing.timm", "Any backbone of timm, such as DINOv2's."),
}

command = LazyGroup("import", VERBS, help=__doc__.partition(": ")[2].capitalize())
