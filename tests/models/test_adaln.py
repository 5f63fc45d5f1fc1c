"""Conditioning by AdaLN: the block's formula, its start as the identity, and the cached form."""

import pytest
import torch
import torch.nn.functional as F

from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig, block_causal_mask
from jepa_robot.models.attention import ModulatedBlock, initialise
from jepa_robot.models.rope import grid_positions, rotation_table

FRAMES, GRID, WIDTH, LATENT = 3, 2, 24, 12


def inputs(frames=FRAMES):
    generator = torch.Generator().manual_seed(0)
    shapes = ((GRID * GRID, LATENT), (2,), (3,))
    return [torch.randn(2, frames, *shape, generator=generator) for shape in shapes]


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    config = PredictorConfig(WIDTH, depth=2, heads=2, max_frames=4, conditioning="adaln")
    predictor = ActionConditionedPredictor(config, LATENT, GRID, action_dims=2, state_dims=3)
    for block in predictor.blocks:  # as after some training
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
        torch.nn.init.normal_(block.modulation.bias, std=0.3)
    torch.nn.init.normal_(predictor.proj.weight, std=0.3)
    return predictor.eval()


@torch.no_grad()
def test_a_block_shifts_scales_and_gates_every_frame_by_its_own_condition():
    torch.manual_seed(1)
    block = ModulatedBlock(WIDTH, heads=2)
    torch.nn.init.normal_(block.modulation.weight)
    x, condition = torch.randn(1, FRAMES * GRID**2, WIDTH), torch.randn(1, FRAMES, WIDTH)
    table = rotation_table(grid_positions(FRAMES, GRID, GRID), WIDTH // 2)
    mask = block_causal_mask(FRAMES, GRID**2)
    six = F.linear(condition * torch.sigmoid(condition), block.modulation.weight, block.modulation.bias)[0]

    def modulated(tokens, shift, scale):
        out = torch.empty_like(tokens)
        for i in range(tokens.shape[1]):
            values = six[i // GRID**2].split(WIDTH)
            out[0, i] = tokens[0, i] * (1 + values[scale]) + values[shift]
        return out

    def gated(tokens, gate):
        return torch.stack([t * six[i // GRID**2].split(WIDTH)[gate] for i, t in enumerate(tokens[0])])[None]

    inner = block.block
    expected = x + gated(inner.attn(modulated(inner.norm1(x), 0, 1), table, mask), 2)
    expected = expected + gated(inner.mlp(modulated(inner.norm2(expected), 3, 4)), 5)
    torch.testing.assert_close(block(x, table, condition, mask), expected)


@torch.no_grad()
def test_new_blocks_are_the_identity():
    block = ModulatedBlock(WIDTH, heads=2)
    initialise(block)
    x = torch.randn(1, GRID**2, WIDTH)
    table = rotation_table(grid_positions(1, GRID, GRID), WIDTH // 2)
    assert torch.equal(block(x, table, torch.randn(1, 1, WIDTH)), x)


@torch.no_grad()
@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("frame", range(FRAMES))
def test_a_frame_reaches_its_own_and_later_predictions_only(predictor, kind, frame):
    window = inputs()
    before = predictor(*window)
    window[kind] = window[kind].clone()
    window[kind][:, frame] += 1.0 + torch.arange(window[kind].shape[-1])
    change = (predictor(*window) - before).abs().amax(dim=(0, 2, 3))
    assert frame == 0 or change[:frame].max() < 1e-6
    assert change[frame:].min() > 1e-3


@torch.no_grad()
def test_frame_by_frame_with_a_cache_equals_the_whole_sequence(predictor):
    latents, actions, states = (x[:1] for x in inputs(frames=4))
    caches = predictor.cache(latents[:, :2], actions[:, :2], states[:, :2])
    for t in (2, 3):
        moment = (part[:, t : t + 1] for part in (latents, actions, states))
        last, caches = predictor.extend(*moment, caches, t)
    torch.testing.assert_close(last, predictor(latents, actions, states)[:, 3:], atol=1e-5, rtol=0)


def test_unknown_conditioning_is_refused():
    with pytest.raises(ValueError, match="conditioning is 'film'; expected tokens or adaln"):
        PredictorConfig(conditioning="film")
