"""Rollouts with cached keys and values against the plain forward pass over the whole sequence."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from jepa_robot.errors import ConfigError
from jepa_robot.models.pooled_encoder import PooledEncoderConfig
from jepa_robot.models.world_model import WorldModel
from jepa_robot.spec import Dim

ENVIRONMENTS, CANDIDATES, HORIZON = 2, 5, 3
VARIANTS = [
    {}, {"predicts": "latents"}, {"tiled_rope": True}, {"extrinsics": True}, {"depth": 1}, {"depth": 3},
    {"conditioning": "adaln"}, {"conditioning": "adaln", "predicts": "latents"},
    {"conditioning": "adaln", "extrinsics": True},
]


def past(model, frames, seed=0):
    """Latents [E, T, N, D], states [E, T, P], executed actions [E, T - 1, A], physical, and poses [E, 6] or None."""
    generator = torch.Generator().manual_seed(seed)
    tokens, width = model.config.encoder.tokens, model.config.encoder.width
    latents = torch.randn(ENVIRONMENTS, frames, tokens, width, generator=generator)
    low, high = model.state_low, model.state_high
    states = low + (high - low) * torch.rand(ENVIRONMENTS, frames, len(low), generator=generator)
    actions = plans(model, frames - 1, generator)[:, 0]
    poses = torch.randn(ENVIRONMENTS, 6, generator=generator) if model.config.predictor.extrinsics else None
    return F.layer_norm(latents, (width,)), states, actions, poses


def plans(model, horizon=HORIZON, generator=None):
    """[E, S, H, A]; the last candidate drives the states into their bounds."""
    generator = generator or torch.Generator().manual_seed(1)
    high = torch.tensor(model.contract.action_high)
    actions = (2 * torch.rand(ENVIRONMENTS, CANDIDATES, horizon, len(high), generator=generator) - 1) * high
    actions[:, -1] = 3 * high
    return actions


def slow_rollout(model, latents, states, actions, poses, plan):
    """One environment and candidate, [T, ...] and [H, A]: the last ``max_frames`` through `predict` at every step."""
    contract, most = model.contract, model.config.predictor.max_frames
    names = [d.name for d in contract.states]
    predicted = []
    for action in plan:
        actions = torch.cat([actions, action[None]])
        window = [part[None, -most:] for part in (latents, actions, states)]
        window.append(None if poses is None else poses.expand(1, len(window[0][0]), 6))
        latents = torch.cat([latents, model.predict(*window)[0, -1:]])
        predicted.append(latents[-1])
        state = states[-1].clone()
        turned = [names.index(d.composes) for d in contract.actions if d.composes]
        if turned:
            angles = [float(a) for a, d in zip(action, contract.actions) if d.composes]
            both = Rotation.from_euler("xyz", angles) * Rotation.from_euler("xyz", state[turned].numpy())
            state[turned] = torch.from_numpy(both.as_euler("xyz")).float()
        for value, dim in zip(action, contract.actions):
            if dim.integrates:
                state[names.index(dim.integrates)] += value
        states = torch.cat([states, state.clamp(model.state_low, model.state_high)[None]])
    return torch.stack(predicted)


def check(model, frames, horizon=HORIZON):
    """A rollout of all environments and candidates against each alone."""
    *moments, poses = past(model, frames)
    candidates = plans(model, horizon)
    with torch.inference_mode():
        rolled = model.rollout(model.context(*moments, poses), candidates)
        assert rolled.shape == (ENVIRONMENTS, CANDIDATES, horizon, *moments[0].shape[2:])
        for e in range(ENVIRONMENTS):
            for s in range(CANDIDATES):
                pose = None if poses is None else poses[e]
                slow = slow_rollout(model, *(part[e] for part in moments), pose, candidates[e, s])
                assert slow.std() > 0.3 and (slow[0] - slow[-1]).abs().max() > 0.1
                torch.testing.assert_close(rolled[e, s], slow, atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_rollout_equals_the_whole_sequence_at_every_step(contract, config, scrambled, variant, frames):
    predictor = dataclasses.replace(config.predictor, **variant)
    check(scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor))), frames)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("conditioning", ["tokens", "adaln"])
def test_one_token_a_frame_rolls_out_the_same(contract, config, scrambled, conditioning, frames):
    predictor = dataclasses.replace(config.predictor, conditioning=conditioning)
    pooled = PooledEncoderConfig(config.encoder, "linear", 16)
    check(scrambled(WorldModel(contract, dataclasses.replace(config, encoder=pooled, predictor=predictor))), frames)


def test_poses_turn_by_rotations_along_the_rollout(contract, config, scrambled):
    angles = ("roll", "pitch", "yaw")
    turning = dataclasses.replace(
        contract,
        actions=(
            Dim("dx", "m", "base", -0.05, 0.05, "x", mean=0.0, std=0.02),
            *(Dim(f"d{name}", "rad", "base", -0.3, 0.3, composes=name, mean=0.0, std=0.1) for name in angles),
        ),
        states=(
            *(Dim(name, "rad", "base", -0.9, 0.9, mean=0.0, std=0.2) for name in angles),
            Dim("x", "m", "base", -0.2, 0.2, mean=0.0, std=0.1),
        ),
    )
    check(scrambled(WorldModel(turning, config)), frames=2)


@pytest.mark.parametrize(("frames", "horizon"), [(1, 6), (1, 5), (3, 5), (4, 3), (5, 4), (6, 2)])
@pytest.mark.parametrize("variant", [{}, {"conditioning": "adaln"}, {"extrinsics": True}], ids=str)
def test_of_more_frames_than_trained_on_the_last_ones_count(contract, config, scrambled, variant, frames, horizon):
    predictor = dataclasses.replace(config.predictor, max_frames=4, **variant)
    check(scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor))), frames, horizon)


@torch.no_grad()
def test_candidates_do_not_see_each_other_and_leave_the_context_alone(model):
    context, candidates = model.context(*past(model, 2)), plans(model)
    together = model.rollout(context, candidates)
    for s in range(CANDIDATES):
        alone = model.rollout(context, candidates[:, s : s + 1])
        torch.testing.assert_close(alone[:, 0], together[:, s], atol=1e-5, rtol=0)
    assert torch.equal(model.rollout(context, candidates), together)


@torch.no_grad()
def test_an_action_reaches_its_own_and_later_predictions_only(model):
    context, candidates = model.context(*past(model, 2)), plans(model)
    before = model.rollout(context, candidates)
    for h in range(HORIZON):
        changed = candidates.clone()
        changed[:, :, h] = -changed[:, :, h]
        change = (model.rollout(context, changed) - before).abs().amax(dim=(0, 1, 3, 4))
        assert (change[:h] == 0).all() and change[h:].min() > 1e-3


@torch.no_grad()
def test_the_past_matters(model):
    latents, states, actions, _ = past(model, 3)
    before = model.rollout(model.context(latents, states, actions), plans(model))
    for changed in (
        (torch.cat([latents.flip(1)[:, :2], latents[:, 2:]], dim=1), states, actions),
        (latents, states + torch.tensor([0.1, 0, 0]), actions),
        (latents, states, -actions),
    ):
        assert (model.rollout(model.context(*changed), plans(model)) - before).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("variant", [{}, {"conditioning": "adaln"}], ids=str)
def test_gradients_of_a_rollout_are_those_of_the_whole_sequence(contract, config, scrambled, variant, frames):
    predictor = dataclasses.replace(config.predictor, **variant)
    model = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    model.requires_grad_(False)
    *moments, _ = past(model, frames)
    candidates = 0.5 * plans(model)[:, :-1]  # none of which is held at a bound
    moments[1] = moments[1] * 0.2 + 0.8 * (model.state_low + model.state_high) / 2
    with torch.no_grad():
        context = model.context(*moments)
    candidates.requires_grad_()
    weights = torch.randn(HORIZON, *moments[0].shape[2:], generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad((model.rollout(context, candidates) * weights).sum(), candidates)
    for e in range(ENVIRONMENTS):
        for s in range(len(candidates[e])):
            plan = candidates[e, s].detach().requires_grad_()
            rolled = slow_rollout(model, *(part[e] for part in moments), None, plan)
            (slow,) = torch.autograd.grad((rolled * weights).sum(), plan)
            assert slow.abs().min() > 1e-3
            torch.testing.assert_close(found[e, s], slow, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 2])
@torch.inference_mode()
def test_in_bf16_a_rollout_is_near_that_in_float32(model, frames):
    *moments, _ = past(model, frames)
    exact = model.rollout(model.context(*moments), plans(model))
    with torch.autocast("cpu", torch.bfloat16):
        rolled = model.rollout(model.context(*moments), plans(model))
    error = (rolled - exact).square().mean().sqrt()
    assert rolled.dtype == torch.float32 and 1e-4 < error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("variant", [{}, {"conditioning": "adaln"}], ids=str)
def test_compiled_blocks_roll_out_the_same(contract, config, scrambled, variant, monkeypatch):
    """Of the compiler the part that could go wrong here, tracing, without the minutes of generating code."""
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **how: compile(function, backend="eager", **how))
    predictor = dataclasses.replace(config.predictor, max_frames=4, **variant)
    model = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    model.compile_rollouts()
    before = torch._dynamo.utils.counters["frames"]["ok"]
    for frames, horizon in ((1, 2), (2, 4)):
        check(model, frames, horizon)
    assert torch._dynamo.utils.counters["frames"]["ok"] > before


@pytest.mark.slow
@pytest.mark.parametrize("variant", [{}, {"conditioning": "adaln"}], ids=str)
def test_whole_rollouts_are_one_graph(contract, config, scrambled, variant, monkeypatch):
    """Without a GPU: that nothing in a rollout breaks the graph, and what it computes."""
    compile, asked = torch.compile, []

    def traced(function, **how):
        asked.append(how)
        return compile(function, backend="eager", fullgraph=True)

    predictor = dataclasses.replace(config.predictor, max_frames=4, **variant)
    model = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    with pytest.raises(ConfigError, match="planner.cuda_graphs: needs a GPU, and the model is on cpu"):
        model.graph_rollouts()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", traced)
        patch.setattr(WorldModel, "device", torch.device("cuda"))
        model.graph_rollouts()
    for frames, horizon in ((1, 2), (2, 4)):
        check(model, frames, horizon)
    assert asked == [{"mode": "reduce-overhead"}]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs_roll_out_the_same(contract, config, scrambled):
    model = scrambled(WorldModel(contract, config)).to("cuda")
    moments = [part.to("cuda") for part in past(model, 2)[0:3]]
    first, second = (plans(model).to("cuda") * scale for scale in (1.0, 0.5))
    with torch.inference_mode():
        context = model.context(*moments)
        expected = [model.rollout(context, actions).clone() for actions in (first, second)]
        model.graph_rollouts()
        found = [model.rollout(context, actions) for actions in (first, second)]  # the second overwrites no first
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_a_camera_that_stands_still_is_named_once(contract, config, scrambled, model):
    predictor = dataclasses.replace(config.predictor, extrinsics=True)
    posed = scrambled(WorldModel(contract, dataclasses.replace(config, predictor=predictor)))
    latents, states, actions, _ = past(posed, 2)
    with pytest.raises(ConfigError, match="planner.camera_pose: is not given.*camera_pose=.x,y,z,a,b,c."):
        posed.context(latents, states, actions)
    posed.set_camera_pose([1, 0.5, 2, 0, 3, 0])
    pose = torch.tensor([[1, 0.5, 2, 0, 3, 0]]).expand(ENVIRONMENTS, -1)
    found = posed.rollout(posed.context(latents, states, actions), plans(posed))
    assert torch.equal(found, posed.rollout(posed.context(latents, states, actions, pose), plans(posed)))
    for wrong in ([0.0] * 5, [float("nan")] * 6, ["a"] * 6):
        with pytest.raises(ConfigError, match="six numbers"):
            posed.set_camera_pose(wrong)
    with pytest.raises(ConfigError, match="takes none"):
        model.set_camera_pose([0.0] * 6)
