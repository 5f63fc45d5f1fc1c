"""Compiled blocks and activations that are computed again: the same training, and a run that they do not tie down."""

import pytest
import torch
from safetensors.torch import load_file
from training_runs import PRETRAIN, TRAIN


def weights(path):
    return load_file(path)


def test_checkpointing_trains_the_same_and_runs_go_on_without_it(call, data, encoder, tmp_path):
    joint = ("train=joint", *TRAIN)
    for out, setting in (("plain", "checkpointing=false"), ("again", "checkpointing=true")):
        assert call("train", f"data={data}", f"encoder={encoder}", f"out={out}", *joint, setting).code == 0
    plain, again = (weights(tmp_path / out / "world_model.safetensors") for out in ("plain", "again"))
    assert plain.keys() == again.keys()
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, atol=1e-5, rtol=1e-4)
    on = call("train", f"data={data}", f"encoder={encoder}", "out=again", *joint)  # a finished run: nothing is refused
    assert on.code == 0, on.err


@pytest.mark.slow
def test_compiled_blocks_train_the_same(call, data, tmp_path):
    for out, setting in (("plain", "compile=false"), ("compiled", "compile=true")):
        done = call("pretrain", f"data={data}", f"out={out}", *PRETRAIN, setting)
        assert done.code == 0, done.err
    plain, compiled = (weights(tmp_path / out / "encoder.safetensors") for out in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, atol=1e-4, rtol=1e-3)
