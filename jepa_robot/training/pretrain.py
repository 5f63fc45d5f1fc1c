"""Masked latent prediction with an EMA teacher: the encoder from scratch (V-JEPA 2, arXiv 2506.09985)."""

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
from jepa_robot.training.health import effective_rank, linear_probe
from jepa_robot.training.masks import MaskConfig, sample_masks
from jepa_robot.training.optim import adamw, ema_update
from jepa_robot.training.schedules import warmup_constant_decay
from jepa_robot.training.spread import Spread

PROBE_FRAMES = 2000
SPREAD_FRAMES = 4  # frames of a clip that are also encoded whole, for the variance and covariance


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of masked pretraining.

    Attributes:
        clip_frames: T, even.
        masks: block shapes; every batch takes one of them in turn.
        motion: 0 counts all hidden tokens alike; 1 counts them by how much their pixels change in the clip.
        variance, covariance: weights of the two terms of `jepa_robot.training.spread.Spread`.
        momentum: of the EMA teacher.
    """

    batch_size: int
    clip_frames: int
    masks: tuple[MaskConfig, ...]
    motion: float
    variance: float
    covariance: float
    momentum: float
    lr: float
    weight_decay: float
    warmup: float
    decay: float


def motion_weights(tubelets: Tensor, tokens: int, share: float) -> Tensor:
    """How much each token of a clip counts, mean 1 in every clip.

    Pixels of a clip's tubelets float [B, L, pixels], L = tubelets * N with N = ``tokens`` -> [B, L]. A
    part ``1 - share`` is the same for all tokens; the rest goes by how much a patch's pixels differ from
    one tubelet to the next, so that what moves (the robot) is not outvoted by what stands still.
    """
    clips = tubelets.unflatten(1, (-1, tokens))
    moving = (clips[:, 1:] - clips[:, :-1]).abs().mean((1, 3))  # [B, N]
    moving = moving + 1e-6  # a clip in which nothing moves counts all its tokens alike
    moving = moving / moving.mean(1, keepdim=True)
    return (1 - share + share * moving).repeat(1, clips.shape[1])


class PretrainStage:
    """See `jepa_robot.training.loop.Stage`.

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
        self.config, self.device, self.dtype = config, device, dtype
        self.data, self.train, self.valid, self.skip = data, train, valid, loader.skip
        self.encoder = VideoEncoder(encoder_config, contract.camera.mean, contract.camera.std).to(device)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
        self.predictor = MaskedPredictor(encoder_config.width, predictor_config).to(device)
        self.spread = Spread(encoder_config.tokens, encoder_config.width, seed, device)
        self.optimizer = adamw([self.encoder, self.predictor], config.lr, config.weight_decay)
        self.batches = WindowBatches(data, train, config.clip_frames, config.batch_size, seed, loader)
        self.held_out = WindowIndex.at_least_one(data, valid, config.clip_frames, loader.skip, "held-out episode")
        self.seed = seed
        self.positions = self.encoder.positions(config.clip_frames // TUBELET)

    def _losses(self, frames: Tensor, masks: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        visible, hidden = (m.to(self.device) for m in masks)

        def select(x: Tensor, chosen: Tensor) -> Tensor:
            return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1]))

        with autocast(self.device, self.dtype):
            with torch.no_grad():
                pixels = self.encoder.tubelets(frames)
                target = self.teacher.run(self.teacher.patch_embed(pixels), self.positions)
                target = F.layer_norm(select(target, hidden).float(), (target.shape[-1],))
                weights = motion_weights(pixels, self.encoder.config.tokens, self.config.motion).gather(1, hidden)
            tokens = self.encoder.patch_embed(select(pixels, visible))
            latents = self.encoder.run(tokens, self.positions[visible])
            predicted = self.predictor(latents, self.positions[visible], self.positions[hidden])
            terms = {"masked": losses.masked_latent(predicted, target, weights)}
            alone = self.encoder(frames[:, :: frames.shape[1] // SPREAD_FRAMES])
            terms["variance"], terms["covariance"] = self.spread(alone)
        return terms

    def step(self, index: int, steps: int) -> dict[str, float]:
        """One optimisation step, see `loop.Stage`."""
        c = self.config
        rng = np.random.default_rng((self.seed, 1, index))
        frames = next(self.batches).frames.to(self.device)
        masks = sample_masks(
            len(frames), self.encoder.config.grid, c.clip_frames // TUBELET, c.masks[index % len(c.masks)], rng
        )
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * warmup_constant_decay(index, steps, c.warmup, c.decay)
        terms = self._losses(frames, masks)
        loss = terms["masked"] + c.variance * terms["variance"] + c.covariance * terms["covariance"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        self.optimizer.step()
        ema_update(self.teacher, self.encoder, c.momentum)
        return {"loss": loss.item(), **{name: value.item() for name, value in terms.items()}}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss, and the health of the teacher's single-frame latents."""
        index = self.held_out
        rng = np.random.default_rng(0)
        chosen = index.starts(rng.choice(len(index), size=min(self.config.batch_size, len(index)), replace=False))
        masks = sample_masks(
            len(chosen), self.encoder.config.grid, self.config.clip_frames // TUBELET, self.config.masks[0], rng
        )
        with torch.inference_mode():
            windows = self.data.gather(chosen, self.config.clip_frames, self.skip)
            terms = self._losses(windows.frames.to(self.device), masks)
        return {
            "valid_masked": float(terms["masked"]),
            **representation_figures(self.teacher, self.data, self.train, self.valid),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "encoder": self.encoder.state_dict(),
            "teacher": self.teacher.state_dict(),
            "predictor": self.predictor.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("encoder", "teacher", "predictor", "optimizer", "batches"):
            getattr(self, name).load_state_dict(state[name])


def probe_frames(data: Trajectories, episodes: np.ndarray, count: int) -> np.ndarray:
    """Rows of up to ``count`` frames of the episodes, evenly spread and always the same."""
    frames = WindowIndex(data, episodes, 1)
    return frames.starts(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))


@torch.inference_mode()
def encode_rows(
    encoder: VideoEncoder, data: Trajectories, rows: np.ndarray, dtype: torch.dtype = torch.float32, batch: int = 256
) -> Tensor:
    """Single-frame latents [n, N, D] on the CPU of the pictures at ``rows``."""
    sizes = encoder.config
    latents = torch.empty(len(rows), sizes.tokens, sizes.width, dtype=dtype)
    for i in range(0, len(rows), batch):
        chosen = torch.from_numpy(data.frames_at(rows[i : i + batch])).to(encoder.pixel_mean.device)
        latents[i : i + batch] = encoder(chosen[:, None])[:, 0]
    return latents


def representation_figures(
    encoder: VideoEncoder, data: Trajectories, train: np.ndarray, valid: np.ndarray
) -> dict[str, float]:
    """Latent standard deviation, effective rank, and a linear probe of every proprioceptive dimension."""
    rows = [probe_frames(data, e, n) for e, n in ((train, PROBE_FRAMES), (valid, PROBE_FRAMES // 3))]
    x = [encode_rows(encoder, data, r).flatten(1) for r in rows]
    y = [torch.from_numpy(data.states_at(r)) for r in rows]
    probe = linear_probe(x[0], y[0], x[1], y[1])
    names = [d.name for d in data.contract.states]
    return {
        "latent_std": float(x[1].std(0).mean()),
        "effective_rank": effective_rank(x[1]),
        **{f"r2_{name}": value for name, value in zip(names, probe.r2)},
        **{f"rmse_{name}": value for name, value in zip(names, probe.rmse)},
    }
