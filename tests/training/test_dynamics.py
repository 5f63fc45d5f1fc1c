"""Which frame each prediction is compared with, seen by a model that predicts "the last frame + 1"."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jepa_robot.training.dynamics import (
    DynamicsConfig,
    dynamics_terms,
    prediction_figures,
    rollout_from,
    rollout_start,
    total,
)

BATCH, FRAMES, TOKENS, WIDTH = 2, 6, 3, 4


class Counter(torch.nn.Module):
    """``gain * last frame + step``; every call's inputs are kept."""

    def __init__(self, step: float = 1.0):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.step = step
        self.calls = []
        self.integration = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
        self.measured = self.integration.bool().any(0)
        self.config = SimpleNamespace(predictor=SimpleNamespace(max_frames=8))
        self.contract = SimpleNamespace(states=[SimpleNamespace(name=name) for name in ("left", "heat", "up")])
        self.state_std = torch.full((3,), 0.1)

    def predict(self, latents, actions, states):
        assert latents.shape[1] == actions.shape[1] == states.shape[1]
        self.calls.append((latents, actions, states))
        return self.gain * latents + self.step

    def displacement(self, latents):
        return latents.flatten(-2)[..., :2]

    def normalise_states(self, states):
        return 10 * states


@pytest.fixture
def config():
    return DynamicsConfig(
        exponent=1.0, rollout_steps=2, rollout=3.0, displacement=5.0, metric=7.0, stop_gradient=True
    )


def window(frames=FRAMES):
    """Latents that count frames; actions and states that name their frame."""
    latents = torch.arange(float(frames)).view(1, frames, 1, 1).expand(BATCH, frames, TOKENS, WIDTH).clone()
    time = torch.arange(float(frames))
    actions = time[:-1].view(1, -1, 1).expand(BATCH, frames - 1, 2)
    states = time.view(1, -1, 1).expand(BATCH, frames, 3)
    return latents, actions, states


def terms_of(model, config, start, latents=None):
    true, actions, states = window()
    return dynamics_terms(model, config, true if latents is None else latents, actions, states, start)


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_rollout_sees_true_frames_then_its_own_predictions_and_true_actions_and_states(steps):
    model, (latents, actions, states) = Counter(step=10.0), window()
    for start in range(FRAMES - steps):
        model.calls.clear()
        first = torch.full((BATCH, TOKENS, WIDTH), start + 10.0)
        rolled = rollout_from(model, latents, actions, states, start, first, steps)
        assert rolled.shape == (BATCH, steps - 1, TOKENS, WIDTH)
        assert rolled[0, :, 0, 0].tolist() == [start + 10.0 * (k + 2) for k in range(steps - 1)]
        for k, (seen, acted, stood) in enumerate(model.calls, start=1):
            assert seen[0, :, 0, 0].tolist() == [*range(start + 1), *(start + 10.0 * j for j in range(1, k + 1))]
            assert acted[0, :, 0].tolist() == list(range(start + 1 + k))
            assert stood[0, :, 0].tolist() == list(range(start + 1 + k))


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_right_predictions_cost_nothing(config, start, steps):
    terms = terms_of(Counter(), dataclasses.replace(config, rollout_steps=steps), start)
    assert terms["teacher_forcing"].item() == terms["rollout"].item() == terms["metric"].item() == 0


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_the_second_step_is_scored_on_the_third_frame(config, start):
    """Errors of models that are off by a known number of frames; no other target gives these numbers.

    A rollout scored on producing its own input again (the known mistake of the first public V-JEPA 2-AC weights)
    would find "copying" right, and the right model wrong by 1.
    """
    copying = terms_of(Counter(step=0.0), config, start)
    assert copying["teacher_forcing"].item() == 1 and copying["rollout"].item() == 2
    far = terms_of(Counter(step=2.0), config, start)
    assert far["teacher_forcing"].item() == 1 and far["rollout"].item() == 2
    assert copying["metric"].item() == 0.5 * (1 + 4)  # squared, teacher-forced and rolled


