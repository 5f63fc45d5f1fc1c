"""What `jepa-robot info` tells of a checkpoint."""

from __future__ import annotations

import json

import pytest
import torch

from jepa_robot.models import checkpoint
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder

RECIPE = [{"stage": "pretrain", "seed": 7, "seconds": 123.4, "settings": {"data": "reach.h5"}}]
RESULTS = {"panda_reach": {"success": 0.875, "episodes": 8}}


@pytest.fixture
def encoder(tmp_path, contract):
    torch.manual_seed(0)
    config = EncoderConfig(image_size=64, patch_size=16, width=24, depth=1, heads=2)
    module = VideoEncoder(config, (0.5,) * 3, (0.25,) * 3)
    checkpoint.save(tmp_path / "encoder.safetensors", module, "encoder", contract, RECIPE, RESULTS)
    return tmp_path / "encoder.safetensors"


def test_json_is_the_header(jepa_robot, encoder, contract):
    result = jepa_robot("info", encoder, "--json")
    assert result.code == 0 and result.out.count("\n") == 1
    facts = json.loads(result.out)
    assert facts["path"] == str(encoder) and facts["recipe"] == RECIPE and facts["results"] == RESULTS
    assert facts["contract"] == json.loads(contract.to_json()) and facts["model"]["width"] == 24


def test_the_table_shows_contract_recipe_and_results(jepa_robot, encoder):
    result = jepa_robot("info", encoder)
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    for line in (
        "kind encoder",
        "task panda_reach",
        "cameras front 64x64",
        "rate 5 actions/s",
        "dx m base -0.05 0.05 - -",
        "width 24",
        "recipe, stage 1",
        "seconds 123.4",
        "settings.data reach.h5",
        "panda_reach.success 0.875",
    ):
        assert line in lines


def test_nothing_measured_is_said(jepa_robot, encoder, contract):
    config = EncoderConfig(image_size=64, patch_size=16, width=24, depth=1, heads=2)
    module = VideoEncoder(config, (0.5,) * 3, (0.25,) * 3)
    checkpoint.save(encoder, module, "encoder", contract, [], {})
    assert "nothing has been measured yet" in jepa_robot("info", encoder).out


@pytest.mark.parametrize("keep", [0, 5, 300])
def test_a_truncated_file_is_one_line(jepa_robot, encoder, keep):
    encoder.write_bytes(encoder.read_bytes()[:keep])
    result = jepa_robot("info", encoder)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert str(encoder) in result.err and "unexpected" not in result.err


def test_an_unknown_name(jepa_robot):
    result = jepa_robot("info", "panda_reech")
    assert result.code == 2 and "panda_reech: no such checkpoint" in result.err
