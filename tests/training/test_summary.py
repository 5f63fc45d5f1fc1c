"""One vector a frame, and VICReg's terms on it."""

import pytest
import torch

from jepa_robot.training.losses import variance_covariance
from jepa_robot.training.summary import DIMS, TARGET_STD, FrameSummary, SummaryConfig

TOKENS, WIDTH = 16, 12


def latents(*shape, seed=0):
    return torch.randn(*shape, TOKENS, WIDTH, generator=torch.Generator().manual_seed(seed))


def summary(of="flattened", head="fixed", seed=0):
    return FrameSummary(TOKENS, WIDTH, SummaryConfig(of, head), seed)


@pytest.mark.parametrize(("of", "features"), [("flattened", TOKENS * WIDTH), ("pooled", WIDTH)])
def test_the_projection_belongs_to_the_seed_and_to_nothing_else(of, features):
    torch.manual_seed(1)
    a = summary(of, seed=3).projection
    torch.manual_seed(2)
    b, c = summary(of, seed=3).projection, summary(of, seed=4).projection
    assert a.shape == (features, DIMS)
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("of", ["flattened", "pooled"])
def test_a_learned_head_begins_as_the_fixed_one_and_alone_is_trained(of):
    fixed, learned = summary(of), summary(of, "learned")
    x = latents(2, 3)
    assert torch.equal(fixed(x), learned(x))
    learned(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learned.parameters())
    assert not any(p.requires_grad for p in fixed.parameters())


def test_latents_of_the_target_s_standard_deviation_have_unit_variance():
    projected = summary()(TARGET_STD * latents(4000, 1))
    assert float(projected.var(0).mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("of", ["flattened", "pooled"])
def test_every_frame_is_one_sample(of):
    head, x = summary(of), latents(5, 3)
    rows = []
    for b in range(5):
        for t in range(3):
            tokens = x[b, t].reshape(-1) if of == "flattened" else sum(x[b, t, n] for n in range(TOKENS)) / TOKENS
            rows.append(tokens @ head.projection)
    torch.testing.assert_close(head(x), torch.stack(rows))


def test_a_collapsed_encoder_pays_the_whole_hinge_and_cannot_buy_its_way_out():
    same = latents(1, 1).expand(8, 4, TOKENS, WIDTH)
    variance, covariance = variance_covariance(summary()(same))
    assert float(variance) == pytest.approx(0.99, abs=1e-3) and float(covariance) == pytest.approx(0, abs=1e-6)


def test_where_things_are_counts_for_flattened_tokens_only():
    """The same tokens at other places are another frame."""
    tokens = latents(1, 1)[0]
    moved = torch.stack([tokens.roll(shift, dims=1) for shift in range(8)])
    assert float(variance_covariance(summary()(moved))[0]) < 0.5
    assert float(variance_covariance(summary("pooled")(moved))[0]) == pytest.approx(0.99, abs=1e-3)


def test_the_terms_push_frames_apart():
    x = (0.01 * latents(8, 4)).requires_grad_()
    variance_covariance(summary()(x))[0].backward()
    assert float((x.grad * (x - x.mean((0, 1))).detach()).sum()) < 0  # descending the gradient widens the differences