def test_a_model_that_repeats_what_it_is_fed_back_is_not_rewarded(config):
    """One that is right on true frames and copies its own prediction: zero only under the mistaken target."""

    class Repeating(Counter):
        def predict(self, latents, actions, states):
            right = super().predict(latents, actions, states)
            own = actions.shape[1] != FRAMES - 1  # the rollout's shorter sequence
            return torch.cat([right[:, :-1], latents[:, -1:] if own else right[:, -1:]], dim=1)

    terms = terms_of(Repeating(), config, 2)
    assert terms["teacher_forcing"].item() == 0 and terms["rollout"].item() == 1


@pytest.mark.parametrize("start", [0, 3])
def test_only_the_frames_after_the_prefix_count_in_the_rollout(config, start):
    latents, actions, states = window()
    latents[:, start + 2] += 5
    terms = dynamics_terms(Counter(), config, latents, actions, states, start)
    assert terms["rollout"].item() == 5
    for t in range(start + 3, FRAMES):
        latents[:, t] -= 100
    terms = dynamics_terms(Counter(), config, latents, actions, states, start)
    assert terms["rollout"].item() == 5


def test_no_gradient_flows_through_what_is_fed_back(config):
    model, (latents, actions, states) = Counter(), window()
    start, steps = 1, 3
    first = model.gain * latents[:, start] + 1
    rolled = rollout_from(model, latents, actions, states, start, first, steps)
    rolled[:, -1].mean().backward()
    # d (gain * fed + 1) / d gain with `fed` a constant 3, not the full derivative 1 + 2 gain + 3 gain ** 2 ...
    assert float(model.gain.grad) == pytest.approx(3.0)


def test_no_gradient_reaches_a_target_that_is_held(config):
    latents = window()[0].requires_grad_()
    # Copying is off by a frame, so L1 has a slope; only inputs may feel it: predictions of 1..5 come from 0..4.
    terms = terms_of(Counter(step=0.0), config, 2, latents)
    terms["rollout"].backward(retain_graph=True)
    assert latents.grad is None or not latents.grad.any()
    latents.grad = None
    terms["teacher_forcing"].backward(retain_graph=True)
    assert (latents.grad[:, -1] == 0).all() and (latents.grad[:, :-1] < 0).all()
    latents.grad = None
    terms["metric"].backward(retain_graph=True)
    assert (latents.grad[:, -1] == 0).all()
    latents.grad = None
    terms["displacement"].backward()
    assert latents.grad.abs().amax((0, 2, 3)).min() > 0


def test_targets_that_are_not_held_feel_the_error(config):
    """Copying: frame t + 1 is predicted as frame t, so frames pull at each other, the middle ones both ways."""
    latents = window()[0].requires_grad_()
    terms = terms_of(Counter(step=0.0), dataclasses.replace(config, stop_gradient=False), 2, latents)
    terms["teacher_forcing"].backward(retain_graph=True)
    slope = 1 / (BATCH * (FRAMES - 1) * TOKENS * WIDTH)
    expected = torch.zeros_like(latents)
    expected[:, 0], expected[:, -1] = -slope, slope
    torch.testing.assert_close(latents.grad, expected)
    latents.grad = None
    terms["rollout"].backward(retain_graph=True)  # what is fed back is fixed, its target, frame 4, is not
    expected.zero_()
    expected[:, 4] = 1 / (BATCH * TOKENS * WIDTH)
    torch.testing.assert_close(latents.grad, expected)
    latents.grad = None
    terms["metric"].backward()  # the metric space is where it is, whatever is predicted
    assert (latents.grad[:, -1] == 0).all()


def test_holding_targets_changes_gradients_only(config):
    held, free = (terms_of(Counter(2.0), dataclasses.replace(config, stop_gradient=s), 1) for s in (True, False))
    assert held == free


