"""The public weights of V-JEPA 2 and V-JEPA 2-AC, from their files to checkpoints of ours."""

from __future__ import annotations

from pathlib import Path

from jepa_robot.models.vjepa2.checkpoint import ActionSpace, save_vjepa2
from jepa_robot.models.vjepa2.hub_folder import from_folder
from jepa_robot.models.vjepa2.layout import (
    plan_action_conditioned, plan_encoder, plan_hf_encoder, plan_hf_predictor, plan_masked_predictor,
)
from jepa_robot.models.vjepa2.networks import Imported, ImportOptions
from jepa_robot.models.vjepa2.torch_file import from_torch

__all__ = [
    "ActionSpace", "ImportOptions", "Imported", "plan_action_conditioned", "plan_encoder", "plan_hf_encoder",
    "plan_hf_predictor", "plan_masked_predictor", "read_vjepa2", "save_vjepa2",
]


def read_vjepa2(path: Path, options: ImportOptions = ImportOptions()) -> Imported:
    """The networks of a public ``.pt`` file or Hugging Face folder. Nothing of it is run.

    Raises:
        CheckpointError: the file cannot be read, or a tensor is missing, too many or of the wrong shape.
        ConfigError: something has to be said that the file does not say.
    """
    return from_folder(path, options) if path.is_dir() else from_torch(path, options)
