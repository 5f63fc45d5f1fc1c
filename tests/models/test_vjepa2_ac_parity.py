"""The action-conditioned predictor with weights in V-JEPA 2-AC's layout, against loops in that layout.

No package has a class for it, so the formula is written out here: names, token order, interleaved pairs with tiled
frequencies, and the mask, one number after the other in float64.
"""

import math

import pytest
import torch
from torch import nn

from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.vjepa2 import plan_action_conditioned

LATENT, WIDTH, DEPTH, HEADS, GRID, ACTIONS = 10, 40, 2, 2, 2, 7  # heads of 20: 6 + 6 + 6 turn, 2 do not


def published_weights(seed=0):
    """Random tensors with the names and shapes of a released ``predictor``."""
    torch.manual_seed(seed)
    linear = {
        "predictor_embed": (LATENT, WIDTH), "action_encoder": (ACTIONS, WIDTH), "state_encoder": (ACTIONS, WIDTH),
        "extrinsics_encoder": (ACTIONS - 1, WIDTH), "predictor_proj": (WIDTH, LATENT),
    }
    norms = ["predictor_norm"]
    for i in range(DEPTH):
        block = f"predictor_blocks.{i}"
        linear |= {
            f"{block}.attn.qkv": (WIDTH, 3 * WIDTH), f"{block}.attn.proj": (WIDTH, WIDTH),
            f"{block}.mlp.fc1": (WIDTH, 4 * WIDTH), f"{block}.mlp.fc2": (4 * WIDTH, WIDTH),
        }
        norms += [f"{block}.norm1", f"{block}.norm2"]
    weights = {}
    for name, (inputs, outputs) in linear.items():
        weights |= {f"{name}.{kind}": value.data for kind, value in nn.Linear(inputs, outputs).named_parameters()}
    for name in norms:
        weights |= {f"{name}.weight": 1 + 0.2 * torch.randn(WIDTH), f"{name}.bias": 0.2 * torch.randn(WIDTH)}
    assert len(weights) == 12 + 12 * DEPTH
    return weights


# -- the formula -------------------------------------------------------------------------------------------


