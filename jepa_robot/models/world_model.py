"""Encoder, action-conditioned predictor and metric head as one latent world model.

Frames, actions and states come in as the contract defines them (uint8 pixels, physical units);
normalisation happens in here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_robot.errors import ContractError
from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.attention import Cache
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.spec import Contract, Dim

STANDARDISE_FLOOR = 0.02  # least standard deviation that latents are divided by


@dataclass(frozen=True)
class MetricConfig:
    """Sizes of a `MetricHead`: hidden units, and M output dimensions."""

    hidden: int = 256
    dims: int = 4


class Standardise(nn.Module):
    """Zero mean and unit variance for every latent dimension of every patch, over the training data.

    A camera that stands still sees mostly the same: a patch's latents are a large constant plus a small
    part that depends on the robot. Networks that read them learn many times faster once the constant is
    gone. Statistics are running ones, as in BatchNorm's evaluation mode, and carry no gradient.
    """

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(tokens, width))
        self.register_buffer("variance", torch.ones(tokens, width))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def std(self) -> Tensor:
        """[N, D], bounded below: what never changes in training is not blown up."""
        return self.variance.clamp_min(STANDARDISE_FLOOR**2).sqrt()

    def forward(self, latents: Tensor) -> Tensor:
        """latents [..., N, D] -> standardised [..., N, D]."""
        return (latents - self.mean) / self.std

    @torch.no_grad()
    def update(self, latents: Tensor, momentum: float = 0.02) -> None:
        """Take in a batch of latents [..., N, D]; a plain average until 1 / momentum batches are in."""
        self.updates += 1
        weight = max(momentum, 1 / int(self.updates))
        samples = latents.detach().float().flatten(0, -3)
        mean = samples.mean(0)
        shift = mean - self.mean
        self.mean += weight * shift
        # Variance about the running mean: of the batch, and of the batch's mean.
        self.variance.lerp_(samples.var(0, correction=0) + (1 - weight) * shift.square(), weight)


class MetricHead(nn.Module):
    """The space in which energies are measured: a small network over a frame's flattened patch latents.

    Trained so that differences between two frames' outputs are the displacement that the actions
    between them made (a linear inverse-dynamics model over several steps), see
    `jepa_robot.training.losses.displacement`.
    """

    def __init__(self, tokens: int, width: int, config: MetricConfig):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(tokens * width, config.hidden),
            nn.LayerNorm(config.hidden, eps=1e-6),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.dims),
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """standardised latents [..., N, D] -> [..., M]."""
        return self.net(latents.flatten(-2))


@dataclass(frozen=True)
class Context:
    """What a rollout starts from: the past's cached keys and values, and the current frame.

    Attributes:
        caches: one a block; empty for a context of a single frame.
        latents: [1, N, D], the current frame.
        state: [1, P], the current state in physical units.
        frame: index of the current frame in the sequence.
    """

    caches: list[Cache]
    latents: Tensor
    state: Tensor
    frame: int


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of all parts of a `WorldModel`."""

    encoder: EncoderConfig = EncoderConfig()
    predictor: PredictorConfig = PredictorConfig()
    metric: MetricConfig = MetricConfig()


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

    Raises:
        ContractError: the contract has no normalisation, or another image size than the encoder.
    """

    def __init__(self, contract: Contract, config: ModelConfig):
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
        self.contract, self.config = contract, config
        self.encoder = VideoEncoder(config.encoder, camera.mean, camera.std)
        self.predictor = ActionConditionedPredictor(
            config.predictor, config.encoder.width, config.encoder.grid, len(contract.actions), len(contract.states)
        )
        self.standardise = Standardise(config.encoder.tokens, config.encoder.width)
        self.metric_head = MetricHead(config.encoder.tokens, config.encoder.width, config.metric)
        for name, value in zip(("action_mean", "action_std"), _moments(contract.actions, "action")):
            self.register_buffer(name, value, persistent=False)
        for name, value in zip(("state_mean", "state_std"), _moments(contract.states, "state")):
            self.register_buffer(name, value, persistent=False)
        # Set at the end of training, see `jepa_robot.training.dynamics.displacement_error`.
        self.register_buffer("metric_error", torch.ones(config.metric.dims))
        self.register_buffer("integration", torch.from_numpy(contract.integration_matrix()), persistent=False)
        self.register_buffer("measured", torch.from_numpy(contract.measured_states()), persistent=False)
        self.register_buffer("state_low", torch.from_numpy(contract.state_low), persistent=False)
        self.register_buffer("state_high", torch.from_numpy(contract.state_high), persistent=False)

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

    def predict(self, latents: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """Teacher forcing: latents [B, T, N, D], actions [B, T, A], states [B, T, P] -> next latents [B, T, N, D]."""
        change = self.predictor(
            self.standardise(latents), self.normalise_actions(actions), self.normalise_states(states)
        )
        return self._changed(latents, change)

    def _changed(self, latents: Tensor, change: Tensor) -> Tensor:
        """Latents after a standardised change, layer-normalised without affine like every latent."""
        return F.layer_norm((latents + self.standardise.std * change).float(), latents.shape[-1:])

    def advance(self, state: Tensor, action: Tensor) -> Tensor:
        """States after an action by the contract's integration: [..., P], [..., A] -> [..., P], inside the bounds."""
        moved = (action[..., None] * self.integration).sum(-2)  # not a matrix product: autocast would round it to bf16
        return torch.clamp(state + moved, self.state_low, self.state_high)

    def context(self, latents: Tensor, states: Tensor, actions: Tensor) -> Context:
        """Cache the past: latents [1, T, N, D], states [1, T, P], executed actions [1, T - 1, A].

        Frame T itself sees the candidate's action, so its keys are each candidate's own.
        """
        past = self.predictor.cache(
            self.standardise(latents[:, :-1]), self.normalise_actions(actions), self.normalise_states(states[:, :-1])
        )
        return Context(past, latents[:, -1], states[:, -1], latents.shape[1] - 1)

    def rollout(self, context: Context, actions: Tensor) -> Tensor:
        """Candidate plans [S, H, A] -> predicted latents after each action [S, H, N, D].

        One block of tokens per step; the context is shared by all candidates.

        Raises:
            ValueError: context + horizon is longer than the sequences of training.
        """
        candidates, horizon, _ = actions.shape
        latents = context.latents.expand(candidates, -1, -1)
        state = context.state.expand(candidates, -1)
        caches, predicted = context.caches, []
        for h in range(horizon):
            action = actions[:, h]
            change, caches = self.predictor.extend(
                self.standardise(latents), self.normalise_actions(action), self.normalise_states(state), caches,
                context.frame + h,
            )
            latents = self._changed(latents, change)
            state = self.advance(state, action)
            predicted.append(latents)
        return torch.stack(predicted, dim=1)

    def displacement(self, latents: Tensor) -> Tensor:
        """latents [..., N, D] -> [..., M], differences of which are displacements, in standard deviations of the state."""
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
        """
        return self.displacement(latents) / self.metric_error
