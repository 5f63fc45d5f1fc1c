"""Masked pretraining: what a step does to student and teacher, motion weights, figures, exact resume."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensors import assert_same_state, parameters

from jepa_robot.training import loop, losses
from jepa_robot.training.masks import sample_masks
from jepa_robot.training.pretrain import motion_weights
from jepa_robot.training.probes import encode_rows, probe_frames, representation_figures


def test_motion_weights_equal_loops():
    generator = torch.Generator().manual_seed(0)
    tubelets = torch.randn(2, 3 * 4, 5, generator=generator)  # 3 tubelets of 4 tokens of 5 pixels
    weights = motion_weights(tubelets, 4, 0.7)
    for b in range(2):
        moving = []
        for n in range(4):
            changes = [
                abs(float(tubelets[b, (t + 1) * 4 + n, i] - tubelets[b, t * 4 + n, i]))
                for t in range(2) for i in range(5)
            ]
            moving.append(sum(changes) / len(changes))
        for token in range(12):
            expected = 0.3 + 0.7 * moving[token % 4] / (sum(moving) / 4)
            assert float(weights[b, token]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_motion_weights_have_mean_one_and_moving_patches_weigh_more(share):
    tubelets = torch.zeros(3, 2 * 4, 5)
    tubelets[:, 4 + 2] = 1.0  # token 2 moves much
    tubelets[:, 4 + 1] = 0.1  # token 1 a little
    weights = motion_weights(tubelets, 4, share)
    torch.testing.assert_close(weights.mean(1), torch.ones(3))
    first, second = weights[0, :4], weights[0, 4:]
    assert torch.equal(first, second)
    if share == 0:
        assert (weights == 1).all()
    else:
        assert first[2] > first[1] > first[0] == first[3] == pytest.approx(1 - share, abs=1e-4)


def test_motion_weights_of_a_clip_that_stands_still_are_all_alike():
    tubelets = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).expand(2, 3, 4, 5).flatten(1, 2)
    torch.testing.assert_close(motion_weights(tubelets, 4, 0.7), torch.ones(2, 12))


def test_losses_equal_a_written_out_forward_pass(pretrain_stage):
    """Per sample: the student sees visible tokens only, the teacher all; targets are the teacher's hidden tokens."""
    stage = pretrain_stage()
    for parameter in stage.teacher.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    frames = next(stage.batches).frames
    masks = sample_masks(len(frames), 4, 2, stage.config.masks[0], np.random.default_rng(0))
    visible, hidden = masks.visible, masks.hidden[0]
    with torch.no_grad():
        error = stage._prediction_error(frames, {0: masks})
        errors, weights = [], []
        for b in range(len(frames)):
            pixels = stage.encoder.tubelets(frames[b : b + 1])
            positions = stage.encoder.positions(2)
            target = stage.teacher.run(stage.teacher.patch_embed(pixels), positions)[0]
            target = F.layer_norm(target, (12,))[hidden[b]]
            seen = stage.encoder.patch_embed(pixels)[:, visible[b]]
            latent = stage.encoder.run(seen, positions[visible[b]])
            predicted = stage.predictor(latent, positions[visible[b]][None], positions[hidden[b]][None])[0]
            errors.append((predicted - target).abs().mean(-1))
            weights.append(motion_weights(pixels, 16, 0.5)[0, hidden[b]])
    errors, weights = torch.cat(errors), torch.cat(weights)
    assert float(error) == pytest.approx(float((errors * weights).sum() / weights.sum()), rel=1e-4)


def test_collapse_terms_are_of_single_frames(pretrain_stage):
    """Of frames that are encoded alone, four of a clip."""
    stage = pretrain_stage(clip_frames=8)
    frames = next(stage.batches).frames
    with torch.no_grad():
        terms = stage._against_collapse(frames, np.random.default_rng(0))
        variance, covariance = losses.variance_covariance(stage.summary(stage.encoder(frames[:, [0, 2, 4, 6]])))
    assert set(terms) == {"variance", "covariance"}
    assert float(terms["variance"]) == pytest.approx(float(variance), rel=1e-5)
    assert float(terms["covariance"]) == pytest.approx(float(covariance), rel=1e-5)


def test_what_is_hidden_does_not_reach_the_student(pretrain_stage):
    stage = pretrain_stage(motion=0.0)
    frames = next(stage.batches).frames
    masks = sample_masks(len(frames), 4, 2, stage.config.masks[0], np.random.default_rng(0))
    visible, seen = masks.visible, []
    stage.encoder.patch_embed.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach().clone()))
    stage._prediction_error(frames, {0: masks})
    pixels = stage.encoder.tubelets(frames)
    assert len(seen) == 1 and seen[0].shape[1] == visible.shape[1]
    for b in range(len(frames)):
        assert torch.equal(seen[0][b], pixels[b, visible[b]])