def linear(w, name, x):
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def norm(w, name, x):
    scaled = (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-6)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def turned(x, position):
    """A head's query or key [20]: for each axis dimensions (0, 1), (2, 3), (4, 5); member j has frequency j mod 3."""
    out, dims = x.clone(), 2 * ((len(x) // 3) // 2)
    for axis, place in enumerate(position):
        for j in range(dims):
            angle = place / 10000 ** ((j % (dims // 2)) / (dims / 2))
            at = axis * dims + j
            other = -x[at + 1] if j % 2 == 0 else x[at - 1]
            out[at] = x[at] * math.cos(angle) + other * math.sin(angle)
    return out


def predict(w, latents, actions, states, poses):
    """[T, N, D], [T, 7], [T, 7], [T, 6] or None -> [T, N, D]."""
    tokens, positions, frames = [], [], []
    for t in range(len(latents)):
        conditions = [linear(w, "action_encoder", actions[t]), linear(w, "state_encoder", states[t])]
        if poses is not None:
            conditions.append(linear(w, "extrinsics_encoder", poses[t]))
        tokens += conditions + [linear(w, "predictor_embed", patch) for patch in latents[t]]
        positions += [(t,)] * len(conditions) + [(t, n // GRID, n % GRID) for n in range(GRID * GRID)]
        frames += [t] * (len(conditions) + GRID * GRID)
    for i in range(DEPTH):
        block, d = f"predictor_blocks.{i}", WIDTH // HEADS
        qkv = [linear(w, f"{block}.attn.qkv", norm(w, f"{block}.norm1", x)) for x in tokens]
        attended = []
        for a, x in enumerate(qkv):
            out = []
            for h in range(HEADS):
                query = turned(x[h * d : (h + 1) * d], positions[a])
                seen = [b for b in range(len(tokens)) if frames[b] <= frames[a]]
                keys = [turned(qkv[b][WIDTH + h * d : WIDTH + (h + 1) * d], positions[b]) for b in seen]
                powers = [math.exp(float(query @ key) / math.sqrt(d)) for key in keys]
                values = [qkv[b][2 * WIDTH + h * d : 2 * WIDTH + (h + 1) * d] for b in seen]
                out.append(sum(p * v for p, v in zip(powers, values)) / sum(powers))
            attended.append(linear(w, f"{block}.attn.proj", torch.cat(out)))
        tokens = [x + y for x, y in zip(tokens, attended)]
        for a, x in enumerate(tokens):
            hidden = linear(w, f"{block}.mlp.fc1", norm(w, f"{block}.norm2", x))
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            tokens[a] = x + linear(w, f"{block}.mlp.fc2", hidden)
    per_frame = len(tokens) // len(latents)
    patches = [x for a, x in enumerate(tokens) if a % per_frame >= per_frame - GRID * GRID]
    out = [linear(w, "predictor_proj", norm(w, "predictor_norm", x)) for x in patches]
    return torch.stack(out).unflatten(0, (len(latents), -1))


# -- tests -------------------------------------------------------------------------------------------------


def ours(weights, extrinsics):
    plan = plan_action_conditioned(weights, HEADS, WIDTH // HEADS, extrinsics)
    unused = [] if extrinsics else ["extrinsics_encoder.weight", "extrinsics_encoder.bias"]
    assert plan.unused == unused and not plan.missing
    config = PredictorConfig(
        WIDTH, DEPTH, HEADS, max_frames=4, extrinsics=extrinsics, predicts="latents", tiled_rope=True
    )
    predictor = ActionConditionedPredictor(config, LATENT, GRID, ACTIONS, ACTIONS)
    predictor.load_state_dict(plan.tensors(weights), strict=True)
    return predictor.eval()


def window(frames):
    generator = torch.Generator().manual_seed(5)
    shapes = ((GRID * GRID, LATENT), (ACTIONS,), (ACTIONS,), (ACTIONS - 1,))
    return [torch.randn(frames, *shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("extrinsics", [False, True])
@torch.no_grad()
def test_predictions_equal_the_published_formula(extrinsics):
    weights = published_weights()
    predictor = ours(weights, extrinsics)
    *inputs, poses = window(frames=3)
    inputs.append(poses if extrinsics else None)
    slow = predict({name: value.double() for name, value in weights.items()}, *(
        None if x is None else x.double() for x in inputs
    ))
    fast = predictor(*(None if x is None else x[None] for x in inputs))[0]
    assert slow.std() > 0.1
    torch.testing.assert_close(fast.double(), slow, atol=1e-5, rtol=0)


@torch.no_grad()
def test_frame_by_frame_with_a_cache_is_the_same_network():
    predictor = ours(published_weights(), extrinsics=True)
    inputs = window(frames=4)
    inputs[3] = inputs[3][:1].expand(4, -1)  # a camera that stands still
    whole = predictor(*(x[None] for x in inputs))[0]
    latents, actions, states, poses = inputs
    pose = poses[None, :1]
    caches = predictor.cache(latents[None, :3], actions[None, :3], states[None, :3], pose)
    last, _ = predictor.extend(latents[None, 3:], actions[None, 3:], states[None, 3:], caches, 3, pose)
    torch.testing.assert_close(last[0, 0], whole[3], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("extrinsics", "message"), [(True, "and got none"), (False, "and got one")])
def test_a_camera_pose_too_few_or_too_many_is_refused(extrinsics, message):
    predictor = ours(published_weights(), extrinsics)
    latents, actions, states, poses = (x[None] for x in window(frames=2))
    with pytest.raises(ValueError, match=message):
        predictor(latents, actions, states, None if extrinsics else poses)
