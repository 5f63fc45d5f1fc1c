"""Pure torch modules: encoder, predictors, world model, checkpoints."""

from jepa_robot.models.checkpoint import load, load_encoder, load_pretrained, read_metadata
from jepa_robot.models.world_model import ModelConfig, WorldModel

__all__ = ["ModelConfig", "WorldModel", "load", "load_encoder", "load_pretrained", "read_metadata"]
