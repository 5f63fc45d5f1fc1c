"""Encoder, action-conditioned predictor and metric head as one latent world model.

Frames, actions and states come in as the contract defines them (uint8 pixels, physical units);
normalisation happens in here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_robot.errors import ConfigError, ContractError
from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.attention import Cache
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.encoders import AnyEncoder, AnyEncoderConfig, build_encoder
from jepa_robot.models.metric_head import MetricConfig, MetricHead
from jepa_robot.models.rotation import compose
from jepa_robot.models.standardise import Standardise
from jepa_robot.spec import Contract, Dim


@dataclass(frozen=True)
class Context:
    """What rollouts start from: the frames so far, and the keys and values of those before the current one.

    Attributes:
        latents: [E, T, N, D]; states: [E, T, P]; actions: [E, T - 1, A]; both in physical units.
        extrinsics: [E, 6], the camera's pose, or None.
        caches: one a block; empty where T is 1.
    """

    latents: Tensor
    states: Tensor
    actions: Tensor
    extrinsics: Tensor | None
    caches: list[Cache]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of all parts of a `WorldModel`; ``metric`` None where it has no metric head (V-JEPA 2-AC has none)."""

    encoder: AnyEncoderConfig = EncoderConfig()
    predictor: PredictorConfig = PredictorConfig()
    metric: MetricConfig | None = MetricConfig()


def _moments(dims: tuple[Dim, ...], kind: str) -> tuple[Tensor, Tensor]:
    """Means and standard deviations, each [len(dims)]."""
    for dim in dims:
        if dim.mean is None or dim.std is None:
            raise ContractError(
                f"{kind} {dim.name} has no normalisation", expected="a model's contract, with mean and std"
            )
    return torch.tensor([d.mean for d in dims]), torch.tensor([d.std for d in dims])


