"""The collapse terms on a fixed random projection of whole frames."""

import pytest
import torch

from jepa_robot.training.spread import DIMS, TARGET_STD, Spread

TOKENS, WIDTH, CPU = 16, 12, torch.device("cpu")


def latents(*shape, seed=0):
    return torch.randn(*shape, TOKENS, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_the_projection_belongs_to_the_seed_and_to_nothing_else():
    torch.manual_seed(1)
    a = Spread(TOKENS, WIDTH, 3, CPU).projection
    torch.manual_seed(2)
    b, c = Spread(TOKENS, WIDTH, 3, CPU).projection, Spread(TOKENS, WIDTH, 4, CPU).projection
    assert a.shape == (TOKENS * WIDTH, DIMS) and not a.requires_grad
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_latents_of_the_target_s_standard_deviation_have_unit_variance():
    spread = Spread(TOKENS, WIDTH, 0, CPU)
    projected = (TARGET_STD * latents(4000)).flatten(1) @ spread.projection
    assert float(projected.var(0).mean()) == pytest.approx(1, abs=0.05)


def test_every_frame_is_one_sample_with_all_its_tokens():
    spread = Spread(TOKENS, WIDTH, 0, CPU)
    x = 0.2 * latents(5, 3)
    projected = torch.stack([x[b, t].reshape(-1) @ spread.projection for b in range(5) for t in range(3)])
    covariance = torch.cov(projected.T).double()
    hinge = (1 - (covariance.diagonal() + 1e-4).sqrt()).clamp_min(0).mean()
    off = (covariance.square().sum() - covariance.diagonal().square().sum()) / DIMS
    assert [float(v) for v in spread(x)] == pytest.approx([float(hinge), float(off)], rel=1e-3)


def test_a_collapsed_encoder_pays_the_whole_hinge_and_cannot_buy_its_way_out():
    spread = Spread(TOKENS, WIDTH, 0, CPU)
    same = latents(1, 1).expand(8, 4, TOKENS, WIDTH)
    variance, covariance = spread(same)
    assert float(variance) == pytest.approx(0.99, abs=1e-3) and float(covariance) == pytest.approx(0, abs=1e-6)
    # Where things are counts: the same tokens at other places are another frame.
    moved = torch.stack([same[0].roll(shift, dims=1) for shift in range(8)])
    assert float(spread(moved)[0]) < 0.5


def test_the_terms_push_frames_apart():
    spread = Spread(TOKENS, WIDTH, 0, CPU)
    x = (0.01 * latents(8, 4)).requires_grad_()
    spread(x)[0].backward()
    assert float((x.grad * (x - x.mean((0, 1))).detach()).sum()) < 0  # descending the gradient widens the differences
