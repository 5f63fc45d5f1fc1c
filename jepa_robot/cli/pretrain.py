"""``jepa-robot pretrain data=FILE.h5``: a video encoder from scratch by masked latent prediction."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("overrides", nargs=-1)
def command(overrides: tuple[str, ...]) -> None:
    """Train a video encoder by masked latent prediction.

    OVERRIDES are KEY=VALUE settings: data=FILE.h5 (required), out=FOLDER, seed=0, train.steps=3000,
    model.encoder.depth=4, ... The run's folder gets encoder.safetensors; an interrupted run goes on
    where it stopped when the same command is given again.
    """
    import numpy as np
    from omegaconf import OmegaConf

    from jepa_robot.cli.config import compose
    from jepa_robot.cli.training import check_effect, check_heads, encoder_config, prepare, recipe_entry, settings
    from jepa_robot.errors import ConfigError
    from jepa_robot.models.checkpoint import save
    from jepa_robot.models.masked_predictor import MaskedPredictorConfig
    from jepa_robot.runtime import device_of
    from jepa_robot.training import loop
    from jepa_robot.training.masks import MaskConfig, block_mask
    from jepa_robot.training.pretrain import PretrainConfig, PretrainStage

    config = compose("pretrain", overrides)
    check_effect(overrides, dict.fromkeys(("model.predictor", "model.metric"), "`train` makes that part"))
    check_heads(config, "encoder", "masked_predictor")
    data = prepare(config)
    sizes = encoder_config(config, data.contract)
    values = OmegaConf.to_container(config.train)
    run = {key: values.pop(key) for key in ("steps", "evaluate_every", "save_minutes")}
    try:
        masks = tuple(MaskConfig(**{**m, "aspect": tuple(m["aspect"])}) for m in values.pop("masks"))
        for mask in masks:
            block_mask(sizes.grid, mask, np.random.default_rng(config.seed))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            str(error), where="train.masks",
            expected="a list of {blocks, area, aspect, min_visible} that fits the picture",
        ) from error
    stage = PretrainStage(
        data.trajectories, data.train, data.valid, data.contract, sizes,
        MaskedPredictorConfig(**config.model.masked_predictor), PretrainConfig(masks=masks, **values),
        config.seed, device_of(config.device), config.dtype, data.loader,
    )
    out = Path(config.out)
    kept = settings(config)
    outcome = loop.run(stage, out, kept, **run)
    entry = recipe_entry("pretrain", config, kept, data, outcome)
    save(out / "encoder.safetensors", stage.teacher, "encoder", data.contract, [entry], {}, config.weights)
    click.echo(f"{out / 'encoder.safetensors'}: {run['steps']} steps in {outcome['seconds']:.0f} s", err=True)
