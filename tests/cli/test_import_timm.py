"""What `jepa-robot import timm` writes, that a model trains and plans on it, and what it refuses."""

import json

import numpy as np
import pytest
import timm
import torch
from command_line import assert_refused
from safetensors.torch import save_file
from training_runs import CONTRACT, TRAIN, write

from jepa_robot.models import load, load_encoder, read_metadata

NAME = "test_vit"


@pytest.fixture
def bring(call):
    return lambda *options: call("import", "timm", *options, "--out", "out.safetensors")


def backbone(**options):
    torch.manual_seed(3)
    return timm.create_model(NAME, **options)


@torch.no_grad()
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_of_a_file_are_those_of_the_checkpoint(bring, tmp_path, suffix):
    peer = backbone()  # of 160 px, with a classifier
    weights = {name: value.contiguous() for name, value in peer.state_dict().items()}
    file = tmp_path / f"weights.{suffix}"
    save_file(weights, file) if suffix == "safetensors" else torch.save(weights, file)
    facts = json.loads(bring(NAME, "--image-size", 160, "--weights", file, "--json").out)
    encoder, header = load_encoder(facts["path"])
    assert facts["kind"] == header["kind"] == "encoder" and header["contract"]["task"] is None
    camera = header["contract"]["cameras"][0]
    assert (camera["mean"], camera["std"]) == (list(peer.pretrained_cfg["mean"]), list(peer.pretrained_cfg["std"]))
    pictures = torch.randint(256, (2, 1, 160, 160, 3), dtype=torch.uint8)
    pixels = (pictures[:, 0].float() / 255 - torch.tensor(camera["mean"])) / torch.tensor(camera["std"])
    tokens = peer.eval().forward_features(pixels.permute(0, 3, 1, 2))[:, peer.num_prefix_tokens :]
    expected = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
    torch.testing.assert_close(encoder(pictures)[:, 0], expected, atol=1e-5, rtol=0)
    assert facts["tokens"] == 100 and facts["width"] == tokens.shape[-1]


def test_a_model_trains_and_sees_through_it_frozen(bring, call, tmp_path):
    write(tmp_path / "data.h5", 3)
    size = CONTRACT.camera.height
    assert bring(NAME, "--image-size", size, "--input-size", 32, "--weights", "random").code == 0
    done = call("train", "data=data.h5", "encoder=out.safetensors", "out=run", *TRAIN)
    assert done.code == 0, done.err
    model, (encoder, _) = load(tmp_path / "run" / "world_model.safetensors"), load_encoder(tmp_path / "out.safetensors")
    for name, value in encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    assert model.contract.camera.mean == encoder_mean(tmp_path / "out.safetensors")
    frames = torch.from_numpy(np.random.default_rng(0).integers(256, size=(1, 1, size, size, 3), dtype=np.uint8))
    assert model.encode(frames).shape == (1, 1, 4, encoder.config.width)


def encoder_mean(path):
    return tuple(read_metadata(path)["contract"]["cameras"][0]["mean"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("test_resnet", "--image-size", 64, "--weights", "no_mean.safetensors"), ("lacks", "running_mean", "all ")),
        (("vit_of_nobody", "--image-size", 64), ("has no backbone 'vit_of_nobody'",)),
        (("vit_small_patch14_dinov2", "--image-size", 64), ("64 px", "patches of 14 px", "70 is")),
        ((NAME, "--image-size", 64, "--weights", "missing.pth"), ("missing.pth", "no such file", "published, random")),
        ((NAME, "--image-size", 64, "--weights", "code.pth"), ("code.pth", "cannot be loaded")),
        ((NAME, "--image-size", 64, "--weights", "half.safetensors"), ("half.safetensors", "cannot be loaded")),
        ((NAME, "--image-size", 64, "--weights", "other.safetensors"), ("other.safetensors",)),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(bring, tmp_path, options, words):
    class Code:
        def __reduce__(self):
            return print, ("this must not run",)

    torch.save({"weights": Code()}, tmp_path / "code.pth")
    save_file({name: value.contiguous() for name, value in backbone().state_dict().items()}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"something": torch.zeros(3)}, tmp_path / "other.safetensors")
    convolutional = timm.create_model("test_resnet").state_dict()
    first = next(name for name in convolutional if name.endswith("running_mean"))
    save_file({n: v.contiguous() for n, v in convolutional.items() if n != first}, tmp_path / "no_mean.safetensors")
    done = bring(*options)
    assert_refused(done, *words)
    assert "this must not run" not in done.out + done.err and not (tmp_path / "out.safetensors").exists()
