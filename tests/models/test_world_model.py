"""The contract inside the model, its statistics and its metric; see test_rollout for rollouts."""

import dataclasses

import pytest
import torch

from jepa_robot.errors import ConfigError, ContractError
from jepa_robot.models.standardise import Standardise
from jepa_robot.models.world_model import WorldModel

def layer_norm(x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()


def slow_prediction(model, latents, actions, states):
    """Latents [1, T, N, D], normalised actions and states -> next latents: a standardised change is added."""
    mean, std = model.standardise.mean, model.standardise.variance.clamp_min(0.02**2).sqrt()
    output = model.predictor((latents - mean) / std, actions, states)
    return layer_norm((latents if model.config.predictor.predicts == "change" else mean) + std * output)


def past(model, frames, seed=0):
    """Latents [1, T, N, D], states [1, T, P] and executed actions [1, T - 1, A], physical."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.nn.functional.layer_norm(torch.randn(1, frames, 4, 12, generator=generator), (12,))
    states = torch.rand(1, frames, 3, generator=generator) * torch.tensor([0.4, 2, 1]) + torch.tensor([-0.2, -1, 0])
    actions = (torch.rand(1, frames - 1, 2, generator=generator) - 0.5) * torch.tensor([0.1, 0.5])
    return latents, states, actions


@torch.no_grad()
def test_a_model_without_a_metric_head_says_where_to_plan(contract, config):
    model = WorldModel(contract, dataclasses.replace(config, metric=None))
    with pytest.raises(ConfigError, match="no metric space.*planner.energy.space=latent"):
        model.metric(torch.zeros(4, 12))


def test_state_advances_by_the_contract_and_stays_inside_its_bounds(model):
    state, action = torch.tensor([[0.18, 0.4, 0.1]]), torch.tensor([[0.05, -0.25], [-0.05, 0.2]])
    expected = torch.tensor([[0.2, 0.4, 0.0], [0.13, 0.4, 0.3]])
    torch.testing.assert_close(model.advance(state, action), expected)


@pytest.mark.parametrize("predicts", ["change", "latents"])
@torch.no_grad()
def test_predict_takes_physical_units(contract, config, scrambled, predicts):
    predictor = dataclasses.replace(config.predictor, predicts=predicts)
    model = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    latents, states, actions = past(model, 4)
    normalised_actions = (actions - torch.tensor([0.01, -0.02])) / torch.tensor([0.02, 0.1])
    normalised_states = (states - torch.tensor([0.02, 0.3, 0.5])) / torch.tensor([0.1, 0.5, 0.3])
    expected = slow_prediction(model, latents[:, :3], normalised_actions, normalised_states[:, :3])
    predicted = model.predict(latents[:, :3], actions, states[:, :3])
    torch.testing.assert_close(predicted, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(predicted.mean(-1), torch.zeros(1, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(predicted.std(-1, correction=0), torch.ones(1, 3, 4), atol=1e-3, rtol=0)


@torch.no_grad()
def test_a_new_model_starts_from_copying_the_frame(contract, config):
    torch.manual_seed(0)
    latents, states, actions = past(WorldModel(contract, config), 4)
    predicted = WorldModel(contract, config).predict(latents[:, :3], actions, states[:, :3])
    assert (predicted - latents[:, :3]).square().mean() < 0.05


def batches(count, seed=0):
    """[count, 5, 3, N=2, D=4] with means and scales of each token and dimension's own."""
    generator = torch.Generator().manual_seed(seed)
    scale, mean = torch.rand(2, 4, generator=generator) + 0.5, torch.randn(2, 4, generator=generator)
    varied = torch.randn(count, 5, 3, 2, 4, generator=generator) * scale + mean
    return varied + torch.randn(count, 1, 1, 2, 4, generator=generator)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_statistics_of_the_first_batches_are_those_of_all_their_frames(count):
    standardise, data = Standardise(2, 4), batches(count)
    for batch in data:
        standardise.update(batch)
    samples = data.flatten(0, 2)
    torch.testing.assert_close(standardise.mean, samples.mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardise.variance, samples.var(0, correction=0), atol=1e-5, rtol=1e-5)
    standardised = standardise(samples)
    torch.testing.assert_close(standardised.mean(0), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0), torch.ones(2, 4), atol=1e-4, rtol=0)


def test_statistics_follow_the_latents():
    standardise = Standardise(2, 4)
    for batch in batches(60):
        standardise.update(batch)
    for batch in 3 * batches(400, seed=1) + 10:
        standardise.update(batch)
    samples = (3 * batches(400, seed=1) + 10).flatten(0, 2)
    torch.testing.assert_close(standardise.mean, samples.mean(0), atol=1.0, rtol=0)
    torch.testing.assert_close(standardise.std, samples.std(0), atol=0, rtol=0.25)


def test_what_never_changes_is_not_blown_up_and_statistics_carry_no_gradient():
    standardise = Standardise(2, 4)
    latents = torch.full((3, 2, 4), 7.0, requires_grad=True)
    standardise.update(latents)
    assert not standardise.mean.requires_grad and not standardise.variance.requires_grad
    assert (standardise(latents) == 0).all()
    assert float((standardise(latents + 0.02) - 1).detach().abs().max()) < 1e-3


@torch.no_grad()
def test_metric_is_one_vector_a_frame_of_all_its_tokens(model):
    latents, _, _ = past(model, 3)
    vectors = model.metric(latents)
    assert vectors.shape == (1, 3, 2)
    for t in range(3):
        torch.testing.assert_close(model.metric(latents[0, t]), vectors[0, t], atol=1e-5, rtol=1e-5)
    for n in range(4):
        changed = latents.clone()
        changed[:, 0, n] += 1
        change = (model.metric(changed) - vectors).abs().amax(dim=(0, 2))
        assert change[0] > 1e-3 and change[1:].max() < 1e-6


def test_novelty_is_the_mean_square_of_standardised_latents(model):
    torch.manual_seed(0)
    for _ in range(3):
        model.standardise.update(torch.randn(50, 4, 12) * 0.3 + 2)
    latents = torch.randn(6, 2, 4, 12)
    found = model.novelty(latents)
    mean, std = model.standardise.mean, model.standardise.std
    for b in range(6):
        for t in range(2):
            total = sum(
                float((latents[b, t, n, d] - mean[n, d]) / std[n, d]) ** 2 for n in range(4) for d in range(12)
            )
            assert float(found[b, t]) == pytest.approx(total / 48, rel=1e-4)
    like_training = torch.randn(200, 4, 12) * 0.3 + 2
    assert model.novelty(like_training).mean().item() == pytest.approx(1, abs=0.05)
    assert found.min() > 20


def test_encode_is_the_encoder_with_the_contract_s_pixels(model):
    frames = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.encode(frames), model.encoder(frames))
    assert model.encoder.pixel_mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert model.encoder.pixel_std.flatten().tolist() == pytest.approx([0.2, 0.25, 0.3])


def test_contract_that_does_not_fit_is_refused(contract, config):
    def refused(match, **changes):
        with pytest.raises(ContractError, match=match):
            WorldModel(dataclasses.replace(contract, **changes), config)

    camera, (dx, gripper), (x, *others) = contract.camera, contract.actions, contract.states
    refused("front is 16x16 pixels; expected 8x8", cameras=(dataclasses.replace(camera, height=16, width=16),))
    refused("camera front has no normalisation", cameras=(dataclasses.replace(camera, mean=None),))
    refused("action dx has no normalisation", actions=(dataclasses.replace(dx, std=None), gripper))
    refused("state x has no normalisation", states=(dataclasses.replace(x, mean=None), *others))
