"""``jepa-robot pretrain``: the encoder it writes, resuming, and wrong settings."""

from __future__ import annotations

import json

import pytest
import torch
from command_line import assert_refused
from safetensors.torch import load_file
from tensors import assert_same_file
from training_runs import CONTRACT, PRETRAIN, SIZE

from jepa_robot.models import load_encoder
from jepa_robot.spec import Contract


def test_pretrain_writes_an_encoder_its_log_and_its_recipe(encoder):
    assert sorted(p.name for p in encoder.parent.iterdir()) == ["encoder.safetensors", "log.jsonl", "state.pt"]
    loaded, header = load_encoder(encoder)
    assert loaded.config.width == 12 and loaded.config.image_size == SIZE
    (entry,) = header["recipe"]
    assert entry["stage"] == "pretrain" and entry["steps"] == 3 and entry["seed"] == 0 and entry["seconds"] >= 0
    assert entry["data"] == {"made": "by hand", "episodes": 4, "frames": 28}
    assert entry["settings"]["data"] == "point.h5" and entry["settings"]["train"]["clip_frames"] == 4
    contract = Contract.from_dict(header["contract"])
    assert not contract.differences(CONTRACT) and contract.camera.mean is not None
    log = [json.loads(line) for line in (encoder.parent / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [0, 2, 3] and "pixels_r2_x" in log[0]
    assert entry["figures"]["r2_x"] == log[-1]["r2_x"]


def test_the_teacher_is_what_is_kept(encoder):
    state = torch.load(encoder.parent / "state.pt", weights_only=True)["stage"]
    found = load_file(encoder)
    assert all(torch.equal(found[name], value) for name, value in state["teacher"].items())
    assert any(not torch.equal(found[name], value) for name, value in state["encoder"].items())


def test_the_same_command_again_gives_the_same_and_trains_nothing(call, data, encoder, tmp_path):
    code, out, err = call("pretrain", f"data={data}", f"out={tmp_path / 'again'}", *PRETRAIN)
    assert code == 0 and out == "" and "3 steps" in err
    assert_same_file(tmp_path / "again" / "encoder.safetensors", encoder)
    before = (tmp_path / "again" / "log.jsonl").read_text()
    assert call("pretrain", f"data={data}", f"out={tmp_path / 'again'}", *PRETRAIN)[0] == 0
    assert (tmp_path / "again" / "log.jsonl").read_text() == before
    assert_same_file(tmp_path / "again" / "encoder.safetensors", encoder)


def test_interrupted_and_given_again_it_goes_on_to_the_same_weights(call, data, encoder, tmp_path, monkeypatch):
    from jepa_robot.training.pretrain import PretrainStage

    step = PretrainStage.step

    def interrupted(self, index, steps):
        if index == 2:
            raise KeyboardInterrupt
        return step(self, index, steps)

    args = ("pretrain", f"data={data}", "out=run", *PRETRAIN)
    with monkeypatch.context() as patch:
        patch.setattr(PretrainStage, "step", interrupted)
        code, out, err = call(*args)
    assert code == 130 and out == "" and err.strip().splitlines()[-1] == "interrupted"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["log.jsonl", "state.pt"]
    assert call(*args)[0] == 0
    assert_same_file(tmp_path / "run" / "encoder.safetensors", encoder)


def test_other_settings_in_the_same_folder_are_refused(call, data, encoder):
    before = encoder.read_bytes()
    outcome = call("pretrain", f"data={data}", f"out={encoder.parent}", *PRETRAIN, "seed=5")
    assert_refused(outcome, "seed=0, not 5", "out=FOLDER")
    assert encoder.read_bytes() == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.clip_frames=5", ("train.clip_frames: is 5", "an even number")),
        ("train.clip_frames=2", ("train.clip_frames: is 2", "4 or more")),
        ("train.clip_frames=8", ("no episode has 8 frames", "the longest")),
        ("train.steps=0", ("train.steps: is 0",)),
        ("train.batch_size=-1", ("train.batch_size: is -1",)),
        ("train.lr=0", ("train.lr: is 0",)),
        ("model.encoder.patch_size=5", ("model.encoder", "image_size 16 is not a multiple of patch_size 5")),
        ("model.encoder.heads=5", ("model.encoder: has width 12 and 5 heads", "multiple")),
        ("model.masked_predictor.heads=4", ("model.masked_predictor: has width 12 and 4 heads",)),
        ("model.encoder.patch_size=8", ("train.masks", "of 4 patches visible")),
        ("train.masks=[{blocks:1}]", ("train.masks", "aspect")),
        ("valid_fraction=0", ("valid_fraction",)),
        ("dtype=fp8", ("dtype: unknown dtype 'fp8'",)),
        ("device=tpu9", ("device", "tpu9")),
        ("train=joined", ("joined",)),
        ("train.speed=3", ("train.speed",)),
    ],
)
def test_wrong_settings_of_pretrain(call, data, tmp_path, override, words):
    assert_refused(call("pretrain", f"data={data}", "out=run", *PRETRAIN, override), *words)
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


def test_data_is_required(call):
    assert_refused(call("pretrain", *PRETRAIN), "data not given", "data=...")
