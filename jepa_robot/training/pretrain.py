"""The encoder from scratch: latent prediction of what is masked, in every variant of the JEPA family.

One loop for all; `PretrainConfig` chooses masks, target, losses and schedules. configs/train has the published
combinations: V-JEPA 2 (arXiv 2506.09985), V-JEPA (2404.08471), I-JEPA (2301.08243), C-JEPA (2410.19560) and
SIGReg (LeJEPA, 2511.08544).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.data.loader import LoaderConfig, WindowBatches
from jepa_robot.data.windows import Trajectories, WindowIndex
from jepa_robot.models.encoder import TUBELET, EncoderConfig, VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.runtime import autocast
from jepa_robot.spec import Contract
from jepa_robot.training import losses
from jepa_robot.training.masks import MaskConfig, Masks, sample_masks
from jepa_robot.training.optim import adamw, ema_update
from jepa_robot.training.phases import Phase, phase_at, resized
from jepa_robot.training.probes import pixel_figures, prefixed, representation_figures
from jepa_robot.training.regularisation import collapse_terms, wanted, weighted
from jepa_robot.training.schedules import cosine, linear, warmup_constant_decay
from jepa_robot.training.summary import FrameSummary, SummaryConfig

SUMMARY_FRAMES = 4  # frames of a clip that are also encoded whole, for the terms on summaries


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of pretraining.

    Attributes:
        clip_frames: T; 1, for single frames, or even.
        masks: block shapes.
        masks_per_step: "all": every clip is masked in each of these ways, as in V-JEPA; "turn": the steps take
            them in turn, at about half the cost of a step with two.
        target: whose latents are predicted: the "teacher"'s, an average of the encoder over the steps, or the
            "encoder"'s own, which learns from this too and needs a term against collapse.
        exponent: of the prediction error: 1 for V-JEPA's, 2 for I-JEPA's.
        motion: 0 counts all hidden tokens alike; 1 counts them by how much their pixels change in the clip.
        summary: what of a frame the next three terms are measured on.
        variance, covariance, gaussian: weights of `regularisation.collapse_terms`.
        momentum, momentum_end: of the teacher, in a straight line.
        weight_decay, weight_decay_end: along half a cosine.
        warmup, decay, decay_shape: see `schedules.warmup_constant_decay`.
        early_phases: what comes before clips of ``clip_frames`` frames at the data's size.
    """

    batch_size: int
    clip_frames: int
    masks: tuple[MaskConfig, ...]
    masks_per_step: str
    target: str
    exponent: float
    motion: float
    summary: SummaryConfig
    variance: float
    covariance: float
    gaussian: float
    momentum: float
    momentum_end: float
    lr: float
    weight_decay: float
    weight_decay_end: float
    warmup: float
    decay: float
    decay_shape: str
    early_phases: tuple[Phase, ...]


def motion_weights(tubelets: Tensor, tokens: int, share: float) -> Tensor:
    """How much each token of a clip counts, mean 1 in every clip.

    Pixels of a clip's tubelets float [B, L, pixels], L = tubelets * N with N = ``tokens`` -> [B, L]. A
    part ``1 - share`` is the same for all tokens; the rest goes by how much a patch's pixels differ from
    one tubelet to the next, so that what moves (the robot) is not outvoted by what stands still.
    """
    if share == 0:
        return torch.ones(tubelets.shape[:2], device=tubelets.device)
    clips = tubelets.unflatten(1, (-1, tokens))
    moving = (clips[:, 1:] - clips[:, :-1]).abs().mean((1, 3))  # [B, N]
    moving = moving + 1e-6  # a clip in which nothing moves counts all its tokens alike
    moving = moving / moving.mean(1, keepdim=True)
    return (1 - share + share * moving).repeat(1, clips.shape[1])


def _select(x: Tensor, chosen: Tensor) -> Tensor:
    """x [B, L, D], token indices [B, M] -> [B, M, D]."""
    return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1]))


