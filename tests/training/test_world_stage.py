"""The frozen and the joint stage: which weights move, cached latents, figures, exact resume."""

import numpy as np
import pytest
import torch
from tensors import assert_same_state, parameters

from jepa_robot.training import losses
from jepa_robot.training import loop
from jepa_robot.training.summary import SummaryConfig


def test_frozen_leaves_the_encoder_alone(world_stage):
    stage = world_stage()
    before = parameters(stage.model)
    for index in range(3):
        numbers = stage.step(index, 10)
    assert set(numbers) == {"loss", "teacher_forcing", "rollout", "displacement", "metric"}
    parts = ("teacher_forcing", "rollout", "displacement", "metric")
    assert numbers["loss"] == pytest.approx(sum(numbers[p] for p in parts), rel=1e-5)
    for name, parameter in stage.model.named_parameters():
        if name.startswith("encoder."):
            assert torch.equal(parameter, before[name])
        elif parameter.ndim > 1:
            assert (parameter != before[name]).any(), name


def test_cached_latents_are_the_encoder_s(world_stage, arrays):
    stage = world_stage()
    windows = next(stage.batches)
    with torch.no_grad():
        expected = stage.model.encode(windows.frames)
    torch.testing.assert_close(stage._latents(windows.frames, windows.index), expected, atol=3e-3, rtol=0)


def test_joint_trains_every_part(world_stage):
    stage = world_stage(joint=True)
    before = parameters(stage.model)
    for index in range(3):
        numbers = stage.step(index, 10)
    assert {"variance", "covariance"} < set(numbers)
    total = sum(numbers[p] for p in ("teacher_forcing", "rollout", "displacement", "metric"))
    assert numbers["loss"] == pytest.approx(total + 0.5 * numbers["variance"] + 0.02 * numbers["covariance"], rel=1e-4)
    for name, parameter in stage.model.named_parameters():
        if parameter.ndim > 1:
            assert (parameter != before[name]).any(), name


def test_encoder_has_its_own_learning_rate_and_no_parameter_is_missing_or_twice(world_stage):
    stage = world_stage(joint=True)
    stage.step(5, 20)  # the constant part of the schedule
    rates = {id(p): group["lr"] for group in stage.optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in stage.optimizer.param_groups) == len(rates)
    for name, parameter in stage.model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(5e-4 if name.startswith("encoder.") else 1e-3)
    assert len(rates) == len(list(stage.model.parameters()))
    for group in stage.optimizer.param_groups:
        assert len({p.ndim > 1 for p in group["params"]}) == 1
        assert group["weight_decay"] == (0.04 if group["params"][0].ndim > 1 else 0)


@pytest.mark.parametrize("joint", [False, True])
def test_training_lowers_the_loss(world_stage, joint):
    stage = world_stage(joint=joint)
    losses = [stage.step(index, 80)["loss"] for index in range(80)]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@pytest.mark.parametrize("joint", [False, True])
def test_bf16_is_close_to_fp32(world_stage, joint):
    a, b = (world_stage(joint, dtype=dtype).step(0, 10) for dtype in ("fp32", "bf16"))
    for name in ("teacher_forcing", "rollout", "displacement"):
        assert b[name] == pytest.approx(a[name], rel=0.05, abs=0.01)
    assert b["loss"] != a["loss"]


@pytest.mark.parametrize("joint", [False, True])
def test_resumed_is_bit_identical_to_uninterrupted(world_stage, tmp_path, joint):
    def train(stage, out):
        return loop.run(stage, out, {"a": 1}, steps=6, evaluate_every=3, save_minutes=1000)

    whole = world_stage(joint)
    outcome = train(whole, tmp_path / "whole")

    broken = world_stage(joint)
    step = broken.step

    def interrupted(index, steps):
        if index == 4:
            raise KeyboardInterrupt
        return step(index, steps)

    broken.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        train(broken, tmp_path / "broken")
    resumed = world_stage(joint)
    with torch.no_grad():
        for name, parameter in resumed.model.named_parameters():
            if joint or not name.startswith("encoder."):
                parameter.add_(1)  # whatever a new process starts from is replaced
    again = train(resumed, tmp_path / "broken")
    assert_same_state(resumed.state_dict(), whole.state_dict())
    assert again["figures"] == outcome["figures"]