def test_a_step_trains_student_and_predictor_and_moves_the_teacher_by_ema(pretrain_stage):
    stage = pretrain_stage()
    student, teacher, predictor = (parameters(m) for m in (stage.encoder, stage.teacher, stage.predictor))
    assert all(torch.equal(student[name], teacher[name]) for name in student)
    numbers = stage.step(5, 20)
    assert set(numbers) == {"loss", "masked", "variance", "covariance"}
    c = stage.config
    total = numbers["masked"] + c.variance * numbers["variance"] + c.covariance * numbers["covariance"]
    assert numbers["loss"] == pytest.approx(total, rel=1e-5)
    assert all((p != student[name]).any() for name, p in stage.encoder.named_parameters() if "bias" not in name)
    assert all((p != predictor[name]).any() for name, p in stage.predictor.named_parameters() if "bias" not in name)
    for name, parameter in stage.teacher.named_parameters():
        assert not parameter.requires_grad
        trained = stage.encoder.get_parameter(name).detach()
        torch.testing.assert_close(parameter, 0.9 * teacher[name] + 0.1 * trained)


def test_training_lowers_the_prediction_error_towards_a_teacher_that_stands_still(pretrain_stage):
    stage = pretrain_stage(batch_size=25, lr=1e-2, momentum=1.0, variance=0.0, covariance=0.0)
    losses = [stage.step(index, 80)["masked"] for index in range(80)]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_bf16_is_close_to_fp32(pretrain_stage):
    fp32, bf16 = pretrain_stage(), pretrain_stage(dtype="bf16")
    a, b = fp32.step(0, 10), bf16.step(0, 10)
    assert b["loss"] == pytest.approx(a["loss"], rel=0.05) and b["loss"] != a["loss"]
    assert all(p.dtype == torch.float32 for p in bf16.encoder.parameters())


@pytest.mark.parametrize(("per_step", "expected"), [("turn", [0, 1, 0, 1]), ("all", [0, 1] * 4)])
def test_masks_of_the_steps(pretrain_stage, monkeypatch, per_step, expected):
    stage, used = pretrain_stage(masks_per_step=per_step), []
    monkeypatch.setattr(
        "jepa_robot.training.pretrain.sample_masks", lambda *args: used.append(args[3]) or sample_masks(*args)
    )
    for index in range(4):
        stage.step(index, 10)
    assert used == [stage.config.masks[which] for which in expected]


@pytest.mark.parametrize("broken_at", [1, 3])
def test_resumed_is_bit_identical_to_uninterrupted(pretrain_stage, tmp_path, broken_at):
    def train(stage, out):
        return loop.run(stage, out, {"a": 1}, steps=6, evaluate_every=3, save_minutes=1000)

    whole = pretrain_stage()
    outcome = train(whole, tmp_path / "whole")

    broken = pretrain_stage()
    step, done = broken.step, []

    def interrupted(index, steps):
        if index == broken_at:
            raise KeyboardInterrupt
        done.append(index)
        return step(index, steps)

    broken.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        train(broken, tmp_path / "broken")
    assert done == list(range(broken_at))
    torch.manual_seed(12345)  # a new process has other global random numbers
    resumed = pretrain_stage()
    again = train(resumed, tmp_path / "broken")
    assert_same_state(resumed.state_dict(), whole.state_dict())
    assert again["figures"] == outcome["figures"]


def test_same_seed_same_run_other_seed_other_run(pretrain_stage):
    stages = [pretrain_stage(seed=s) for s in (3, 3, 4)]
    losses = [[stage.step(index, 10)["loss"] for index in range(3)] for stage in stages]
    assert losses[0] == losses[1] != losses[2]


def test_evaluate_is_repeatable_and_changes_nothing(pretrain_stage):
    stage = pretrain_stage()
    stage.step(0, 10)
    before = copy.deepcopy(stage.state_dict())
    first = stage.evaluate()
    assert first == stage.evaluate()
    assert_same_state(stage.state_dict(), before)
    probes = {"mean_r2_effector", "r2_x", "r2_y", "rmse_x", "rmse_y"}
    assert {"valid_masked", "latent_std", "effective_rank", "dead_dims", *probes} == set(first)


def test_figures_are_of_the_teacher_on_held_out_episodes(pretrain_stage, arrays):
    stage = pretrain_stage()
    with torch.no_grad():
        for parameter in stage.encoder.parameters():
            parameter.fill_(float("nan"))
    figures = representation_figures(stage.teacher, arrays, stage.train, stage.valid)
    latents = encode_rows(stage.teacher, arrays, np.arange(40, 48)).flatten(1)
    assert figures["latent_std"] == pytest.approx(float(latents.std(0).mean()), rel=1e-5)
    assert all(np.isfinite(v) for v in figures.values())


def test_probe_frames_are_spread_over_the_episodes(arrays):
    assert probe_frames(arrays, np.array([1, 3]), 100).tolist() == [*range(8, 16), *range(24, 32)]
    few = probe_frames(arrays, np.array([1, 3]), 4)
    assert few[0] == 8 and few[-1] == 31 and len(set(few.tolist())) == 4


def test_encode_rows_in_batches(pretrain_stage, arrays):
    encoder, rows = pretrain_stage().teacher, np.array([3, 40, 7, 7, 21])
    together = encode_rows(encoder, arrays, rows)
    assert together.shape == (5, 16, 12) and together.dtype == torch.float32
    torch.testing.assert_close(encode_rows(encoder, arrays, rows, batch=2), together, atol=1e-5, rtol=0)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(arrays.frames[rows])[:, None])[:, 0]
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=0)
