"""The predictor of masked pretraining: which token a prediction belongs to."""

import pytest
import torch

from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.rope import grid_positions


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    predictor = MaskedPredictor(10, MaskedPredictorConfig(width=12, depth=2, heads=2))
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    return predictor.eval()


def tokens(seed=0):
    """visible [2, 3, 10], and the positions of 3 visible and 4 hidden tokens of 2 x 2 x 2."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(8, generator=generator) for _ in range(2)])
    positions = grid_positions(2, 2, 2)[order]
    return torch.randn(2, 3, 10, generator=generator), positions[:, :3], positions[:, 3:7]


@torch.no_grad()
def test_predictions_follow_the_hidden_positions(predictor):
    visible, seen, hidden = tokens()
    predicted = predictor(visible, seen, hidden)
    assert predicted.shape == (2, 4, 10)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(predictor(visible, seen, hidden[:, order]), predicted[:, order], atol=1e-5, rtol=0)
    assert (predicted[:, 0] - predicted[:, 1]).abs().max() > 1e-3


@torch.no_grad()
def test_visible_tokens_are_a_set_with_positions(predictor):
    visible, seen, hidden = tokens()
    predicted = predictor(visible, seen, hidden)
    order = torch.tensor([1, 2, 0])
    torch.testing.assert_close(predictor(visible[:, order], seen[:, order], hidden), predicted, atol=1e-5, rtol=0)
    assert (predictor(visible[:, order], seen, hidden) - predicted).abs().max() > 1e-3


@torch.no_grad()
def test_samples_do_not_see_each_other(predictor):
    visible, seen, hidden = tokens()
    together = predictor(visible, seen, hidden)
    for b in range(2):
        part = slice(b, b + 1)
        alone = predictor(visible[part], seen[part], hidden[part])
        torch.testing.assert_close(alone, together[part], atol=1e-5, rtol=0)


def test_the_mask_token_learns(predictor):
    predictor(*tokens()).square().sum().backward()
    assert predictor.mask_tokens.grad.abs().max() > 1e-4