class PretrainStage:
    """See `jepa_robot.training.loop.Stage`.

    Attributes:
        teacher: what is kept in the end; the encoder itself where that is its own target.

    Args:
        contract: with normalisation from the training episodes.
        train, valid: episode indices.
    """

    def __init__(
        self,
        data: Trajectories,
        train: np.ndarray,
        valid: np.ndarray,
        contract: Contract,
        encoder_config: EncoderConfig,
        predictor_config: MaskedPredictorConfig,
        config: PretrainConfig,
        seed: int,
        device: torch.device,
        dtype: str,
        loader: LoaderConfig = LoaderConfig(),
    ):
        torch.manual_seed(seed)
        self.config, self.seed, self.device, self.dtype = config, seed, device, dtype
        self.data, self.train, self.valid, self.loader = data, train, valid, loader
        self.encoder = VideoEncoder(encoder_config, contract.camera.mean, contract.camera.std).to(device)
        own = config.target == "encoder"
        self.against_collapse = "raise train.variance and train.covariance, or train.gaussian, lower train.lr, or " + (
            "hold the targets (train.target=teacher)" if own else "let the teacher follow more slowly (train.momentum)"
        )
        self.teacher = self.encoder if own else copy.deepcopy(self.encoder).requires_grad_(False)
        self.predictor = MaskedPredictor(encoder_config.width, predictor_config).to(device)
        self.summary = FrameSummary(encoder_config.tokens, encoder_config.width, config.summary, seed).to(device)
        self.optimizer = adamw([self.encoder, self.predictor, self.summary], config.lr, config.weight_decay)
        self.phases = (*config.early_phases, Phase(1.0, config.clip_frames, encoder_config.image_size))
        for phase in range(len(self.phases)):  # data that have too short episodes are refused before the first step
            self._enter(phase)
        self._enter(0)
        self.held_out = WindowIndex.at_least_one(data, valid, config.clip_frames, loader.skip, "held-out episode")

    def _enter(self, phase: int) -> None:
        """Draw clips as long as this phase's from now on."""
        self.phase, frames = phase, self.phases[phase].clip_frames
        self.batches = WindowBatches(
            self.data, self.train, frames, self.config.batch_size, self.seed + phase, self.loader
        )

    def _masks(self, clips: int, phase: Phase, which: int, rng: np.random.Generator) -> Masks:
        grid = phase.image_size // self.encoder.config.patch_size
        masks = sample_masks(clips, grid, max(1, phase.clip_frames // TUBELET), self.config.masks[which], rng)
        return Masks(masks.visible.to(self.device), masks.hidden.to(self.device))

    def _prediction_error(self, frames: Tensor, masks: dict[int, Masks]) -> Tensor:
        """Mean error over masks, given by their index in the configuration. Clips [B, T, H, W, 3] -> scalar."""
        c = self.config
        if frames.shape[1] == 1:  # as `VideoEncoder` encodes frames on their own
            frames = frames.expand(-1, TUBELET, -1, -1, -1)
        grid = frames.shape[2] // self.encoder.config.patch_size
        positions = self.encoder.positions(frames.shape[1] // TUBELET, grid)
        with torch.no_grad():
            pixels = self.encoder.tubelets(frames)
            weights = motion_weights(pixels, grid**2, c.motion)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.teacher is self.encoder):
            target = self.teacher.run(self.teacher.patch_embed(pixels), positions).float()
            target = F.layer_norm(target, target.shape[-1:])
        errors = []
        for number, mask in masks.items():
            latents = self.encoder.run(self.encoder.patch_embed(_select(pixels, mask.visible)), positions[mask.visible])
            count = len(mask.hidden)
            hidden, seen = mask.hidden.flatten(0, 1), positions[mask.visible].repeat(count, 1, 1)
            predicted = self.predictor(latents.repeat(count, 1, 1), seen, positions[hidden], number)
            wanted = _select(target.repeat(count, 1, 1), hidden)
            errors.append(
                losses.masked_latent(predicted, wanted, weights.repeat(count, 1).gather(1, hidden), c.exponent)
            )
        return torch.stack(errors).mean()

    def _against_collapse(self, frames: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """Terms of non-zero weight, of frames on their own at their full size."""
        if not wanted(self.config):
            return {}
        summary = self.summary(self.encoder(frames[:, :: max(1, frames.shape[1] // SUMMARY_FRAMES)]))
        return collapse_terms(summary, self.config, rng)

    def step(self, index: int, steps: int) -> dict[str, float]:
        """One optimisation step, see `loop.Stage`."""
        c = self.config
        number = phase_at(index, steps, self.phases)
        if number != self.phase:
            self._enter(number)
        phase = self.phases[number]
        rng = np.random.default_rng((self.seed, 1, index))
        frames = next(self.batches).frames.to(self.device)
        chosen = range(len(c.masks)) if c.masks_per_step == "all" else [index % len(c.masks)]
        masks = {which: self._masks(len(frames), phase, which, rng) for which in chosen}
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * warmup_constant_decay(index, steps, c.warmup, c.decay, c.decay_shape)
        self.optimizer.param_groups[0]["weight_decay"] = cosine(c.weight_decay, c.weight_decay_end, index, steps)
        with autocast(self.device, self.dtype):
            terms = {"masked": self._prediction_error(resized(frames, phase.image_size), masks)}
            terms |= self._against_collapse(frames, rng)
        loss = terms["masked"] + weighted(terms, c)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        self.optimizer.step()
        if self.teacher is not self.encoder:
            ema_update(self.teacher, self.encoder, linear(c.momentum, c.momentum_end, index, steps))
        return {"loss": loss.item(), **{name: value.item() for name, value in terms.items()}}

    def evaluate(self) -> dict[str, float]:
        """Prediction error and the representation's figures on held-out episodes, in clips of the last phase."""
        index, phase = self.held_out, self.phases[-1]
        rng = np.random.default_rng(0)
        chosen = index.starts(rng.choice(len(index), size=min(self.config.batch_size, len(index)), replace=False))
        masks = {0: self._masks(len(chosen), phase, 0, rng)}
        with torch.inference_mode(), autocast(self.device, self.dtype):
            windows = self.data.gather(chosen, phase.clip_frames, self.loader.skip)
            error = self._prediction_error(windows.frames.to(self.device), masks)
        return {
            "valid_masked": float(error),
            **representation_figures(self.teacher, self.data, self.train, self.valid),
        }

    def baselines(self) -> dict[str, float]:
        """Raw pixels; before the first step, the encoder itself has random weights."""
        return prefixed("pixels", pixel_figures(self.data, self.train, self.valid))

    def _parts(self) -> dict[str, Any]:
        names = ("encoder", "teacher", "predictor", "summary", "optimizer", "batches")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        return {"phase": self.phase, **{name: part.state_dict() for name, part in self._parts().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._enter(state["phase"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
