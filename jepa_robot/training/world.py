"""The two stages that train a world model: on a frozen encoder, and jointly with the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepa_robot.data.loader import LoaderConfig, WindowBatches
from jepa_robot.data.windows import Trajectories, WindowIndex
from jepa_robot.models.world_model import WorldModel
from jepa_robot.runtime import autocast
from jepa_robot.training.dynamics import (
    DynamicsConfig,
    displacement_error,
    dynamics_terms,
    prediction_figures,
    rollout_start,
    total,
)
from jepa_robot.training.latents import LatentStore
from jepa_robot.training.optim import adamw
from jepa_robot.training.probes import pixel_figures, prefixed, probe_frames, representation_figures, untrained
from jepa_robot.training.regularisation import collapse_terms, weighted
from jepa_robot.training.schedules import warmup_constant_decay
from jepa_robot.training.summary import FrameSummary, SummaryConfig

VALID_WINDOWS = 256
STATISTICS_FRAMES = 4000


@dataclass(frozen=True)
class WorldConfig:
    """Settings of both stages.

    Attributes:
        joint: whether the losses reach the encoder.
        frames: T of a training window; at least rollout_steps + 1.
        summary: what of a frame the next three are measured on.
        variance, covariance, gaussian: weights of `regularisation.collapse_terms`, which keep the encoder from
            collapsing when the dynamics loss reaches it (joint stage only).
        encoder_lr: learning rate of the encoder as a multiple of ``lr`` (joint stage only).
    """

    dynamics: DynamicsConfig
    joint: bool
    batch_size: int
    frames: int
    summary: SummaryConfig
    variance: float
    covariance: float
    gaussian: float
    encoder_lr: float
    lr: float
    weight_decay: float
    warmup: float
    decay: float


class WorldStage:
    """Predictor and metric head, teacher forcing and rollout; see `jepa_robot.training.loop.Stage`.

    With ``config.joint`` False the encoder is frozen and every frame is encoded once, before the first step.
    With it True every batch is encoded anew and the losses reach the encoder.

    Args:
        train, valid: episode indices.
        store: for the latents of a frozen encoder.
    """

    against_collapse = (
        "raise train.variance and train.covariance, or train.gaussian, lower train.lr or train.encoder_lr, or hold the targets "
        "(train.dynamics.stop_gradient=true)"
    )

    def __init__(
        self,
        data: Trajectories,
        train: np.ndarray,
        valid: np.ndarray,
        model: WorldModel,
        config: WorldConfig,
        seed: int,
        device: torch.device,
        dtype: str,
        loader: LoaderConfig = LoaderConfig(),
        store: LatentStore = LatentStore(),
    ):
        self.data, self.train, self.valid, self.skip = data, train, valid, loader.skip
        self.model, self.config = model.to(device), config
        self.seed, self.device, self.dtype = seed, device, dtype
        model.encoder.requires_grad_(config.joint)
        self.optimizer = adamw([model.predictor, model.metric_head], config.lr, config.weight_decay)
        for group in self.optimizer.param_groups:
            group["scale"] = 1.0
        self.summary: FrameSummary | None = None
        self.latents: Tensor | None = None
        if config.joint:
            sizes = model.config.encoder
            self.summary = FrameSummary(sizes.tokens, sizes.width, config.summary, seed).to(device)
            for group in adamw([model.encoder, self.summary], config.lr, config.weight_decay).param_groups:
                self.optimizer.add_param_group({**group, "scale": config.encoder_lr})
        else:
            with autocast(device, dtype):
                self.latents = store.encode(model.encoder, data)
            if not model.standardise.updates:  # what an earlier stage has trained on stays as it was
                chosen = probe_frames(data, train, STATISTICS_FRAMES)
                model.standardise.update(self.latents[chosen].to(device))
        self.batches = WindowBatches(data, train, config.frames, config.batch_size, seed, loader)
        self.held_out = WindowIndex.at_least_one(data, valid, config.frames, loader.skip, "held-out episode")

    def _latents(self, frames: Tensor, index: Tensor) -> Tensor:
        if self.latents is None:
            return self.model.encode(frames.to(self.device))
        return self.latents[index].float().to(self.device)

    def step(self, index: int, steps: int) -> dict[str, float]:
        """One optimisation step, see `loop.Stage`."""
        c = self.config
        windows = next(self.batches)
        rng = np.random.default_rng((self.seed, 2, index))
        factor = c.lr * warmup_constant_decay(index, steps, c.warmup, c.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["scale"]
        with autocast(self.device, self.dtype):
            latents = self._latents(windows.frames, windows.index)
            if c.joint:
                self.model.standardise.update(latents)
            start = rollout_start(rng, c.frames, c.dynamics.rollout_steps)
            actions, states = windows.actions.to(self.device), windows.states.to(self.device)
            terms = dynamics_terms(self.model, c.dynamics, latents, actions, states, start)
            loss = total(c.dynamics, terms)
            if self.summary is not None:
                against = collapse_terms(self.summary(latents), c, rng)
                terms |= against
                loss = loss + weighted(against, c)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        self.optimizer.step()
        return {"loss": loss.item(), **{name: value.item() for name, value in terms.items()}}

    def evaluate(self) -> dict[str, float]:
        """Held-out prediction errors beside copying and the mean; in the joint stage also the encoder's health."""
        with torch.inference_mode(), autocast(self.device, self.dtype):
            figures = prediction_figures(self.model, *self._held_out())
        if self.config.joint:
            figures |= representation_figures(self.model.encoder, self.data, self.train, self.valid)
        return figures

    def baselines(self) -> dict[str, float]:
        """In the joint stage: random weights and raw pixels; before the first step it has the encoder it was given."""
        if not self.config.joint:
            return {}
        episodes = self.data, self.train, self.valid
        random = representation_figures(untrained(self.model.encoder, self.seed), *episodes)
        return prefixed("random", random) | prefixed("pixels", pixel_figures(*episodes))

    def calibrate(self) -> None:
        """After training: measure the error that the metric space is scaled by, on held-out episodes."""
        with torch.inference_mode(), autocast(self.device, self.dtype):
            error = displacement_error(self.model, *self._held_out())
        self.model.metric_error.copy_(error)

    def _held_out(self) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [B, T, N, D], actions [B, T - 1, A] and states [B, T, P] of evenly spread held-out windows."""
        index = self.held_out
        chosen = index.starts(np.linspace(0, len(index) - 1, min(VALID_WINDOWS, len(index))).astype(int))
        windows = self.data.gather(chosen, self.config.frames, self.skip)
        latents = self._latents(windows.frames, windows.index)
        return latents, windows.actions.to(self.device), windows.states.to(self.device)

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "batches": self.batches}
        return parts if self.summary is None else {**parts, "summary": self.summary}

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
