"""Encoder, action-conditioned predictor and metric head as one latent world model.

Frames, actions and states come in as the contract defines them (uint8 pixels, physical units);
normalisation happens in here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_robot.errors import ConfigError, ContractError
from jepa_robot.models.ac_predictor import CAMERA_DIMS, ActionConditionedPredictor, PredictorConfig, Start
from jepa_robot.models.attention import hidden_units
from jepa_robot.models.cache import Cache
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.encoders import AnyEncoder, AnyEncoderConfig, build_encoder
from jepa_robot.models.metric_head import MetricConfig, MetricHead
from jepa_robot.models.rotation import compose
from jepa_robot.models.standardise import Standardise
from jepa_robot.spec import Contract, Dim

CACHED_VALUES = 2**21  # float32 between two layers that a CPU's caches hold


@dataclass(frozen=True)
class Context:
    """What rollouts start from.

    Attributes:
        latents: [E, T, N, D]; states: [E, T, P]; actions: [E, T - 1, A]; both in physical units.
        extrinsics: [E, 6], the camera's pose, or None.
        start: what the predictor has computed of them, for all candidates.
    """

    latents: Tensor
    states: Tensor
    actions: Tensor
    extrinsics: Tensor | None
    start: Start


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
        self.camera_pose: Tensor | None = None  # [6]
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
        return F.layer_norm(torch.addcmul(start.float(), self.standardise.std, output.float()), latents.shape[-1:])

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
            extrinsics: [E, 6], the pose of a camera that stands still, for a predictor that takes it; None: what
                `set_camera_pose` said.

        Raises:
            ConfigError: nobody said.
        """
        most = self.config.predictor.max_frames
        latents, states = latents[:, -most:], states[:, -most:]
        actions = actions[:, actions.shape[1] - (latents.shape[1] - 1) :]
        if extrinsics is None and self.config.predictor.extrinsics:
            if self.camera_pose is None:
                raise ConfigError(
                    "is not given, and this checkpoint's predictor takes it", where="planner.camera_pose",
                    mend="add planner.camera_pose=[x,y,z,a,b,c], in metres and radians",
                )
            extrinsics = self.camera_pose.expand(len(latents), -1)
        start = self._start(latents, states, actions, extrinsics)
        return Context(latents, states, actions, extrinsics, start)

    def _start(self, latents: Tensor, states: Tensor, actions: Tensor, extrinsics: Tensor | None) -> Start:
        latents, states = self.standardise(latents), self.normalise_states(states)
        poses = None if extrinsics is None else extrinsics[:, None]
        past = self.predictor.cache(latents[:, :-1], self.normalise_actions(actions), states[:, :-1], poses)
        return self.predictor.begin(latents[:, -1], states[:, -1], past, actions.shape[1], extrinsics)

    def rollout(self, context: Context, actions: Tensor) -> Tensor:
        """Candidate plans [E, S, H, A] -> predicted latents after each action [E, S, H, N, D].

        One block of tokens per step; the context is shared by all candidates. Where context and plan together are
        longer than sequences were in training, the model sees the last ``max_frames`` of them: positions and what
        frames have seen change with every step from there on, so that each costs as much as ``max_frames`` before.
        """
        steps, caches, predicted = [], [], []
        latents, state = context.latents[:, -1:], context.states[:, -1:]
        for h, action in enumerate(actions.unbind(2)):
            if h > 0:
                state = self.advance(state, actions[:, :, h - 1])
            steps.append((self.standardise(latents), self.normalise_actions(action), self.normalise_states(state)))
            output, caches = self._step(context, steps, caches, actions.shape[2])
            latents = self._following(latents, output)
            predicted.append(latents)
        return torch.stack(predicted, dim=2)

    def _step(
        self, context: Context, steps: list[tuple[Tensor, ...]], caches: list[Cache], horizon: int
    ) -> tuple[Tensor, list[Cache]]:
        """What the predictor makes of the last of ``steps``, given the caches of those before; and longer caches."""
        poses = None if context.extrinsics is None else context.extrinsics[:, None]
        past, most = context.actions.shape[1], self.config.predictor.max_frames
        extend, start, first = self.predictor.extend, context.start, past + len(steps) - most  # of the window
        if first <= 0 and len(steps) > 1:
            return extend(*steps[-1], caches, past + len(steps) - 1, poses, min(horizon, most - past))
        if 0 < first <= past:
            window = (part[:, first:] for part in (context.latents, context.states, context.actions))
            start = self._start(*window, context.extrinsics)
        if first <= past:
            output, caches = self.predictor.act(start, steps[0][1], min(horizon, most - start.frame))
            steps, frame = steps[1:], start.frame + 1
        else:
            steps, caches, frame = steps[first - past :], [Cache() for _ in caches], 0
        for frame, step in enumerate(steps, start=frame):
            output, caches = extend(*step, caches, frame, poses, most)
        return output, caches

    def set_camera_pose(self, pose: Sequence[float]) -> None:
        """Say where the camera stands, for a predictor that takes it: position in metres, Euler xyz in radians.

        Raises:
            ConfigError: this predictor takes none, or it is not six numbers.
        """
        where = "planner.camera_pose"
        if not self.config.predictor.extrinsics:
            raise ConfigError("is given, but this checkpoint's predictor takes none", where=where, mend="leave it out")
        if len(pose) != CAMERA_DIMS or not all(isinstance(n, (int, float)) and math.isfinite(n) for n in pose):
            raise ConfigError(f"is {list(pose)}", where=where, expected="six numbers: x y z in m, Euler xyz in rad")
        self.camera_pose = torch.tensor([float(number) for number in pose], device=self.device)

    def compile_rollouts(self) -> None:
        """`torch.compile` what rollouts repeat, in place, at their first call: that one takes long."""
        for block in self.predictor.blocks:
            block.extend = torch.compile(block.extend)

    def graph_rollouts(self) -> None:
        """`torch.compile` whole rollouts, in place, and launch each as one CUDA graph, at their first calls.

        A small model's rollout is hundreds of kernels, which take a GPU less time than the CPU takes to launch them.

        Raises:
            ConfigError: the model is on another device.
        """
        if self.device.type != "cuda":
            raise ConfigError(
                f"needs a GPU, and the model is on {self.device.type}", where="planner.cuda_graphs",
                mend="use device=cuda, or leave it out",
            )
        rollout = torch.compile(self.rollout, mode="reduce-overhead")
        # The next launch of a graph overwrites what this one has returned.
        self.rollout = lambda context, actions: rollout(context, actions).clone()

    def candidates_at_once(self, horizon: int) -> int:
        """How many candidates of all environments together a `rollout` is fastest with, and has memory for.

        On a CPU so many that what is between two layers stays in its caches; on a GPU, what a quarter of its memory
        holds.
        """
        predictor, encoder = self.config.predictor, self.config.encoder
        tokens, hidden = self.predictor.tokens_per_frame, hidden_units(predictor.width, predictor.mlp_ratio)
        if self.device.type == "cpu":
            return max(1, CACHED_VALUES // (tokens * hidden))
        kept = tokens * 2 * predictor.width * predictor.depth + 2 * encoder.tokens * encoder.width  # a step
        each = 4 * (horizon * kept + tokens * (2 * hidden + 8 * predictor.width))
        return max(1, torch.cuda.get_device_properties(self.device).total_memory // 4 // each)

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
