"""``jepa-robot pretrain train=NAME``: every objective runs, and settings that do not fit each other are refused."""

from __future__ import annotations

import json

import pytest
from command_line import assert_refused
from tensors import assert_same_file
from training_runs import MASKED, MODEL, PRETRAIN, RUN

from jepa_robot.models import load_encoder, read_metadata

NAMES = ("masked", "vjepa2", "vjepa", "ijepa", "cjepa", "sigreg")
PHASES = "train.early_phases=[{share: 0.4, clip_frames: 1, image_size: 12}]"
MOVING = "train.motion=0.5"
FEW = "train.masks=[{blocks: 2, area: [0.15, 0.15], aspect: [0.75, 1.5], min_visible: 2}]"


def size(name):
    """Settings of a small run, with clips where the objective has them."""
    return (*MODEL, *MASKED, *RUN, *(() if name in ("ijepa", "cjepa") else ("train.clip_frames=4",)))


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_writes_an_encoder_and_its_figures(call, data, tmp_path, name):
    assert call("pretrain", f"data={data}", "out=run", f"train={name}", *size(name))[0] == 0
    load_encoder(tmp_path / "run" / "encoder.safetensors")
    (entry,) = read_metadata(tmp_path / "run" / "encoder.safetensors")["recipe"]
    assert entry["steps"] == 3
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"loss", "masked", "valid_masked", "latent_std", "effective_rank", "r2_x", "rmse_y"} <= set(last)
    assert ("variance" in last) == (name in ("masked", "cjepa")) and ("gaussian" in last) == (name == "sigreg")


def test_an_interrupted_progressive_run_goes_on_to_the_same_weights(call, data, tmp_path, monkeypatch):
    from jepa_robot.training.pretrain import PretrainStage

    step = PretrainStage.step

    def interrupted(self, index, steps):
        if index == 2:
            raise KeyboardInterrupt
        return step(self, index, steps)

    args = ("pretrain", f"data={data}", "train=sigreg", *size("sigreg"), "train.steps=4", PHASES, FEW)
    assert call(*args, "out=whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(PretrainStage, "step", interrupted)
        assert call(*args, "out=run")[0] == 130
    assert call(*args, "out=run")[0] == 0
    assert_same_file(tmp_path / "run" / "encoder.safetensors", tmp_path / "whole" / "encoder.safetensors")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("train.masks_per_step=both",), ("train.masks_per_step: is both", "turn or all")),
        (("train.target=student",), ("train.target: is student", "teacher or encoder")),
        (("train.decay_shape=step",), ("train.decay_shape: is step", "linear or cosine")),
        (("train.summary.of=all",), ("train.summary.of: is all", "flattened or pooled")),
        (("train.summary.head=mlp",), ("train.summary.head: is mlp", "fixed or learned")),
        (("train.exponent=0",), ("train.exponent: is 0",)),
        (("model.masked_predictor.mask_tokens=0",), ("model.masked_predictor.mask_tokens: is 0",)),
        (("train.gaussian=-1",), ("train.gaussian: is -1",)),
        (("train.momentum_end=1.5",), ("train.momentum_end: is 1.5",)),
        (("train.weight_decay_end=-1",), ("train.weight_decay_end: is -1",)),
        (("train.clip_frames=1", MOVING), ("train.motion: is 0.5 with clips of 1 frames", "0, or clips of 4")),
        (("train.target=encoder", "train.variance=0"), ("train.target: is encoder without", "train.gaussian")),
        (("train=sigreg", "train.momentum=0.9"), ("train.momentum=0.9", "no effect", "no teacher")),
        (("train.masks=[]",), ("train.masks: is empty",)),
        (("train.masks=[3]",), ("train.masks", "a list of {blocks")),
        (("train.masks=[{blocks: 1, area: 0.15, aspect: [1, 1], min_visible: 1}]",), ("area is 0.15", "[from, to]")),
        ((FEW.replace("blocks: 2, ", ""),), ("train.masks", "lacks blocks")),
        ((FEW.replace("blocks: 2", "blocks: 2, size: 3"),), ("train.masks", "does not take size")),
        (("train.early_phases=[{share: 0.5}]",), ("train.early_phases", "lacks clip_frames, image_size")),
        (("train.early_phases=[7]",), ("train.early_phases", "a list of {share")),
        ((PHASES.replace("0.4", "1.0"),), ("train.early_phases: has share 1.0", "below 1")),
        ((PHASES.replace("0.4", "yes"),), ("train.early_phases: has share",)),
        ((PHASES.replace("clip_frames: 1", "clip_frames: 3"),), ("has clip_frames 3", "an even number")),
        ((PHASES.replace("12", "10"),), ("has image_size 10", "a multiple of the patch size 4")),
        ((PHASES.replace("12", "20"),), ("has image_size 20", "at most the data's 16 px")),
        ((PHASES.replace("12", "4"),), ("train.masks", "blocks that fit 1x1 patches", "larger pictures")),
        ((FEW, PHASES.replace("clip_frames: 1", "clip_frames: 8")), ("no episode has 8 frames",)),
        (
            (PHASES.replace("]", ", {share: 0.7, clip_frames: 4, image_size: 16}]"),),
            ("train.early_phases: take a share of 1.1 of the steps", "less than 1"),
        ),
        ((PHASES, MOVING), ("train.motion: is 0.5 with clips of 1 frames",)),
        (("train=frozen",), ("train: is a recipe of `jepa-robot train`",)),
    ],
)
def test_settings_that_do_not_fit(call, data, tmp_path, overrides, words):
    given = (*MODEL, *MASKED, *RUN) if "train=frozen" in overrides else PRETRAIN
    assert_refused(call("pretrain", f"data={data}", "out=run", *given, *overrides), *words)
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


def test_recipes_of_pretrain_are_none_of_train(call, data, encoder):
    outcome = call("train", f"data={data}", f"encoder={encoder}", "train=ijepa")
    assert_refused(outcome, "train: is a recipe of `jepa-robot pretrain`", "frozen or joint")
