"""``jepa-robot train data=FILE.h5 encoder=CKPT``: the world model on an encoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click


@click.command()
@click.argument("overrides", nargs=-1)
def command(overrides: tuple[str, ...]) -> None:
    """Train the action-conditioned predictor and the metric head.

    OVERRIDES are KEY=VALUE settings: data=FILE.h5 and encoder=CKPT (or start=CKPT, a world model to go
    on from) are required; train=frozen|joint, out=FOLDER, seed=0, train.steps=4000, ... The run's
    folder gets world_model.safetensors; an interrupted run goes on where it stopped when the same
    command is given again.
    """
    import torch
    from omegaconf import OmegaConf

    from jepa_robot.cli.config import compose
    from jepa_robot.cli.training import (
        accelerate, check_effect, check_heads, data_paths, pooled, predictor_config, prepare, recipe_entry, settings,
    )
    from jepa_robot.errors import ConfigError
    from jepa_robot.models import ModelConfig, WorldModel, load, load_encoder, read_metadata
    from jepa_robot.models.checkpoint import resolve, save
    from jepa_robot.models.metric_head import MetricConfig
    from jepa_robot.runtime import device_of
    from jepa_robot.spec import Contract
    from jepa_robot.training import loop
    from jepa_robot.training.dynamics import DynamicsConfig
    from jepa_robot.training.latents import LatentStore
    from jepa_robot.training.world import WorldConfig, WorldStage

    config = compose("train", overrides)
    if (config.encoder is None) == (config.start is None):
        raise ConfigError(
            "give exactly one of encoder=CKPT (its encoder) and start=CKPT (a whole world model)", where="train",
            mend="run jepa-robot pretrain first if there is no encoder yet",
        )
    if "dynamics" not in config.train:
        raise ConfigError("is a recipe of `jepa-robot pretrain`", where="train", expected="frozen or joint")
    steps = config.train.dynamics.rollout_steps
    if not 2 <= steps < config.train.frames:
        raise ConfigError(
            f"is {steps}", where="train.dynamics.rollout_steps",
            expected=f"2 to train.frames - 1 = {config.train.frames - 1}",
        )
    if config.start is not None:
        check_effect(overrides, dict.fromkeys(("model", "pooling"), "start=CKPT has sizes of its own"))
    check_effect(overrides, {
        "model.encoder": "the encoder's sizes are its checkpoint's", "model.image_size": "it is the encoder's",
        "model.masked_predictor": "`pretrain` makes that part",
    })
    check_heads(config, "predictor")
    data = prepare(config)
    torch.manual_seed(config.seed)
    source = config.encoder or config.start
    header = read_metadata(source)
    known = Contract.from_dict(header["contract"], source)
    known.require(
        data.recorded, str(source), ", ".join(data_paths(config)),
        "train on data of the same task and cameras" if known.task is not None
        else f"scale the data's pictures: source.image_size={known.camera.height}",
    )
    if config.start is not None:
        model = load(source)
        if model.metric_head is None:
            raise ConfigError("has no metric head to go on training", where=f"start={source}", mend="take its encoder")
        model.train().requires_grad_(True)
    else:
        encoder = pooled(load_encoder(source)[0], config)
        # The encoder keeps seeing pixels normalised as in its pretraining, whatever this data's own statistics.
        camera = dataclasses.replace(data.contract.camera, mean=known.camera.mean, std=known.camera.std)
        contract = dataclasses.replace(data.contract, cameras=(camera, *data.contract.cameras[1:]))
        model = WorldModel(contract, ModelConfig(
            encoder.config, predictor_config(config),
            MetricConfig(dims=int(contract.measured_states().sum()), **config.model.metric),
        ), encoder)
    longest = model.config.predictor.max_frames
    if config.train.frames - 1 > longest:
        raise ConfigError(
            f"is {config.train.frames}", where="train.frames",
            expected=f"at most model.predictor.max_frames + 1 = {longest + 1}",
        )
    values = OmegaConf.to_container(config.train)
    run = {key: values.pop(key) for key in ("steps", "evaluate_every", "save_minutes")}
    out = Path(config.out)
    stage = WorldStage(
        data.trajectories, data.train, data.valid, model,
        WorldConfig(dynamics=DynamicsConfig(**values.pop("dynamics")), **values),
        config.seed, device_of(config.device), config.dtype, data.loader, LatentStore(config.loader.memory_gb, out),
    )
    accelerate(config, model)
    kept = settings(config, checkpoint=resolve(source))
    outcome = loop.run(stage, out, kept, **run)
    stage.calibrate()
    entry = recipe_entry("joint" if config.train.joint else "frozen", config, kept, data, outcome)
    path = out / "world_model.safetensors"
    save(path, stage.model, "world_model", model.contract, [*header["recipe"], entry], {}, config.weights)
    click.echo(f"{path}: {run['steps']} steps in {outcome['seconds']:.0f} s", err=True)
