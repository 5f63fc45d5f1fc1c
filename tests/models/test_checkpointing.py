"""Blocks that compute their insides again: the same numbers and gradients, and less kept for them."""

import dataclasses

import pytest
import torch

from jepa_robot.models.attention import set_checkpointing
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.world_model import WorldModel


def gradients(module, output):
    return torch.autograd.grad(output.square().sum(), list(module.parameters()), allow_unused=True)


def kept(make):
    """Bytes that autograd keeps while ``make`` runs."""
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = make()
    return output, sum(storages.values())


def test_the_encoder_gives_the_same_and_keeps_less():
    torch.manual_seed(0)
    encoder = VideoEncoder(EncoderConfig(image_size=32, patch_size=8, width=48, depth=4, heads=4))
    frames = torch.randint(256, (2, 2, 32, 32, 3), dtype=torch.uint8)
    plain, much = kept(lambda: encoder(frames))
    set_checkpointing(encoder, True)
    again, little = kept(lambda: encoder(frames))
    assert torch.equal(again, plain)
    for a, b in zip(gradients(encoder, again), gradients(encoder, plain)):
        torch.testing.assert_close(a, b)
    assert little < much / 2


@pytest.mark.parametrize("conditioning", ["tokens", "adaln"])
def test_the_predictor_gives_the_same(conditioning, contract, config, scrambled):
    predictor = dataclasses.replace(config.predictor, conditioning=conditioning)
    model = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    latents = torch.randn(2, 3, 4, 12, requires_grad=True)
    actions, states = torch.zeros(2, 3, 2), torch.zeros(2, 3, 3)
    plain = model.predict(latents, actions, states)
    (expected,) = torch.autograd.grad(plain.square().sum() + plain.sum(), latents)
    set_checkpointing(model, True)
    again = model.predict(latents, actions, states)
    (found,) = torch.autograd.grad(again.square().sum() + again.sum(), latents)
    assert torch.equal(again, plain)
    torch.testing.assert_close(found, expected)
