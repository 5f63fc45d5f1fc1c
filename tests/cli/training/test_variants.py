"""Variants of the world model chosen by configuration: conditioning, what is predicted, one token a frame."""

import json

import pytest
import torch
from command_line import assert_refused
from training_runs import MODEL, TRAIN

from jepa_robot.models import load, read_metadata
from jepa_robot.models.pooled_encoder import PooledEncoder

SMALL = (*TRAIN, "train.batch_size=4")


@pytest.mark.parametrize(
    "variant",
    [
        ("model.predictor.conditioning=adaln",),
        ("model.predictor.predicts=latents",),
        ("train=joint", "model.predictor.conditioning=adaln", "pooling.kind=linear", "pooling.width=24"),
        ("pooling.kind=mean",),
    ],
    ids=lambda settings: " ".join(settings),
)
def test_every_variant_trains_and_rolls_out(call, data, encoder, tmp_path, variant):
    done = call("train", f"data={data}", f"encoder={encoder}", "out=run", *SMALL, *variant)
    assert done.code == 0, done.err
    model = load(tmp_path / "run" / "world_model.safetensors")
    for setting in variant:
        key, value = setting.split("=")
        if key.startswith("model.predictor."):
            assert getattr(model.config.predictor, key.rpartition(".")[2]) == value
    is_pooled = any("pooling" in setting for setting in variant)
    assert isinstance(model.encoder, PooledEncoder) == is_pooled
    width = 24 if "pooling.kind=linear" in variant else 12
    frames = torch.randint(256, (1, 1, 16, 16, 3), dtype=torch.uint8)
    context = model.context(model.encode(frames), torch.full((1, 1, 2), 0.5), torch.zeros(1, 0, 2))
    rolled = model.rollout(context, torch.zeros(1, 3, 2, 2))
    assert rolled.shape == (1, 3, 2, 1 if is_pooled else 16, width) and torch.isfinite(rolled).all()


def test_a_new_encoder_is_trained_with_its_dynamics_alone(call, data, tmp_path):
    """LeWorldModel's recipe: one token a frame, squared error, SIGReg, no pretraining."""
    lewm = (
        "train=joint", "encoder=new", "pooling.kind=linear", "pooling.width=24", "model.predictor.conditioning=adaln",
        "train.variance=0", "train.covariance=0", "train.gaussian=0.1", "train.dynamics.exponent=2",
    )
    done = call("train", f"data={data}", "out=run", *MODEL, *SMALL, *lewm)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["gaussian"] > 0 and "variance" not in rows[-1]
    path = tmp_path / "run" / "world_model.safetensors"
    assert [stage["stage"] for stage in read_metadata(path)["recipe"]] == ["joint"]
    assert load(path).config.encoder.encoder.width == 12
    assert call("train", f"data={data}", "out=run", *MODEL, *SMALL, *lewm).code == 0  # a finished run


def test_a_linear_pooling_learns_with_its_encoder(call, data, encoder, tmp_path):
    starts = []
    for steps in (1, 3):
        out = f"run{steps}"
        pooling = ("train=joint", "pooling.kind=linear", "pooling.width=24")
        assert call(
            "train", f"data={data}", f"encoder={encoder}", f"out={out}", *SMALL, *pooling, f"train.steps={steps}"
        ).code == 0
        starts.append(load(tmp_path / out / "world_model.safetensors").encoder)
    assert (starts[0].linear.weight - starts[1].linear.weight).abs().max() > 1e-5


def test_a_pooled_model_goes_on_training(call, data, encoder):
    first = ("train=joint", "pooling.kind=linear", "pooling.width=24")
    assert call("train", f"data={data}", f"encoder={encoder}", "out=first", *SMALL, *first).code == 0
    again = call("train", f"data={data}", "start=first/world_model.safetensors", "out=second", "train=joint", *SMALL[4:])
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("pooling.kind=max",), ("pooling.kind", "'max'", "none, mean or linear")),
        (("pooling.kind=linear",), ("pooling.kind", "mean, or train=joint")),
        (("encoder=new",), ("encoder", "train=joint, or a checkpoint")),
        (("train=joint", "pooling.kind=linear", "pooling.width=0"), ("pooling.width", "0")),
        (("model.predictor.conditioning=film",), ("conditioning", "'film'", "tokens or adaln")),
        (("model.predictor.predicts=pixels",), ("predicts", "'pixels'", "change or latents")),
    ],
)
def test_a_variant_that_there_is_not_is_refused(call, data, encoder, settings, words):
    given = [] if "encoder=new" in settings else [f"encoder={encoder}"]
    assert_refused(call("train", f"data={data}", *given, *SMALL, *settings), *words)


def test_pooling_what_is_pooled_is_refused(call, data, encoder):
    assert call("train", f"data={data}", f"encoder={encoder}", "out=first", *SMALL, "pooling.kind=mean").code == 0
    twice = call(
        "train", f"data={data}", "encoder=first/world_model.safetensors", "out=second", *SMALL, "pooling.kind=mean"
    )
    assert_refused(twice, "pooling.kind", "pooled already (mean)")
