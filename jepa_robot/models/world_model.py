"""Encoder, action-conditioned predictor and metric head as one latent world model.

Frames, actions and states come in as the contract defines them (uint8 pixels, physical units);
normalisation happens in here.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """What a rollout starts from: the past's cached keys and values, and the current frame.

    Attributes:
        caches: one a block; empty for a context of a single frame.
        latents: [1, N, D], the current frame.
        state: [1, P], the current state in physical units.
        frame: index of the current frame in the sequence.
        extrinsics: [1, 6], the camera's pose, or None.
    """

    caches: list[Cache]
    latents: Tensor
    state: Tensor
    frame: int
    extrinsics: Tensor | None = None


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
        """Cache the past: latents [1, T, N, D], states [1, T, P], executed actions [1, T - 1, A].

        Frame T itself sees the candidate's action, so its keys are each candidate's own.

        Args:
            extrinsics: [1, 6], the pose of a camera that stands still, for a predictor that takes it.
        """
        time = latents.shape[1]
        past = self.predictor.cache(
            self.standardise(latents[:, :-1]), self.normalise_actions(actions), self.normalise_states(states[:, :-1]),
            None if extrinsics is None else extrinsics[:, None].expand(-1, time - 1, -1),
        )
        return Context(past, latents[:, -1], states[:, -1], time - 1, extrinsics)

    def rollout(self, context: Context, actions: Tensor) -> Tensor:
        """Candidate plans [S, H, A] -> predicted latents after each action [S, H, N, D].

        One block of tokens per step; the context is shared by all candidates.

        Raises:
            ValueError: context + horizon is longer than the sequences of training.
        """
        candidates, horizon, _ = actions.shape
        latents = context.latents.expand(candidates, -1, -1)
        state = context.state.expand(candidates, -1)
        pose = None if context.extrinsics is None else context.extrinsics.expand(candidates, -1)
        caches, predicted = context.caches, []
        for h in range(horizon):
            action = actions[:, h]
            output, caches = self.predictor.extend(
                self.standardise(latents), self.normalise_actions(action), self.normalise_states(state), caches,
                context.frame + h, pose,
            )
            latents = self._following(latents, output)
            state = self.advance(state, action)
            predicted.append(latents)
        return torch.stack(predicted, dim=1)

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