class WorldModel(nn.Module):
    """See `jepa_robot.planning.protocols.WorldModel` for the protocol that a planner relies on.

    Args:
        encoder: a trained one of these sizes, which becomes the model's; a new one where None.

    Raises:
        ContractError: the contract has no normalisation, or another image size than the encoder.
    """

    def __init__(self, contract: Contract, config: ModelConfig, encoder: AnyEncoder | None = None):
        super().__init__()
        camera = contract.camera
        size = config.encoder.image_size
        if (camera.height, camera.width) != (size, size):
            raise ContractError(
                f"camera {camera.name} is {camera.height}x{camera.width} pixels",
                expected=f"{size}x{size} as the encoder",
            )
        if camera.mean is None or camera.std is None:
            raise ContractError(f"camera {camera.name} has no normalisation", expected="a model's contract")
        self.contract, self.config, self.rotation = contract, config, contract.rotation()
        self.encoder = encoder or build_encoder(config.encoder, camera.mean, camera.std)
        self.predictor = ActionConditionedPredictor(
            config.predictor, config.encoder.width, config.encoder.grid, len(contract.actions), len(contract.states)
        )
        self.standardise = Standardise(config.encoder.tokens, config.encoder.width)
        self.metric_head = None
        if config.metric is not None:
            self.metric_head = MetricHead(config.encoder.tokens, config.encoder.width, config.metric)
            # Set at the end of training, see `jepa_robot.training.dynamics.displacement_error`.
            self.register_buffer("metric_error", torch.ones(config.metric.dims))
        self.set_constants()

    def set_constants(self) -> None:
        """The buffers that are in no checkpoint: what the contract says in numbers. Those of parts are theirs."""
        contract = self.contract
        for name, value in zip(("action_mean", "action_std"), _moments(contract.actions, "action")):
            self.register_buffer(name, value, persistent=False)
        for name, value in zip(("state_mean", "state_std"), _moments(contract.states, "state")):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("integration", torch.tensor(contract.integration_matrix()), persistent=False)
        self.register_buffer("measured", torch.tensor(contract.measured_states()), persistent=False)
        self.register_buffer("state_low", torch.tensor(contract.state_low), persistent=False)
        self.register_buffer("state_high", torch.tensor(contract.state_high), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.action_mean.device

    def normalise_actions(self, actions: Tensor) -> Tensor:
        """Physical [..., A] -> zero mean, unit standard deviation over the training data."""
        return (actions - self.action_mean) / self.action_std

    def normalise_states(self, states: Tensor) -> Tensor:
        """Physical [..., P] -> zero mean, unit standard deviation over the training data."""
        return (states - self.state_mean) / self.state_std

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 [B, T, H, W, 3] -> layer-normalised latents [B, T, N, D]."""
        return self.encoder(frames)

    def predict(
        self, latents: Tensor, actions: Tensor, states: Tensor, extrinsics: Tensor | None = None
    ) -> Tensor:
        """Teacher forcing: next latents [B, T, N, D].

        Args:
            latents: [B, T, N, D]; actions: [B, T, A]; states: [B, T, P].
            extrinsics: [B, T, 6], the camera's pose, for a predictor that takes it.
        """
        output = self.predictor(
            self.standardise(latents), self.normalise_actions(actions), self.normalise_states(states), extrinsics
        )
        return self._following(latents, output)

    def _following(self, latents: Tensor, output: Tensor) -> Tensor:
        """The next latents from the predictor's (standardised) output, layer-normalised without affine like all."""
        start = latents if self.config.predictor.predicts == "change" else self.standardise.mean
        return F.layer_norm((start + self.standardise.std * output).float(), latents.shape[-1:])

    def advance(self, state: Tensor, action: Tensor) -> Tensor:
        """States after an action as the contract says: [..., P], [..., A] -> [..., P], inside the bounds."""
        moved = (action[..., None] * self.integration).sum(-2)  # not a matrix product: autocast would round it to bf16
        moved = state + moved
        if self.rotation is not None:
            actions, states = self.rotation
            moved[..., states] = compose(action[..., actions], state[..., states])
        return torch.clamp(moved, self.state_low, self.state_high)

    def context(
        self, latents: Tensor, states: Tensor, actions: Tensor, extrinsics: Tensor | None = None
    ) -> Context:
        """Cache the past: latents [E, T, N, D], states [E, T, P], executed actions [E, T - 1, A].

        Frame T itself sees the candidate's action, so its keys are each candidate's own. Of more frames than
        sequences had in training only the last count.

        Args:
            extrinsics: [E, 6], the pose of a camera that stands still, for a predictor that takes it.
        """
        most = self.config.predictor.max_frames
        latents, states = latents[:, -most:], states[:, -most:]
        actions = actions[:, actions.shape[1] - (latents.shape[1] - 1) :]
        context = Context(latents, states, actions, extrinsics, [])
        return replace(context, caches=self._past(context, 0))

    def _past(self, context: Context, first: int) -> list[Cache]:
        """Keys and values of the frames before the current one, the ``first`` left out."""
        poses = None if context.extrinsics is None else context.extrinsics[:, None]
        return self.predictor.cache(
            self.standardise(context.latents[:, first:-1]), self.normalise_actions(context.actions[:, first:]),
            self.normalise_states(context.states[:, first:-1]), poses,
        )

    def rollout(self, context: Context, actions: Tensor) -> Tensor:
        """Candidate plans [E, S, H, A] -> predicted latents after each action [E, S, H, N, D].

        One block of tokens per step; the context is shared by all candidates. Where context and plan together are
        longer than sequences were in training, the model sees the last ``max_frames`` of them: positions and what
        frames have seen change with every step from there on, so that each costs as much as ``max_frames`` before.
        """
        latents, state = context.latents[:, -1:], context.states[:, -1:]
        caches, steps, predicted = context.caches, [], []
        for action in actions.unbind(2):
            steps.append((self.standardise(latents), self.normalise_actions(action), self.normalise_states(state)))
            output, caches = self._step(context, steps, caches, actions.shape[2])
            latents = self._following(latents, output)
            state = self.advance(state, action)
            predicted.append(latents)
        return torch.stack(predicted, dim=2)

    def _step(
        self, context: Context, steps: list[tuple[Tensor, ...]], caches: list[Cache], horizon: int
    ) -> tuple[Tensor, list[Cache]]:
        """What the predictor makes of the last of ``steps``, given the caches of those before; and longer caches."""
        poses = None if context.extrinsics is None else context.extrinsics[:, None]
        past, most = context.latents.shape[1] - 1, self.config.predictor.max_frames
        dropped = past + len(steps) - most
        if dropped <= 0:
            return self.predictor.extend(*steps[-1], caches, past + len(steps) - 1, poses, min(horizon, most - past))
        caches = self._past(context, min(dropped, past))
        window = steps[max(dropped - past, 0) :]
        for frame, step in enumerate(window, start=most - len(window)):
            output, caches = self.predictor.extend(*step, caches, frame, poses, len(window))
        return output, caches

    def displacement(self, latents: Tensor) -> Tensor:
        """latents [..., N, D] -> [..., M], differences of which are displacements, in standard deviations."""
        return self.metric_head(self.standardise(latents))

    def novelty(self, latents: Tensor) -> Tensor:
        """latents [..., N, D] -> [...]: how unlike the training data a frame is.

        The mean square of its standardised latents: about 1 for frames like those of training, and tens
        or hundreds for another scene, camera or lighting.
        """
        return self.standardise(latents).square().mean((-2, -1))

    def metric(self, latents: Tensor) -> Tensor:
        """latents [..., N, D] -> [..., M], the space in which energies are measured.

        Displacements in units of the model's own error: what it predicts or sees badly counts little, and a
        squared distance of about 1 a dimension is as close as it can tell.

        Raises:
            ConfigError: this model has no such space.
        """
        if self.metric_head is None:
            raise ConfigError(
                "this model has no metric space of its own", where="planner.energy.space",
                mend="plan in its latents: planner.energy.space=latent",
            )
        return self.displacement(latents) / self.metric_error
