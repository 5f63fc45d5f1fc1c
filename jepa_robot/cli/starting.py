"""The world model that `train` starts with: on an encoder, or one to go on from."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import DictConfig

from jepa_robot.cli.training import Data, data_paths, encoder_config
from jepa_robot.errors import ConfigError
from jepa_robot.models import ModelConfig, WorldModel, load, load_encoder, read_metadata
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.encoder import VideoEncoder
from jepa_robot.models.encoders import AnyEncoder
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.models.pooled_encoder import PooledEncoder, PooledEncoderConfig
from jepa_robot.spec import Contract

NEW = "new"  # in place of an encoder's checkpoint: random weights


def starting_model(config: DictConfig, data: Data) -> tuple[WorldModel, list[dict[str, Any]]]:
    """The model, and the recipe of what is in it already.

    Raises:
        ConfigError: parts do not fit each other.
        CheckpointError, ContractError: a checkpoint cannot be read, or is of other data.
    """
    if config.encoder == NEW:
        camera = data.contract.camera
        encoder = VideoEncoder(encoder_config(config, data.contract), camera.mean, camera.std)
        return _on(encoder, data.contract, config), []
    source = config.encoder or config.start
    header = read_metadata(source)
    known = Contract.from_dict(header["contract"], source)
    known.require(
        data.recorded, str(source), ", ".join(data_paths(config)),
        "train on data of the same task and cameras" if known.task is not None
        else f"scale the data's pictures: source.image_size={known.camera.height}",
    )
    if config.start is None:
        # The encoder keeps seeing pixels normalised as in its pretraining, whatever this data's own statistics.
        camera = dataclasses.replace(data.contract.camera, mean=known.camera.mean, std=known.camera.std)
        contract = dataclasses.replace(data.contract, cameras=(camera, *data.contract.cameras[1:]))
        return _on(load_encoder(source)[0], contract, config), header["recipe"]
    model = load(source)
    if model.metric_head is None:
        raise ConfigError("has no metric head to go on training", where=f"start={source}", mend="take its encoder")
    return model.train().requires_grad_(True), header["recipe"]


def _on(encoder: AnyEncoder, contract: Contract, config: DictConfig) -> WorldModel:
    """A new predictor and metric head on an encoder."""
    encoder = pooled(encoder, config)
    metric = MetricConfig(dims=int(contract.measured_states().sum()), **config.model.metric)
    return WorldModel(contract, ModelConfig(encoder.config, predictor_config(config), metric), encoder)


def pooled(encoder: AnyEncoder, config: DictConfig) -> AnyEncoder:
    """The encoder, with its tokens pooled as ``pooling`` says.

    Raises:
        ConfigError: there is no such pooling, or this encoder or stage cannot have it.
    """
    kind = config.pooling.kind
    if kind == "none":
        return encoder
    if isinstance(encoder.config, PooledEncoderConfig):
        raise ConfigError(
            f"is {kind}", where="pooling.kind", expected=f"none: {config.encoder} is pooled already ({encoder.config.pooling})"
        )
    if kind == "linear" and not config.train.joint:
        raise ConfigError("is linear, which is trained", where="pooling.kind", expected="mean, or train=joint")
    width = encoder.config.width if kind == "mean" else config.pooling.width
    try:
        return PooledEncoder(PooledEncoderConfig(encoder.config, kind, width), encoder)
    except ValueError as error:
        raise ConfigError(str(error).replace("mean or linear", "none, mean or linear"), where="pooling.kind") from error


def predictor_config(config: DictConfig) -> PredictorConfig:
    """Sizes and variant of the action-conditioned predictor, from the ``model`` group.

    Raises:
        ConfigError: there is no such variant.
    """
    try:
        return PredictorConfig(**config.model.predictor)
    except ValueError as error:
        raise ConfigError(str(error), where="model.predictor") from error
