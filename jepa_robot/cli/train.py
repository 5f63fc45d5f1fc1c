"""``jepa-robot train data=FILE.h5 encoder=CKPT``: the world model on an encoder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("overrides", nargs=-1)
def command(overrides: tuple[str, ...]) -> None:
    """Train the action-conditioned predictor and the metric head.

    OVERRIDES are KEY=VALUE settings: data=FILE.h5 and encoder=CKPT (or encoder=new with train=joint, or
    start=CKPT, a world model to go on from) are required; train=frozen|joint, out=FOLDER, seed=0,
    train.steps=4000, ... The run's folder gets world_model.safetensors; an interrupted run goes on where it
    stopped when the same command is given again.
    """
    import torch
    from omegaconf import OmegaConf

    from jepa_robot.cli.config import compose
    from jepa_robot.cli.starting import NEW, starting_model
    from jepa_robot.cli.training import accelerate, check_effect, check_heads, prepare, recipe_entry, settings
    from jepa_robot.errors import ConfigError
    from jepa_robot.models.checkpoint import resolve, save
    from jepa_robot.runtime import device_of
    from jepa_robot.training import loop
    from jepa_robot.training.dynamics import DynamicsConfig
    from jepa_robot.training.latents import LatentStore
    from jepa_robot.training.summary import SummaryConfig
    from jepa_robot.training.world import WorldConfig, WorldStage

    config = compose("train", overrides)
    if (config.encoder is None) == (config.start is None):
        raise ConfigError(
            "give exactly one of encoder=CKPT (its encoder) and start=CKPT (a whole world model)", where="train",
            mend="run jepa-robot pretrain first if there is no encoder yet, or take encoder=new with train=joint",
        )
    if "dynamics" not in config.train:
        raise ConfigError("is a recipe of `jepa-robot pretrain`", where="train", expected="frozen or joint")
    steps = config.train.dynamics.rollout_steps
    if not 2 <= steps < config.train.frames:
        raise ConfigError(
            f"is {steps}", where="train.dynamics.rollout_steps",
            expected=f"2 to train.frames - 1 = {config.train.frames - 1}",
        )
    check_effect(overrides, {"model.masked_predictor": "`pretrain` makes that part"})
    check_heads(config, "predictor")
    if config.start is not None:
        check_effect(overrides, dict.fromkeys(("model", "pooling"), "start=CKPT has sizes of its own"))
    elif config.encoder == NEW:
        check_heads(config, "encoder")
        if not config.train.joint:
            raise ConfigError("is new, which nothing would train", where="encoder", expected="train=joint, or a checkpoint")
    else:
        check_effect(overrides, {
            "model.encoder": "the encoder's sizes are its checkpoint's", "model.image_size": "it is the encoder's",
        })
    data = prepare(config)
    torch.manual_seed(config.seed)
    model, recipe = starting_model(config, data)
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
        WorldConfig(
            dynamics=DynamicsConfig(**values.pop("dynamics")), summary=SummaryConfig(**values.pop("summary")), **values
        ),
        config.seed, device_of(config.device), config.dtype, data.loader, LatentStore(config.loader.memory_gb, out),
    )
    accelerate(config, model)
    source = config.start or (config.encoder if config.encoder != NEW else None)
    kept = settings(config, **({} if source is None else {"checkpoint": resolve(source)}))
    outcome = loop.run(stage, out, kept, **run)
    stage.calibrate()
    entry = recipe_entry("joint" if config.train.joint else "frozen", config, kept, data, outcome)
    path = out / "world_model.safetensors"
    save(path, stage.model, "world_model", model.contract, [*recipe, entry], {}, config.weights)
    click.echo(f"{path}: {run['steps']} steps in {outcome['seconds']:.0f} s", err=True)