@pytest.mark.parametrize("joint", [False, True])
def test_figures(world_stage, joint):
    stage = world_stage(joint)
    figures = stage.evaluate()
    assert figures == stage.evaluate()
    for name in ("mse", "copy_mse", "mean_mse", "metric_rms", "copy_metric_rms"):
        assert {f"{name}_1", f"{name}_3"} <= set(figures)
    assert {"displacement_x", "displacement_y"} <= set(figures)
    assert ("latent_std" in figures) == ("r2_x" in figures) == joint
    assert all(np.isfinite(v) for v in figures.values())


def test_copying_is_measured_on_held_out_episodes(world_stage, arrays):
    stage = world_stage(joint=True)
    frames = torch.from_numpy(arrays.frames[40:48])[None]  # episode 5, the held-out one: 5 windows of 4 frames
    with torch.no_grad():
        latents = stage.model.encode(frames)[0]
    figures = stage.evaluate()
    for k in (1, 3):
        errors = [(latents[s] - latents[s + k]).square().mean() for s in range(5)]
        assert figures[f"copy_mse_{k}"] == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)


def test_collapse_terms_are_of_the_batch_s_frames(world_stage):
    stage, twin = world_stage(joint=True), world_stage(joint=True)
    windows = next(twin.batches)
    with torch.no_grad():
        variance, covariance = losses.variance_covariance(twin.summary(twin.model.encode(windows.frames)))
    numbers = stage.step(0, 10)
    assert numbers["variance"] == pytest.approx(float(variance), rel=1e-4)
    assert numbers["covariance"] == pytest.approx(float(covariance), rel=1e-4)
    assert world_stage(joint=False).summary is None


def test_free_targets_teach_the_encoder_something_else(world_stage):
    held, free = (world_stage(joint=True, stop_gradient=stop) for stop in (True, False))
    first, second = held.step(0, 10), free.step(0, 10)
    assert first == second  # the losses are the same, the gradients are not
    a, b = parameters(held.model.encoder), parameters(free.model.encoder)
    assert any((a[name] != b[name]).any() for name in a)


def test_a_frozen_stage_takes_the_statistics_of_the_training_frames(world_stage, arrays):
    stage = world_stage()
    standardise = stage.model.standardise
    with torch.no_grad():
        latents = stage.model.encode(torch.from_numpy(arrays.frames[:40])[None])[0]  # episodes 0 to 4
    assert standardise.updates == 1
    torch.testing.assert_close(standardise.mean, latents.mean(0), atol=2e-3, rtol=0)
    torch.testing.assert_close(standardise.variance, latents.var(0, correction=0), atol=2e-3, rtol=0.01)
    before = {name: value.clone() for name, value in standardise.state_dict().items()}
    stage.step(0, 10)
    assert_same_state(standardise.state_dict(), before)


def test_a_frozen_stage_after_a_joint_one_keeps_its_statistics(world_stage):
    joint = world_stage(joint=True)
    for index in range(3):
        joint.step(index, 10)
    before = {name: value.clone() for name, value in joint.model.standardise.state_dict().items()}
    assert before["updates"] == 3
    frozen = world_stage(model=joint.model)
    frozen.step(0, 10)
    assert_same_state(frozen.model.standardise.state_dict(), before)


def test_calibration_measures_the_error_of_one_step_predictions(world_stage):
    stage = world_stage()
    model = stage.model
    stage.calibrate()
    latents, actions, states = stage._held_out()
    errors = []
    for b in range(len(latents)):
        for t in range(latents.shape[1] - 1):
            step = model.predict(*(x[b : b + 1, t : t + 1] for x in (latents, actions, states)))
            moved = model.normalise_states(states[b, t + 1])[model.integration.sum(0) > 0]
            errors.append(model.displacement(step[0, 0]) - moved)
    errors = torch.stack(errors).detach()
    expected = ((errors - errors.mean(0)) ** 2).mean(0).sqrt()
    torch.testing.assert_close(model.metric_error, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model.metric(latents) * expected, model.displacement(latents), rtol=1e-3, atol=1e-3)


def test_a_learned_summary_is_trained_by_sigreg_and_resumed(world_stage):
    settings = {"variance": 0.0, "covariance": 0.0, "gaussian": 0.1, "summary": SummaryConfig("pooled", "learned")}
    stage = world_stage(joint=True, **settings)
    before = parameters(stage.summary)
    for index in range(2):
        numbers = stage.step(index, 10)
    assert "variance" not in numbers and numbers["gaussian"] > 0
    for name, value in parameters(stage.summary).items():
        assert (value != before[name]).any(), name
    again = world_stage(joint=True, **settings)
    again.load_state_dict(stage.state_dict())
    assert again.step(2, 10) == stage.step(2, 10)
