"""The action-conditioned predictor against loops over frames, heads and tokens."""

import math

import pytest
import torch

from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig, block_causal_mask
from jepa_robot.models.attention import Attention
from jepa_robot.models.rope import rotation_table

FRAMES, GRID, WIDTH = 4, 2, 12
TOKENS = GRID * GRID


def window(seed=0, batch=2, frames=FRAMES):
    """Latents [B, T, 4, 12], actions [B, T, 2], states [B, T, 3], normalised."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, frames, TOKENS, WIDTH, generator=generator)
    latents = torch.nn.functional.layer_norm(latents, (WIDTH,))
    actions, states = (torch.randn(batch, frames, dims, generator=generator) for dims in (2, 3))
    return latents, actions, states


# -- an independent implementation, one number after the other ---------------------------------------------


def linear(weights, name, x):
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def norm(x, weight, bias):
    return (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-6) * weight + bias


def turned(x, position):
    """One head's query or key [d], pairs d / 2 apart."""
    d = len(x)
    pairs = (d // 3) // 2
    out = x.clone()
    for axis in range(3):
        for i in range(pairs):
            a, j = position[axis] * 10000 ** (-i / pairs), axis * pairs + i
            out[j] = x[j] * math.cos(a) - x[j + d // 2] * math.sin(a)
            out[j + d // 2] = x[j] * math.sin(a) + x[j + d // 2] * math.cos(a)
    return out


def slow_forward(predictor, latents, actions, states):
    """One sample: latents [T, N, D], actions [T, A], states [T, P] -> change [T, N, D] in float64."""
    w = {name: value.double() for name, value in predictor.state_dict().items()}
    latents, actions, states = latents.double(), actions.double(), states.double()
    heads = predictor.config.heads
    tokens, positions, frame_of = [], [], []
    for t in range(len(latents)):
        tokens += [linear(w, "action_embed", actions[t]), linear(w, "state_embed", states[t])]
        positions += [(t, 0, 0), (t, 0, 0)]  # by frame only
        for row in range(GRID):
            for column in range(GRID):
                tokens.append(linear(w, "embed", latents[t, row * GRID + column]))
                positions.append((t, row, column))
        frame_of += [t] * (2 + TOKENS)
    for block in range(predictor.config.depth):
        name = f"blocks.{block}"
        normed = [norm(x, w[f"{name}.norm1.weight"], w[f"{name}.norm1.bias"]) for x in tokens]
        q, k, v = zip(*(linear(w, f"{name}.attn.qkv", x).chunk(3) for x in normed))
        d = len(q[0]) // heads
        attended = []
        for i in range(len(tokens)):
            out = []
            for h in range(heads):
                part = slice(h * d, (h + 1) * d)
                seen = [j for j in range(len(tokens)) if frame_of[j] <= frame_of[i]]
                query = turned(q[i][part], positions[i])
                scores = [float(query @ turned(k[j][part], positions[j])) / math.sqrt(d) for j in seen]
                powers = [math.exp(s - max(scores)) for s in scores]
                out.append(sum(p / sum(powers) * v[j][part] for p, j in zip(powers, seen)))
            attended.append(linear(w, f"{name}.attn.proj", torch.cat(out)))
        tokens = [x + a for x, a in zip(tokens, attended)]
        for i, x in enumerate(tokens):
            hidden = linear(w, f"{name}.mlp.0", norm(x, w[f"{name}.norm2.weight"], w[f"{name}.norm2.bias"]))
            hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
            tokens[i] = x + linear(w, f"{name}.mlp.2", hidden)
    change = torch.empty_like(latents)
    for t in range(len(latents)):
        for n in range(TOKENS):
            x = tokens[t * (2 + TOKENS) + 2 + n]
            change[t, n] = linear(w, "proj", norm(x, w["norm.weight"], w["norm.bias"]))
    return change


# -- tests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3])
def test_forward_equals_loops(predictor, frames):
    latents, actions, states = window(batch=2, frames=frames)
    with torch.no_grad():
        predicted = predictor(latents, actions, states)
        for b in range(2):
            slow = slow_forward(predictor, latents[b], actions[b], states[b])
            torch.testing.assert_close(predicted[b].double(), slow, atol=2e-5, rtol=0)


def test_block_causal_mask_equals_loops():
    frames, tokens = 3, 4
    mask = block_causal_mask(frames, tokens)
    assert mask.shape == (12, 12) and mask.dtype == torch.bool
    for i in range(12):
        for j in range(12):
            assert mask[i, j] == (j // tokens <= i // tokens)


@pytest.mark.parametrize("kind", ["latents", "actions", "states"])
@pytest.mark.parametrize("frame", range(FRAMES))
@torch.no_grad()
def test_a_frame_reaches_its_own_and_later_predictions_only(predictor, kind, frame):
    inputs = dict(zip(("latents", "actions", "states"), window()))
    before = predictor(**inputs)
    inputs[kind] = inputs[kind].clone()
    inputs[kind][:, frame] += torch.randn(inputs[kind][:, frame].shape, generator=torch.Generator().manual_seed(9))
    change = (predictor(**inputs) - before).abs().amax(dim=(0, 2, 3))
    assert change[:frame].max() < 1e-6 if frame else True
    assert change[frame:].min() > 1e-2


@torch.no_grad()
def test_inside_a_frame_every_patch_sees_every_other(predictor):
    latents, actions, states = window(batch=1)
    before = predictor(latents, actions, states)[0]
    for n in range(TOKENS):
        changed = latents.clone()
        changed[0, 1, n] = changed[0, 1, n].flip(-1)
        change = (predictor(changed, actions, states)[0] - before).abs().amax(-1)  # [T, N]
        assert change[1:].min() > 1e-4
        assert change[0].max() < 1e-6


def test_action_and_state_turn_by_frame_only_and_patches_by_frame_row_and_column(predictor):
    head = predictor.config.width // predictor.config.heads
    for t in range(predictor.config.max_frames):
        rows = slice(t * (2 + TOKENS), (t + 1) * (2 + TOKENS))
        patches = [[t, r, c] for r in range(GRID) for c in range(GRID)]
        cos, sin = rotation_table(torch.tensor([[t, 0, 0], [t, 0, 0], *patches], dtype=torch.float32), head)
        assert torch.equal(predictor.cos[rows], cos) and torch.equal(predictor.sin[rows], sin)


@torch.no_grad()
def test_new_weights_predict_little_change():
    torch.manual_seed(0)
    config = PredictorConfig(width=16, depth=2, heads=2, max_frames=6)
    predictor = ActionConditionedPredictor(config, latent_width=WIDTH, grid=GRID, action_dims=2, state_dims=3)
    assert predictor(*window()).square().mean() < 0.05


def test_longer_than_trained_is_refused(predictor):
    predictor(*window(frames=6))
    with pytest.raises(ValueError, match="sequence of 7 frames; .* up to 6"):
        predictor(*window(frames=7))


def test_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width 10 is not divisible by 3 heads"):
        Attention(10, 3)
