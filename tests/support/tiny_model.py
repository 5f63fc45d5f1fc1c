"""Real but tiny world models with random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from jepa_robot.models import ModelConfig, WorldModel, checkpoint
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.spec import Contract


def normalised(contract: Contract) -> Contract:
    """With normalisation, as a model's contract has it."""
    camera = dataclasses.replace(contract.camera, mean=(0.5,) * 3, std=(0.25,) * 3)
    actions = tuple(dataclasses.replace(d, mean=0.0, std=d.high / 2) for d in contract.actions)
    states = tuple(dataclasses.replace(d, mean=(d.low + d.high) / 2, std=(d.high - d.low) / 4) for d in contract.states)
    return dataclasses.replace(contract, cameras=(camera,), actions=actions, states=states)


def write_checkpoint(path: Path, contract: Contract) -> Path:
    """A checkpoint for a normalised contract."""
    torch.manual_seed(0)
    encoder = EncoderConfig(image_size=contract.camera.height, patch_size=16, width=24, depth=1, heads=2)
    config = ModelConfig(encoder, PredictorConfig(width=24, depth=1, heads=2, max_frames=4), MetricConfig(16, 4))
    checkpoint.save(path, WorldModel(contract, config), "world_model", contract, [], {})
    return path
