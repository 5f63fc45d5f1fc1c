"""Every objective over the one loop: what is predicted of what, what keeps it from collapse, exact resume."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensors import assert_same_state, parameters

from jepa_robot.training import loop
from jepa_robot.training.masks import MaskConfig, sample_masks
from jepa_robot.training.phases import Phase
from jepa_robot.training.sigreg import directions, sigreg
from jepa_robot.training.summary import DIMS, SummaryConfig

TARGETS = (MaskConfig(blocks=4, area=(0.15, 0.2), aspect=(0.75, 1.5), min_visible=4, context=(0.85, 1.0)),)
PLAIN = {"motion": 0.0, "variance": 0.0, "covariance": 0.0}
IJEPA = PLAIN | {"clip_frames": 1, "masks": TARGETS, "exponent": 2.0, "momentum": 0.9, "momentum_end": 1.0}
OBJECTIVES = {
    "vjepa2": PLAIN | {"masks_per_step": "all"},
    "vjepa": PLAIN | {"momentum_end": 1.0, "weight_decay_end": 0.4, "decay": 0.9, "decay_shape": "cosine"},
    "ijepa": IJEPA,
    "cjepa": IJEPA | {"variance": 0.5, "covariance": 0.02, "summary": SummaryConfig("pooled", "fixed")},
    "sigreg pooled": PLAIN | {"target": "encoder", "gaussian": 0.1, "summary": SummaryConfig("pooled", "learned")},
    "sigreg": PLAIN | {"target": "encoder", "gaussian": 0.1, "summary": SummaryConfig("flattened", "learned")},
    "phases": PLAIN | {"early_phases": (Phase(0.3, 1, 12), Phase(0.3, 2, 12)), "masks_per_step": "all"},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_trains_and_resumes_exactly(pretrain_stage, tmp_path, name):
    changes = OBJECTIVES[name]

    def train(stage, out):
        return loop.run(stage, out, {"a": 1}, steps=7, evaluate_every=4, save_minutes=1000)

    def interrupt_at(index):
        stage = pretrain_stage(**changes)
        step = stage.step

        def interrupted(at, steps):
            if at == index:
                raise KeyboardInterrupt
            return step(at, steps)

        stage.step = interrupted
        with pytest.raises(KeyboardInterrupt):
            train(stage, tmp_path / "broken")

    whole = pretrain_stage(**changes)
    before = parameters(whole.encoder)
    outcome = train(whole, tmp_path / "whole")
    assert any(not torch.equal(p, before[key]) for key, p in whole.encoder.named_parameters())
    assert all(np.isfinite(value) for value in outcome["figures"].values())
    assert {"valid_masked", "latent_std", "effective_rank", "r2_x", "rmse_y"} <= set(outcome["figures"])
    for index in (1, 3, 6):  # inside each of the phases, where there are some
        interrupt_at(index)
        torch.manual_seed(index)
    resumed = pretrain_stage(**changes)
    train(resumed, tmp_path / "broken")
    assert_same_state(resumed.state_dict(), whole.state_dict())


def test_all_masks_count_alike(pretrain_stage):
    stage = pretrain_stage(**PLAIN)
    frames = next(stage.batches).frames
    rng = np.random.default_rng(0)
    masks = {i: sample_masks(len(frames), 4, 2, config, rng) for i, config in enumerate(stage.config.masks)}
    with torch.no_grad():
        together = float(stage._prediction_error(frames, masks))
        alone = [float(stage._prediction_error(frames, {i: mask})) for i, mask in masks.items()]
    assert together == pytest.approx(np.mean(alone), rel=1e-6) and alone[0] != pytest.approx(alone[1])


@pytest.mark.parametrize(("per_step", "expected"), [("turn", [0, 1, 0]), ("all", [0, 1] * 3)])
def test_every_kind_of_mask_has_its_token(pretrain_stage, per_step, expected):
    stage, used = pretrain_stage(**PLAIN, masks_per_step=per_step), []
    stage.predictor.register_forward_pre_hook(lambda _, inputs: used.append(inputs[3]))
    for index in range(3):
        stage.step(index, 10)
    assert used == expected


def test_target_blocks_are_predicted_one_by_one_from_single_frames(pretrain_stage):
    """The squared error of each target, none of which sees another; targets are frames as the encoder encodes them."""
    stage = pretrain_stage(**IJEPA)
    for parameter in stage.teacher.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    frames = next(stage.batches).frames
    assert frames.shape[1] == 1
    masks = sample_masks(len(frames), 4, 1, TARGETS[0], np.random.default_rng(0))
    positions, errors = stage.encoder.positions(1), []
    with torch.no_grad():
        error = stage._prediction_error(frames, {0: masks})
        for b in range(len(frames)):
            target = stage.teacher(frames[b : b + 1])[0, 0]
            pixels = stage.encoder.tubelets(frames[b : b + 1].repeat(1, 2, 1, 1, 1))
            seen = masks.visible[b]
            latents = stage.encoder.run(stage.encoder.patch_embed(pixels)[:, seen], positions[seen])
            for k in range(4):
                hidden = masks.hidden[k, b]
                predicted = stage.predictor(latents, positions[seen][None], positions[hidden][None])[0]
                errors.append((predicted - target[hidden]).square().mean())
    assert float(error) == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)


def test_momentum_and_weight_decay_run_along_their_schedules(pretrain_stage):
    stage = pretrain_stage(**IJEPA, weight_decay=0.04, weight_decay_end=0.4)
    steps = 10
    for index in range(steps):
        before = parameters(stage.teacher)
        stage.step(index, steps)
        momentum = 0.9 + 0.1 * index / steps
        for name, parameter in stage.teacher.named_parameters():
            student = stage.encoder.get_parameter(name).detach()
            torch.testing.assert_close(parameter, momentum * before[name] + (1 - momentum) * student)
        decay = 0.4 - 0.36 * 0.5 * (1 + np.cos(np.pi * index / steps))
        assert [g["weight_decay"] for g in stage.optimizer.param_groups] == [pytest.approx(decay), 0.0]


def test_without_a_teacher_the_targets_learn_too(pretrain_stage):
    """The gradient is that of an error whose both sides depend on the encoder."""
    stage = pretrain_stage(**OBJECTIVES["sigreg"])
    assert stage.teacher is stage.encoder
    frames = next(stage.batches).frames
    masks = sample_masks(len(frames), 4, 2, stage.config.masks[0], np.random.default_rng(0))
    visible, hidden = masks.visible, masks.hidden[0]
    pixels, positions = stage.encoder.tubelets(frames), stage.encoder.positions(2)

    def gradient(error):
        return torch.autograd.grad(error, stage.encoder.patch_embed.weight)[0]

    def written_out(held):
        tokens = stage.encoder.patch_embed(pixels)
        target = F.layer_norm(stage.encoder.run(tokens, positions), (12,))
        target = target.detach() if held else target
        seen = torch.stack([tokens[b, visible[b]] for b in range(len(frames))])
        latents = stage.encoder.run(seen, positions[visible])
        predicted = stage.predictor(latents, positions[visible], positions[hidden])
        return (predicted - torch.stack([target[b, hidden[b]] for b in range(len(frames))])).abs().mean()

    found = gradient(stage._prediction_error(frames, {0: masks}))
    torch.testing.assert_close(found, gradient(written_out(held=False)), atol=1e-6, rtol=1e-3)
    assert (found - gradient(written_out(held=True))).abs().max() > 1e-3 * found.abs().max()


def test_the_gaussian_term_is_sigreg_of_single_frames(pretrain_stage):
    stage = pretrain_stage(**OBJECTIVES["sigreg"])
    frames = next(stage.batches).frames
    with torch.no_grad():
        terms = stage._against_collapse(frames, np.random.default_rng(5))
        seed = int(np.random.default_rng(5).integers(2**63))
        along = directions(DIMS, torch.Generator().manual_seed(seed))
        expected = sigreg(stage.encoder(frames).flatten(0, 1).flatten(1) @ stage.summary.projection, along)
    assert set(terms) == {"gaussian"} and float(terms["gaussian"]) == pytest.approx(float(expected), rel=1e-4)
    numbers = stage.step(0, 10)
    assert numbers["loss"] == pytest.approx(numbers["masked"] + 0.1 * numbers["gaussian"], rel=1e-5)
    assert stage.summary.projection.grad.abs().sum() > 0


def test_own_targets_collapse_unless_a_term_holds_them(pretrain_stage):
    """Without any term the encoder makes all frames alike, to be predictable; with SIGReg it does not."""

    def spread_after_training(**changes):
        stage = pretrain_stage(**PLAIN | {"target": "encoder", "batch_size": 16, "lr": 1e-2} | changes)
        for index in range(50):
            stage.step(index, 50)
        return stage.evaluate()["latent_std"]

    held = spread_after_training(gaussian=0.1, summary=SummaryConfig("flattened", "fixed"))
    assert spread_after_training() < 0.5 * held


def test_phases_take_their_clips_and_pictures(pretrain_stage, monkeypatch):
    stage = pretrain_stage(**OBJECTIVES["phases"])
    seen, whole = [], []
    error, terms = stage._prediction_error, stage._against_collapse
    monkeypatch.setattr(stage, "_prediction_error", lambda f, m: seen.append(tuple(f.shape[1:4])) or error(f, m))
    monkeypatch.setattr(stage, "_against_collapse", lambda f, r: whole.append(f.shape[2]) or terms(f, r))
    for index in range(10):
        stage.step(index, 10)
    assert seen == [(1, 12, 12)] * 3 + [(2, 12, 12)] * 3 + [(4, 16, 16)] * 4
    assert whole == [16] * 10
    seen.clear()
    stage.evaluate()
    assert seen == [(4, 16, 16)]
