"""``jepa-robot train``: what the frozen and the joint stage write and start from, and wrong settings."""

from __future__ import annotations

import pytest
import torch
from command_line import assert_refused
from safetensors.torch import load_file
from tensors import assert_same_file
from training_runs import CONTRACT, PRETRAIN, RUN, TRAIN

from jepa_robot.models import load, read_metadata
from jepa_robot.spec import Contract


def test_train_frozen_keeps_the_encoder_and_tells_both_stages(encoder, world):
    assert sorted(p.name for p in world.parent.iterdir()) == ["log.jsonl", "state.pt", "world_model.safetensors"]
    before, after = load_file(encoder), load_file(world)
    assert all(torch.equal(after[f"encoder.{name}"], value) for name, value in before.items())
    header = read_metadata(world)
    assert [entry["stage"] for entry in header["recipe"]] == ["pretrain", "frozen"]
    assert header["recipe"][0] == read_metadata(encoder)["recipe"][0]
    assert {"mse_1", "copy_mse_1", "mean_mse_1"} <= set(header["recipe"][1]["figures"])
    model = load(world)
    assert model.contract.camera == Contract.from_dict(read_metadata(encoder)["contract"]).camera
    assert not model.contract.differences(CONTRACT)
    assert model.config.metric.dims == 2


def test_joint_training_goes_on_from_a_world_model(call, data, world, tmp_path):
    args = ("train", "train=joint", f"data={data}", f"start={world}", *RUN)
    assert call(*args, "out=a")[0] == 0
    before, after = load_file(world), load_file(tmp_path / "a" / "world_model.safetensors")
    assert before.keys() == after.keys()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"encoder", "predictor", "metric_head"} <= moved
    header = read_metadata(tmp_path / "a" / "world_model.safetensors")
    assert [entry["stage"] for entry in header["recipe"]] == ["pretrain", "frozen", "joint"]
    assert load(tmp_path / "a" / "world_model.safetensors").contract == load(world).contract
    torch.manual_seed(987)  # whatever the process did before
    assert call(*args, "out=b")[0] == 0
    assert_same_file(tmp_path / "a" / "world_model.safetensors", tmp_path / "b" / "world_model.safetensors")


def test_frozen_training_may_go_on_too(call, data, world, tmp_path):
    assert call("train", f"data={data}", f"start={world}", *RUN, "out=more")[0] == 0
    before, after = load_file(world), load_file(tmp_path / "more" / "world_model.safetensors")
    equal = {name: torch.equal(before[name], after[name]) for name in before if name.endswith("weight")}
    assert {name.split(".")[0] for name in equal if equal[name]} == {"encoder"}
    assert {name.split(".")[0] for name in equal if not equal[name]} == {"predictor", "metric_head"}
    statistics = [name for name in before if name.startswith("standardise.")]
    assert len(statistics) == 3 and all(torch.equal(before[name], after[name]) for name in statistics)


def test_train_takes_the_encoder_of_a_world_model(call, data, world, tmp_path):
    assert call("train", f"data={data}", f"encoder={world}", *TRAIN, "out=new")[0] == 0
    after = load_file(tmp_path / "new" / "world_model.safetensors")
    assert all(torch.equal(after[n], v) for n, v in load_file(world).items() if n.startswith("encoder."))


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_bf16(call, data, encoder, verb, tmp_path):
    settings = PRETRAIN if verb == "pretrain" else (*TRAIN, "train=joint", f"encoder={encoder}")
    code, _, err = call(verb, f"data={data}", "out=run", *settings, "dtype=bf16")
    assert code == 0, err
    found = load_file(tmp_path / "run" / ("encoder.safetensors" if verb == "pretrain" else "world_model.safetensors"))
    assert all(value.dtype == torch.float32 for name, value in found.items() if name.endswith(("weight", "bias")))
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.dynamics.rollout_steps=1", ("train.dynamics.rollout_steps: is 1",)),
        ("train.dynamics.rollout_steps=9", ("train.dynamics.rollout_steps: is 9",)),
        ("train.frames=7", ("train.frames: is 7", "model.predictor.max_frames + 1")),
        ("model.predictor.heads=5", ("model.predictor: has width 12 and 5 heads",)),
        ("train.steps=-3", ("train.steps: is -3",)),
    ],
)
def test_wrong_settings_of_train(call, data, encoder, override, words):
    settings = (*TRAIN, "model.predictor.max_frames=4", override)
    assert_refused(call("train", f"data={data}", f"encoder={encoder}", *settings), *words)


def test_a_loss_that_is_no_number(call, data, encoder, tmp_path):
    """A learning rate out of all proportion: one line, and no checkpoint."""
    code, out, err = call(
        "train", f"data={data}", f"encoder={encoder}", *TRAIN, "train.steps=30", "train.lr=1e30", "out=run"
    )
    assert code == 2 and out == ""
    assert err.strip().splitlines()[-1].startswith("error: ") and "train.lr" in err and "Traceback" not in err
    assert not (tmp_path / "run" / "world_model.safetensors").exists()
