"""Block-causal, action-conditioned predictor (V-JEPA 2-AC, arXiv 2506.09985, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jepa_robot.models.attention import Block, Cache, initialise
from jepa_robot.models.rope import grid_positions, rotation_table

CONDITION_TOKENS = 2  # action, state


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of an `ActionConditionedPredictor`.

    ``max_frames`` is the longest sequence (context + horizon) that it has been trained on.
    """

    width: int = 128
    depth: int = 4
    heads: int = 4
    max_frames: int = 8


def block_causal_mask(frames: int, tokens_per_frame: int) -> Tensor:
    """bool [L, L], L = frames * tokens_per_frame: True where a token of frame t may see one of frame <= t."""
    frame = torch.arange(frames).repeat_interleave(tokens_per_frame)
    return frame[:, None] >= frame[None, :]


class ActionConditionedPredictor(nn.Module):
    """The change of the latents from frame to frame, given latents, actions and states, all normalised.

    Per time step the tokens are [action, state, N patches]; the output at frame t's patches is the
    predicted change from frame t to frame t + 1. Patches rotate by (frame, row, column), action and
    state by frame only. Predicting the change starts from copying the frame instead of having to learn
    the copy, which takes a predictor of the whole latents its first thousand steps.
    """

    def __init__(self, config: PredictorConfig, latent_width: int, grid: int, action_dims: int, state_dims: int):
        super().__init__()
        self.config, self.grid = config, grid
        self.embed = nn.Linear(latent_width, config.width)
        self.action_embed = nn.Linear(action_dims, config.width)
        self.state_embed = nn.Linear(state_dims, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.proj = nn.Linear(config.width, latent_width)
        initialise(self)
        nn.init.trunc_normal_(self.proj.weight, std=0.01)  # start close to copying the frame
        patches = grid_positions(config.max_frames, grid, grid).view(config.max_frames, -1, 3)
        condition = torch.zeros(config.max_frames, CONDITION_TOKENS, 3)
        condition[..., 0] = torch.arange(config.max_frames, dtype=torch.float32)[:, None]
        positions = torch.cat([condition, patches], dim=1)
        cos, sin = rotation_table(positions.flatten(0, 1), config.width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        mask = block_causal_mask(config.max_frames, self.tokens_per_frame)
        self.register_buffer("mask", mask, persistent=False)

    @property
    def tokens_per_frame(self) -> int:
        return CONDITION_TOKENS + self.grid**2

    def _tokens(self, latents: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """[.., T, N, D], [.., T, A], [.., T, P] -> [.., T, 2 + N, width]."""
        parts = [self.action_embed(actions)[..., None, :], self.state_embed(states)[..., None, :], self.embed(latents)]
        return torch.cat(parts, dim=-2)

    def _table(self, first: int, frames: int) -> tuple[Tensor, Tensor]:
        n = self.tokens_per_frame
        if first + frames > self.config.max_frames:
            raise ValueError(
                f"sequence of {first + frames} frames; this predictor was trained on up to {self.config.max_frames}"
            )
        return self.cos[first * n : (first + frames) * n], self.sin[first * n : (first + frames) * n]

    def _change(self, x: Tensor) -> Tensor:
        """Tokens [..., 2 + N, width] -> [..., N, D]."""
        return self.proj(self.norm(x[..., CONDITION_TOKENS:, :]))

    def forward(self, latents: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """latents [B, T, N, D], actions [B, T, A], states [B, T, P] -> change to the next frame [B, T, N, D]."""
        time = latents.shape[1]
        table = self._table(0, time)
        x = self._tokens(latents, actions, states).flatten(1, 2)
        mask = None
        if time > 1:
            mask = self.mask[: x.shape[1], : x.shape[1]]
        for block in self.blocks:
            x = block(x, table, mask)
        return self._change(x.unflatten(1, (time, -1)))

    def cache(self, latents: Tensor, actions: Tensor, states: Tensor) -> list[Cache]:
        """Keys and values of past frames: latents [1, T, N, D], actions [1, T, A], states [1, T, P].

        Frames are run one after the other, which is the block-causal mask exactly.
        """
        caches = [Cache() for _ in self.blocks]
        for t in range(latents.shape[1]):
            _, caches = self.extend(latents[:, t], actions[:, t], states[:, t], caches, t)
        return [Cache(shared=cache.own) for cache in caches]

    def extend(
        self, latents: Tensor, actions: Tensor, states: Tensor, caches: list[Cache], frame: int
    ) -> tuple[Tensor, list[Cache]]:
        """One new frame for all candidates: latents [S, N, D], actions [S, A], states [S, P] -> change [S, N, D].

        Equal to the last frame of `forward` over the whole sequence, at the cost of one frame.
        """
        table = self._table(frame, 1)
        x = self._tokens(latents, actions, states)
        grown = []
        for block, cache in zip(self.blocks, caches):
            x, cache = block.extend(x, table, cache)
            grown.append(cache)
        return self._change(x), grown
