"""Attention by matrix products and by torch's kernel against the softmax written out in double precision."""

import dataclasses

import pytest
import torch

from jepa_robot.models import attend as module
from jepa_robot.models import linear
from jepa_robot.models.attend import attend, attention
from jepa_robot.models.world_model import WorldModel

HEADS, D = 3, 8

pytestmark = pytest.mark.skipif(linear._operator is None, reason="torch comes without oneDNN's linear layers")


def inputs(batch, queries, keys, scale=1.0):
    """As a layer has them: queries are a view of the joint projection, keys lie in memory that is longer."""
    generator = torch.Generator().manual_seed(queries + keys)
    joint = torch.randn(batch, queries, 3, HEADS, D, generator=generator).permute(2, 0, 3, 1, 4)
    memory = torch.randn(2, batch, keys + 7, HEADS, D, generator=generator).transpose(2, 3)
    return scale * joint[0], memory[0, :, :, :keys], memory[1, :, :, :keys]


def written_out(q, k, v):
    q, k, v = (part.double() for part in (q, k, v))
    out, total = torch.empty_like(q), q.new_empty(*q.shape[:3], 1)
    for b in range(q.shape[0]):
        for h in range(HEADS):
            for i, query in enumerate(q[b, h]):
                scores = torch.stack([query @ key for key in k[b, h]]) / D**0.5
                total[b, h, i] = scores.logsumexp(0)
                out[b, h, i] = (scores.softmax(0)[:, None] * v[b, h]).sum(0)
    return out.float(), total.float()


@pytest.fixture
def products(monkeypatch):
    """However few queries and keys there are, matrix products; a list of how often they were of use."""
    monkeypatch.setattr(module, "MANY_SCORES", 1)
    monkeypatch.setattr(linear, "MANY", 1)
    used, by_products = [], module._attend_by_products

    def noted(*parts):
        found = by_products(*parts)
        used.append(found is not None)
        return found

    monkeypatch.setattr(module, "_attend_by_products", noted)
    return used


@pytest.mark.parametrize("scores", [1, 50, 2**21], ids=lambda most: f"{most} scores at once")
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 9), (5, 4, 3)], ids=str)
@torch.inference_mode()
def test_products_are_attention(products, size, scores, monkeypatch):
    monkeypatch.setattr(module, "CACHED_SCORES", scores)
    q, k, v = inputs(*size)
    found, expected = attend(q, k, v), written_out(q, k, v)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(attention(q, k, v), expected[0], atol=2e-6, rtol=1e-5)
    assert products == [True, True]


@pytest.mark.parametrize("scale", [-200.0, 200.0])
@torch.inference_mode()
def test_scores_whose_exponentials_float32_cannot_hold(products, scale):
    """Every score of some query is 100 or more from 0, on the one side or on both."""
    q, k, v = inputs(2, 5, 9)
    q, k = scale * q.abs(), k.abs()
    found, expected = attend(q, k, v), written_out(q, k, v)
    assert expected[1].abs().max() > 100
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert products == [False]


@torch.inference_mode()
def test_what_is_no_number_is_left_to_the_kernel(products):
    q, k, v = inputs(1, 5, 9)
    q[0, 0, 2, 1] = float("nan")
    attend(q, k, v)
    assert products == [False]


def test_gradients_go_the_usual_way(products):
    q, k, v = inputs(1, 5, 9)
    q.requires_grad_()
    attention(q, k, v).sum().backward()
    assert q.grad.abs().max() > 0 and products == []


@torch.no_grad()
def test_rollouts_come_to_the_same(contract, config, scrambled, products):
    """Of two frames and three steps, with queries of all candidates to what they share among them."""
    predictor = dataclasses.replace(config.predictor, max_frames=8)
    model = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    latents = torch.randn(2, 2, config.encoder.tokens, config.encoder.width, generator=torch.Generator().manual_seed(0))
    states = model.state_low + 0.3 * (model.state_high - model.state_low).expand(2, 2, -1)
    actions = torch.rand(2, 4, 3, len(model.action_mean), generator=torch.Generator().manual_seed(1)) / 20
    rolled = model.rollout(model.context(latents, states, actions[:, 0, :1]), actions)
    assert all(products) and len(products) > 6
    module.MANY_SCORES = 10**9  # the fixture puts it back
    expected = model.rollout(model.context(latents, states, actions[:, 0, :1]), actions)
    torch.testing.assert_close(rolled, expected, atol=1e-5, rtol=1e-5)
    assert not torch.equal(rolled, expected)
