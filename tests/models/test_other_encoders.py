"""Backbones of timm, and frames pooled to one token, as encoders of a world model."""

import dataclasses

import pytest
import timm
import torch

from jepa_robot.errors import CheckpointError
from jepa_robot.models import ModelConfig, WorldModel, checkpoint, load, load_encoder
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.encoders import build_encoder, encoder_config
from jepa_robot.models.pooled_encoder import PooledEncoderConfig
from jepa_robot.models.timm_encoder import TimmEncoder, TimmEncoderConfig, timm_config
from jepa_robot.spec import Camera

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = "test_vit"  # timm's smallest: patches of 16 px, a class token


def pictures(size, frames=2):
    return torch.randint(256, (2, frames, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def moved(contract, size):
    camera = Camera("front", size, size, mean=MEAN, std=STD)
    return dataclasses.replace(contract, cameras=(camera,))


def normalised(x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()


@torch.no_grad()
def test_patch_tokens_of_a_vision_transformer_are_its_last_without_the_class_token():
    torch.manual_seed(0)
    encoder = TimmEncoder(timm_config(SMALL, 64), MEAN, STD).eval()
    peer = timm.create_model(SMALL, num_classes=0, img_size=64).eval()
    peer.load_state_dict(encoder.backbone.state_dict())
    frames = pictures(64)
    pixels = (frames.flatten(0, 1).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    tokens = peer.forward_features(pixels.permute(0, 3, 1, 2))[:, peer.num_prefix_tokens :]
    assert encoder.config == TimmEncoderConfig(SMALL, 64, 64, 4, tokens.shape[-1]) and peer.num_prefix_tokens == 1
    latents = encoder(frames)
    assert latents.shape == (2, 2, 16, tokens.shape[-1])
    torch.testing.assert_close(latents.flatten(0, 1), normalised(tokens), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_convolutional_backbone_gives_its_map_row_by_row():
    torch.manual_seed(0)
    config = timm_config("test_resnet", 64)
    encoder = TimmEncoder(config, (0, 0, 0), (1, 1, 1)).eval()
    frames = pictures(64, frames=1)
    features = encoder.backbone.forward_features(frames[:, 0].permute(0, 3, 1, 2).float() / 255)
    assert config.grid == features.shape[-1] and config.width == features.shape[1]
    latents = encoder(frames)[:, 0]
    for row in range(config.grid):
        for column in range(config.grid):
            expected = normalised(features[:, :, row, column])
            torch.testing.assert_close(latents[:, row * config.grid + column], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_pictures_are_scaled_to_what_the_backbone_sees():
    torch.manual_seed(0)
    config = timm_config(SMALL, 40, input_size=80)
    encoder = TimmEncoder(config, MEAN, STD).eval()
    assert (config.image_size, config.input_size, config.tokens) == (40, 80, 25)
    same = TimmEncoder(timm_config(SMALL, 80), MEAN, STD).eval()
    same.load_state_dict(encoder.state_dict())
    plain = torch.full((1, 1, 40, 40, 3), 77, dtype=torch.uint8)  # of one colour at any size
    large = torch.full((1, 1, 80, 80, 3), 77, dtype=torch.uint8)
    torch.testing.assert_close(encoder(plain), same(large), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vit_of_nobody", 64, "timm .* has no backbone 'vit_of_nobody'"),
        ("vit_small_patch14_dinov2", 64, "64 px are no multiple of .* patches of 14 px; 70 is"),
    ],
)
def test_a_backbone_that_cannot_be_is_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        timm_config(name, size)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "linear"])
def test_a_pooled_frame_is_one_normalised_token(pooling):
    torch.manual_seed(0)
    patches = EncoderConfig(image_size=8, patch_size=4, width=12, depth=1, heads=2)
    config = PooledEncoderConfig(patches, pooling, 12 if pooling == "mean" else 20)
    encoder = build_encoder(config, MEAN, STD).eval()
    tokens = encoder.encoder(pictures(8))
    if pooling == "mean":
        expected = sum(tokens[:, :, n] for n in range(4)) / 4
    else:
        weight, bias = encoder.linear.weight, encoder.linear.bias
        expected = bias + sum(tokens[:, :, n] @ weight[:, n * 12 : (n + 1) * 12].T for n in range(4))
    latents = encoder(pictures(8))
    assert latents.shape == (2, 2, 1, config.width) and (config.tokens, config.grid, config.image_size) == (1, 1, 8)
    torch.testing.assert_close(latents[:, :, 0], normalised(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("pooling", "width", "message"), [("max", 12, "expected mean or linear"), ("mean", 20, "their width, 12, and not 20")]
)
def test_a_pooling_that_cannot_be_is_refused(pooling, width, message):
    with pytest.raises(ValueError, match=message):
        PooledEncoderConfig(EncoderConfig(image_size=8, patch_size=4, width=12, depth=1, heads=2), pooling, width)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["timm", "mean", "linear", "pooled timm"])
def test_a_world_model_on_it_is_saved_and_plans_the_same(kind, contract, config, tmp_path):
    torch.manual_seed(0)
    size = 32 if "timm" in kind else 8
    sizes = timm_config(SMALL, 32) if "timm" in kind else config.encoder
    if kind != "timm":
        pooling = "mean" if kind == "mean" else "linear"
        sizes = PooledEncoderConfig(sizes, pooling, sizes.width if pooling == "mean" else 16)
    model = WorldModel(moved(contract, size), ModelConfig(sizes, config.predictor, config.metric)).eval()
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, "world_model", model.contract, [], {})
    again = load(path)
    assert again.config == model.config
    frames = pictures(size, frames=1)[:1]

    def energies(model):
        latents = model.encode(frames)
        context = model.context(latents, torch.zeros(1, 1, 3), torch.zeros(1, 0, 2))
        return model.metric(model.rollout(context, torch.full((1, 3, 2, 2), 0.02)))

    assert energies(model).shape == (1, 3, 2, 2)
    torch.testing.assert_close(energies(again), energies(model))
    encoder, header = load_encoder(path)
    assert encoder.config == sizes == encoder_config(header["model"]["encoder"])
    torch.testing.assert_close(encoder(frames), model.encode(frames))


def test_a_backbone_that_this_timm_does_not_have_is_one_error(contract, config, tmp_path):
    model = WorldModel(moved(contract, 32), ModelConfig(timm_config(SMALL, 32), config.predictor, config.metric))
    path, header = tmp_path / "model.safetensors", dataclasses.asdict(model.config)
    header["encoder"]["timm"] = "vit_of_tomorrow"
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    checkpoint.write(path, tensors, "world_model", model.contract, header, [], {})
    with pytest.raises(CheckpointError, match="has no backbone 'vit_of_tomorrow'"):
        load(path)
