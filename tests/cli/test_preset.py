"""`jepa-robot info --preset`, and presets as the ``model`` of `pretrain`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import assert_refused
from training_runs import RUN, write

from jepa_robot.files import configs_folder

PRESETS = sorted(path.stem for path in Path(configs_folder() / "model").glob("*.yaml"))


def facts(call, *args):
    result = call("info", "--preset", *args, "--json")
    assert result.code == 0 and result.out.count("\n") == 1, result.err
    return json.loads(result.out)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_every_preset_is_of_the_size_that_it_says(call, name):
    found = facts(call, name)
    size = 256 if name == "vjepa2_ac" else int(name[-3:])
    assert (found["image_size"], found["tokens"]) == (size, (size // 16) ** 2)


def test_there_is_every_published_size():
    assert {f"vit{size}_{pixels}" for size in "blhg" for pixels in (256, 384)} | {"tiny", "vjepa2_ac"} == set(PRESETS)


def test_larger_pictures_change_arithmetic_and_no_parameters(call):
    small, large = (facts(call, f"vitl_{size}")["parts"] for size in (256, 384))
    for part in ("encoder", "masked predictor", "predictor"):
        assert small[part]["parameters"] == large[part]["parameters"]
    assert small["encoder"]["flops"] * 2.25 < large["encoder"]["flops"] < small["encoder"]["flops"] * 2.25**2


def test_overrides_change_what_is_counted(call):
    base, half = (facts(call, "vitl_256", *more)["parts"] for more in ((), ("model.encoder.depth=12", "actions=4")))
    block = 12 * 1024**2 + 13 * 1024
    assert base["encoder"]["parameters"] - half["encoder"]["parameters"] == 12 * block
    assert base["predictor"]["parameters"] - half["predictor"]["parameters"] == 3 * 768


def test_the_table(call):
    lines = [" ".join(line.split()) for line in call("info", "--preset", "vitl_256").out.splitlines()]
    assert "tokens 256 a frame" in lines
    assert "encoder 304 M 161 G 1.22 GB 608 MB 4.86 GB" in lines


def test_wrong_presets_and_keys(call):
    assert_refused(call("info", "--preset", "vitx_256"), "no model 'vitx_256'", "expected")
    assert_refused(call("info", "--preset", "tiny"), "model.image_size=64")
    assert_refused(call("info", "--preset", "vitl_256", "model.image_size=250"), "image_size 250 is not a multiple")
    assert_refused(call("info", "--preset", "vitl_256", "model.encoder.heads=7"), "model.encoder", "7 heads")
    assert_refused(call("info", "--preset", "vitl_256", "model.encoder.dept=7"), "no such key", "model.encoder.depth")
    refused = call("info", "--preset", "vitl_256", "model.predictor.predicts=x")
    assert_refused(refused, "model.predictor", "change or latents")
    assert_refused(call("info", "a", "b"), "expected one")


FEW = (
    *("model.encoder.width=12", "model.encoder.depth=1", "model.encoder.heads=2", "model.encoder.patch_size=4"),
    *("model.masked_predictor.width=12", "model.masked_predictor.depth=1", "model.masked_predictor.heads=2"),
    *("train.clip_frames=4", *RUN),
)


def test_pictures_of_another_size_than_the_preset_s_are_refused(call, tmp_path):
    write(tmp_path / "point.h5")
    run = ("pretrain", "data=point.h5", "out=run", "model=vitl_256", *FEW)
    refused = call(*run)
    assert_refused(refused, "pictures are 16x16", "256x256", "source.image_size=256", "model.image_size=0")
    assert not (tmp_path / "run").exists()
    assert call(*run, "model.image_size=0").code == 0
