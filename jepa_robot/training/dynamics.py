"""The dynamics losses of a world model on a window of latents, shared by the frozen and the joint stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_robot.models.world_model import WorldModel
from jepa_robot.training import losses


@dataclass(frozen=True)
class DynamicsConfig:
    """Weights and shape of the losses.

    Attributes:
        exponent: 1 is V-JEPA 2-AC's L1, 2 the squared error.
        rollout_steps: length K of the rollout from a random prefix; 2 as in V-JEPA 2-AC.
        rollout: weight of the rollout loss.
        displacement: weight of `losses.displacement` on the metric head.
        metric: weight of the predictions' error measured in the metric space.
        stop_gradient: whether targets are held fixed. When they are not, a trained encoder also learns to make
            them predictable, and needs the variance and covariance terms against collapse.
    """

    exponent: float
    rollout_steps: int
    rollout: float
    displacement: float
    metric: float
    stop_gradient: bool


def rollout_from(
    model: WorldModel, latents: Tensor, actions: Tensor, states: Tensor, start: int, first: Tensor, steps: int
) -> Tensor:
    """Predict frames start + 1 .. start + steps from true frames 0 .. start and the model's own predictions.

    latents [B, T, N, D], actions [B, T - 1, A], states [B, T, P] (true states, as V-JEPA 2-AC);
    ``first`` [B, N, D] is the teacher-forced prediction of frame start + 1. No gradient flows through
    what is fed back (JEPA-WMs, arXiv 2512.24497). -> [B, steps - 1, N, D], from frame start + 2 on.
    """
    sequence, predicted = latents[:, : start + 1], []
    previous = first
    for k in range(1, steps):
        sequence = torch.cat([sequence, previous[:, None].detach()], dim=1)
        length = start + 1 + k
        previous = model.predict(sequence, actions[:, :length], states[:, :length])[:, -1]
        predicted.append(previous)
    return torch.stack(predicted, dim=1)


def dynamics_terms(
    model: WorldModel, config: DynamicsConfig, latents: Tensor, actions: Tensor, states: Tensor, start: int
) -> dict[str, Tensor]:
    """Teacher forcing, rollout, displacement and metric error of one batch.

    latents [B, T, N, D] may carry gradients (joint training), actions [B, T - 1, A], states [B, T, P].
    ``start`` is the 0-based last true frame of the rollout. -> scalars.
    """
    target = latents.detach() if config.stop_gradient else latents
    predicted = model.predict(latents[:, :-1], actions, states[:, :-1])
    rolled = rollout_from(model, latents, actions, states, start, predicted[:, start], config.rollout_steps)
    terms = {
        "teacher_forcing": losses.teacher_forcing(predicted, target, config.exponent),
        "rollout": losses.rollout(rolled, target, start + 1, config.exponent),
    }
    moved = model.normalise_states(states)[..., model.measured]
    measured = model.displacement(latents)
    terms["displacement"] = losses.displacement(measured.flatten(0, 1), moved.flatten(0, 1))
    reached = measured.detach()
    terms["metric"] = 0.5 * (
        losses.latent_distance(model.displacement(predicted), reached[:, 1:], 2)
        + losses.latent_distance(model.displacement(rolled), reached[:, start + 2 : start + 1 + config.rollout_steps], 2)
    )
    return terms


def total(config: DynamicsConfig, terms: dict[str, Tensor]) -> Tensor:
    """Weighted sum of `dynamics_terms`."""
    return (
        terms["teacher_forcing"]
        + config.rollout * terms["rollout"]
        + config.displacement * terms["displacement"]
        + config.metric * terms["metric"]
    )


def rollout_start(rng: np.random.Generator, frames: int, steps: int) -> int:
    """A random prefix: index of the last true frame, so that ``steps`` predictions fit into ``frames`` frames."""
    return int(rng.integers(frames - steps))


@torch.inference_mode()
def displacement_error(model: WorldModel, latents: Tensor, actions: Tensor, states: Tensor) -> Tensor:
    """Root mean square error [M] of displacements read off one-step predictions, in standard deviations of the state.

    latents [B, T, N, D], actions [B, T - 1, A], states [B, T, P], from episodes held out of training. Every
    frame is taken as the only context, as in planning; the free origin of the space is taken off.
    """
    inputs, action = latents[:, :-1].flatten(0, 1)[:, None], actions.flatten(0, 1)[:, None]
    predicted = model.predict(inputs, action, states[:, :-1].flatten(0, 1)[:, None])[:, 0]
    driven = model.measured
    error = model.displacement(predicted) - model.normalise_states(states[:, 1:].flatten(0, 1))[:, driven]
    return error.std(0, correction=0)


@torch.inference_mode()
def prediction_figures(model: WorldModel, latents: Tensor, actions: Tensor, states: Tensor) -> dict[str, float]:
    """Held-out prediction errors beside trivial baselines, from a single context frame as in planning.

    latents [B, T, N, D], actions [B, T - 1, A], states [B, T, P]. For k steps ahead: squared error of
    the rolled-out latents, of copying the first frame, and of the mean latent; and the error of the
    metric vector of the prediction and of the copy (root mean square over dimensions, in standard
    deviations of the state). And, for each dimension that actions move, the error of displacements read
    off the metric space, in physical units.
    """
    steps = min(latents.shape[1] - 1, model.config.predictor.max_frames)
    sequence = latents[:, :1]
    for k in range(steps):
        following = model.predict(sequence, actions[:, : k + 1], states[:, : k + 1])[:, -1:]
        sequence = torch.cat([sequence, following], dim=1)
    figures = {}
    mean = latents.mean((0, 1))
    for k in (1, steps):
        true = latents[:, k]
        figures[f"mse_{k}"] = float((sequence[:, k] - true).square().mean())
        figures[f"copy_mse_{k}"] = float((latents[:, 0] - true).square().mean())
        figures[f"mean_mse_{k}"] = float((mean - true).square().mean())
        reached = model.displacement(true)
        figures[f"metric_rms_{k}"] = float((model.displacement(sequence[:, k]) - reached).square().mean().sqrt())
        figures[f"copy_metric_rms_{k}"] = float((model.displacement(latents[:, 0]) - reached).square().mean().sqrt())
    driven = model.measured
    error = model.displacement(latents).flatten(0, 1) - model.normalise_states(states)[..., driven].flatten(0, 1)
    names = [dim.name for dim, used in zip(model.contract.states, driven.tolist()) if used]
    for name, value in zip(names, (error.std(0) * model.state_std[driven]).tolist()):
        figures[f"displacement_{name}"] = value
    return figures
