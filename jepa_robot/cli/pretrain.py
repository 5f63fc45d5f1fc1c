"""``jepa-robot pretrain data=FILE.h5``: a video encoder from scratch by masked latent prediction."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("overrides", nargs=-1)
def command(overrides: tuple[str, ...]) -> None:
    """Train a video encoder by masked latent prediction.

    OVERRIDES are KEY=VALUE settings: data=FILE.h5 (required), out=FOLDER, seed=0, train.steps=3000,
    model.encoder.depth=4, ... train=NAME chooses the objective: masked (default), vjepa2, vjepa, ijepa, cjepa or
    sigreg. The run's folder gets encoder.safetensors; an interrupted run goes on where it stopped when the
    same command is given again.
    """
    from jepa_robot.cli.config import compose
    from jepa_robot.cli.objective import LOOP, pretrain_config
    from jepa_robot.cli.training import (
        accelerate, check_effect, check_heads, encoder_config, prepare, recipe_entry, settings,
    )
    from jepa_robot.models.checkpoint import save
    from jepa_robot.models.masked_predictor import MaskedPredictorConfig
    from jepa_robot.runtime import device_of
    from jepa_robot.training import loop
    from jepa_robot.training.pretrain import PretrainStage

    config = compose("pretrain", overrides)
    check_effect(overrides, dict.fromkeys(("model.predictor", "model.metric"), "`train` makes that part"))
    if config.train.get("target") == "encoder":
        check_effect(overrides, dict.fromkeys(("train.momentum", "train.momentum_end"), "train.target has no teacher"))
    check_heads(config, "encoder", "masked_predictor")
    data = prepare(config)
    sizes = encoder_config(config, data.contract)
    objective = pretrain_config(config, sizes)
    stage = PretrainStage(
        data.trajectories, data.train, data.valid, data.contract, sizes,
        MaskedPredictorConfig(**config.model.masked_predictor), objective,
        config.seed, device_of(config.device), config.dtype, data.loader,
    )
    accelerate(config, stage.encoder, stage.teacher, stage.predictor)
    out = Path(config.out)
    kept = settings(config)
    outcome = loop.run(stage, out, kept, **{key: config.train[key] for key in LOOP})
    entry = recipe_entry("pretrain", config, kept, data, outcome)
    save(out / "encoder.safetensors", stage.teacher, "encoder", data.contract, [entry], {}, config.weights)
    click.echo(f"{out / 'encoder.safetensors'}: {config.train.steps} steps in {outcome['seconds']:.0f} s", err=True)