def test_displacement_takes_the_states_that_actions_move(config):
    """Metric vectors [t, t]; states 0 and 2 are integrated, state 1 is not."""
    latents, actions, states = window()
    states = states.clone() / 10  # `normalise_states` multiplies by 10
    states[..., 1] = 1e6
    terms = dynamics_terms(Counter(), config, latents, actions, states, 0)
    assert terms["displacement"].item() == pytest.approx(0, abs=1e-6)
    states[..., 2] = 0
    expected = 0.5 * float(torch.arange(float(FRAMES)).var(correction=0))
    found = dynamics_terms(Counter(), config, latents, actions, states, 0)["displacement"]
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_total_weighs_the_terms(config):
    terms = {"teacher_forcing": 1.0, "rollout": 10.0, "displacement": 100.0, "metric": 1000.0}
    assert total(config, terms) == 1 + 3 * 10 + 5 * 100 + 7 * 1000


@pytest.mark.parametrize(("frames", "steps"), [(4, 2), (3, 2), (8, 3)])
def test_rollout_start_reaches_every_prefix_and_no_other(frames, steps):
    rng = np.random.default_rng(0)
    assert {rollout_start(rng, frames, steps) for _ in range(300)} == set(range(frames - steps))


def test_prediction_figures():
    """True latents count frames with a weight per sample; the model adds 1."""
    latents, actions, states = window()
    latents = latents * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    figures = prediction_figures(Counter(), latents, actions, states)
    for k in (1, 5):
        assert figures[f"mse_{k}"] == pytest.approx((0 + (3 * k - k) ** 2) / 2)
        assert figures[f"copy_mse_{k}"] == pytest.approx((k**2 + (3 * k) ** 2) / 2)
        assert figures[f"mean_mse_{k}"] == pytest.approx(((k - 5) ** 2 + (3 * k - 5) ** 2) / 2)  # the mean is 2 * 2.5
        assert figures[f"metric_rms_{k}"] == pytest.approx(((0 + (2 * k) ** 2) / 2) ** 0.5)
        assert figures[f"copy_metric_rms_{k}"] == pytest.approx((((k) ** 2 + (3 * k) ** 2) / 2) ** 0.5)
    # The metric space says t or 3 t where the normalised state is 10 t; a tenth of that is physical.
    errors = [t * weight - 10 * t for weight in (1, 3) for t in range(FRAMES)]
    assert figures["displacement_left"] == figures["displacement_up"] == pytest.approx(0.1 * np.std(errors, ddof=1))
    assert "displacement_heat" not in figures  # no action moves it


def test_prediction_figures_stay_inside_the_trained_length():
    model = Counter()
    model.config.predictor.max_frames = 3
    figures = prediction_figures(model, *window())
    assert "mse_3" in figures and "mse_5" not in figures
    assert max(latents.shape[1] for latents, _, _ in model.calls) == 3


def test_on_a_real_model_the_rollout_is_the_cached_one(world_model, dynamics):
    """`rollout_from` with the states that the contract's integration gives equals `WorldModel.rollout`."""
    model = world_model().eval()
    generator = torch.Generator().manual_seed(0)
    latents = torch.nn.functional.layer_norm(torch.randn(1, 4, 16, 12, generator=generator), (12,))
    actions = (torch.rand(1, 3, 2, generator=generator) - 0.5) * 0.2
    states = [torch.full((1, 2), 0.5)]
    for t in range(3):
        states.append(model.advance(states[-1], actions[:, t]))
    states = torch.stack(states, dim=1)
    with torch.no_grad():
        first = model.predict(latents[:, :2], actions[:, :2], states[:, :2])[:, 1]
        rolled = rollout_from(model, latents, actions, states, 1, first, 2)
        context = model.context(latents[:, :2], states[:, :2], actions[:, :1])
        planned = model.rollout(context, actions[:, None, 1:])[:, 0]
    torch.testing.assert_close(planned[:, 0], first, atol=1e-5, rtol=0)
    torch.testing.assert_close(planned[:, 1:], rolled, atol=1e-5, rtol=0)
