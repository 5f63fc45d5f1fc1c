"""Runs whose encoder collapses are stopped, and no others."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from jepa_robot.errors import TrainingError
from jepa_robot.training import loop
from jepa_robot.training.collapse import CollapseWatch

HEALTHY = {"latent_std": 0.5, "effective_rank": 140.0, "dead_dims": 0.0}
CONSTANT = {"latent_std": 0.024, "effective_rank": 140.0, "dead_dims": 0.6}  # noise has many directions
ONE_DIRECTION = {"latent_std": 0.3, "effective_rank": 1.5, "dead_dims": 0.0}


def watch(before: dict[str, float] = HEALTHY) -> CollapseWatch:
    made = CollapseWatch("turn it up")
    made.begin(before)
    return made


@pytest.mark.parametrize("figures", [CONSTANT, ONE_DIRECTION])
def test_the_second_collapsed_evaluation_in_a_row_stops(figures):
    looking = watch()
    looking.look(figures, 10, "run")
    with pytest.raises(TrainingError, match="run: the encoder has collapsed: at step 20.*turn it up"):
        looking.look(figures, 20, "run")


def test_a_moment_that_passes_does_not_stop():
    looking = watch()
    for step, figures in enumerate([CONSTANT, HEALTHY, ONE_DIRECTION, HEALTHY, CONSTANT], start=1):
        looking.look(figures, step, "run")


@pytest.mark.parametrize(
    "figures",
    [
        HEALTHY,
        CONSTANT | {"latent_std": 0.026},
        CONSTANT | {"dead_dims": 0.4},
        ONE_DIRECTION | {"effective_rank": 2.1},
    ],
)
def test_either_sign_alone_does_not_stop(figures):
    looking = watch()
    for step in range(1, 6):
        looking.look(figures, step, "run")


def test_few_directions_from_the_start_are_the_data_s():
    looking = watch(HEALTHY | {"effective_rank": 3.0})
    for step in range(1, 6):
        looking.look(ONE_DIRECTION, step, "run")


def test_a_stage_without_an_encoder_to_train_is_not_looked_at():
    looking = CollapseWatch("")
    looking.begin({"mse_1": 0.1})
    for step in range(1, 6):
        looking.look({"mse_1": 0.1}, step, "run")


def test_a_resumed_run_remembers():
    first, second = watch(), CollapseWatch("turn it up")
    first.look(CONSTANT, 10, "run")
    second.load_state_dict(first.state_dict())
    with pytest.raises(TrainingError):
        second.look(CONSTANT, 20, "run")


def rows(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def without_terms(stage):
    """Fast, and nothing that keeps the joint stage's encoder from mapping everything to one point."""
    config = stage.config
    dynamics = dataclasses.replace(config.dynamics, stop_gradient=False, displacement=0.0, metric=0.0)
    stage.config = dataclasses.replace(
        config, lr=0.02, warmup=0.0, decay=0.0, variance=0.0, covariance=0.0, dynamics=dynamics
    )
    return stage


def test_free_targets_without_terms_collapse_and_are_stopped(world_stage, tmp_path):
    stage = without_terms(world_stage(joint=True))
    with pytest.raises(TrainingError, match="train.variance and train.covariance.*stop_gradient"):
        loop.run(stage, tmp_path, {}, 1000, 50, 1000.0)
    found = rows(tmp_path)
    assert 100 <= found[-1]["step"] < 1000
    assert all(row["latent_std"] < 0.05 * found[0]["latent_std"] for row in found[-2:])


def test_an_encoder_that_is_its_own_target_collapses_and_the_state_from_before_is_kept(pretrain_stage, tmp_path):
    stage = pretrain_stage(target="encoder", variance=0.0, covariance=0.0, lr=0.01, warmup=0.0, decay=0.0)
    with pytest.raises(TrainingError, match="train.target=teacher"):
        loop.run(stage, tmp_path, {}, 500, 25, 0.0)
    last = rows(tmp_path)[-1]["step"]
    assert last <= 150 and torch.load(tmp_path / "state.pt", weights_only=True)["step"] == last - 1


@pytest.mark.parametrize("joint", [False, True])
def test_a_healthy_run_is_not_stopped(world_stage, tmp_path, joint):
    outcome = loop.run(world_stage(joint=joint), tmp_path, {}, 20, 5, 1000.0)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 20 and outcome["figures"]
    assert ("pixels_effective_rank" in rows(tmp_path)[0]) == ("random_r2_x" in rows(tmp_path)[0]) == joint
