"""Block-causal, action-conditioned predictor (V-JEPA 2-AC, arXiv 2506.09985, section 3), and its AdaLN variant."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jepa_robot.models.attention import Block, ModulatedBlock, initialise
from jepa_robot.models.cache import Cache, Common
from jepa_robot.models.linear import Linear
from jepa_robot.models.rope import grid_positions, require_even, rotation_table

CAMERA_DIMS = 6  # of a camera's pose: position in metres, Euler xyz in radians


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes and variants of an `ActionConditionedPredictor`.

    Attributes:
        max_frames: the longest sequence (context + horizon) that it has been trained on.
        conditioning: ``tokens`` puts action and state into the sequence (V-JEPA 2-AC); ``adaln`` lets them shift,
            scale and gate every block (JEPA-WMs, arXiv 2512.24497), and the sequence is the patches alone.
        extrinsics: whether the camera's pose is a further input, as it may be in V-JEPA 2-AC.
        predicts: ``change`` of the latents to the next frame, or the next ``latents`` themselves (V-JEPA 2-AC).
            Predicting the change starts from copying the frame instead of having to learn the copy, which
            takes a predictor of the whole latents its first thousand steps.
        tiled_rope: the rotary frequencies of V-JEPA 2's released weights, see `jepa_robot.models.rope`.

    Raises:
        ValueError: a variant that there is not.
    """

    width: int = 128
    depth: int = 4
    heads: int = 4
    max_frames: int = 8
    mlp_ratio: float = 4.0
    conditioning: str = "tokens"
    extrinsics: bool = False
    predicts: str = "change"
    tiled_rope: bool = False

    def __post_init__(self) -> None:
        for name, values in (("conditioning", ("tokens", "adaln")), ("predicts", ("change", "latents"))):
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(values)}")

    @property
    def condition_tokens(self) -> int:
        """Tokens of a frame before its patches."""
        return 0 if self.conditioning == "adaln" else 3 if self.extrinsics else 2


@dataclass(frozen=True)
class Start:
    """A frame that all candidates are in, before their actions.

    Attributes:
        first: what the first block has made of it; with AdaLN, where that needs the action, its tokens [E, N, width].
        condition: with AdaLN, the embedded state and camera pose, [E, width].
        caches: one a block, of the frames before.
        frame: its index in the sequence.
    """

    first: Common | Tensor
    condition: Tensor | None
    caches: list[Cache]
    frame: int


def block_causal_mask(frames: int, tokens_per_frame: int, device: torch.device | None = None) -> Tensor:
    """bool [L, L], L = frames * tokens_per_frame: True where a token of frame t may see one of frame <= t."""
    frame = torch.arange(frames, device=device).repeat_interleave(tokens_per_frame)
    return frame[:, None] >= frame[None, :]


class ActionConditionedPredictor(nn.Module):
    """The next frame's latents, or their change, given latents, actions and states up to each frame.

    Per time step the tokens are [action, state, (camera pose), N patches]; the output at frame t's patches
    belongs to frame t + 1. Patches rotate by (frame, row, column), what conditions them by frame only.
    With AdaLN the tokens are the patches, and the sum of the embedded conditions modulates every block.
    """

    def __init__(self, config: PredictorConfig, latent_width: int, grid: int, action_dims: int, state_dims: int):
        super().__init__()
        self.config, self.grid = config, grid
        self.embed = Linear(latent_width, config.width)
        self.action_embed = Linear(action_dims, config.width)
        self.state_embed = Linear(state_dims, config.width)
        self.extrinsics_embed = Linear(CAMERA_DIMS, config.width) if config.extrinsics else None
        block = ModulatedBlock if config.conditioning == "adaln" else Block
        self.blocks = nn.ModuleList(block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.proj = Linear(config.width, latent_width)
        initialise(self)
        if config.predicts == "change":
            nn.init.trunc_normal_(self.proj.weight, std=0.01)  # start close to copying the frame
        self.set_constants()

    def set_constants(self) -> None:
        """The buffers that are in no checkpoint, rotation tables [max_frames * tokens_per_frame, d]."""
        config, grid = self.config, self.grid
        head_dim = config.width // config.heads
        if self.embed.weight.is_meta:
            # Only shapes are wanted; computing on the meta device loads torch's compiler, which takes a second.
            require_even(head_dim)
            shape = config.max_frames * self.tokens_per_frame, head_dim
            self.register_buffer("cos", torch.empty(shape, device="meta"), persistent=False)
            self.register_buffer("sin", torch.empty(shape, device="meta"), persistent=False)
            return
        patches = grid_positions(config.max_frames, grid, grid).view(config.max_frames, -1, 3)
        condition = torch.zeros(config.max_frames, config.condition_tokens, 3)
        condition[..., 0] = torch.arange(config.max_frames, dtype=torch.float32)[:, None]
        positions = torch.cat([condition, patches], dim=1).flatten(0, 1)
        cos, sin = rotation_table(positions, head_dim, config.tiled_rope)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @property
    def tokens_per_frame(self) -> int:
        return self.config.condition_tokens + self.grid**2

    def _conditions(self, states: Tensor, extrinsics: Tensor | None) -> list[Tensor]:
        """Embedded conditions besides the action, each [..., width]."""
        if (extrinsics is None) == self.config.extrinsics:
            raise ValueError(
                "this predictor takes the camera's pose, and got none" if self.config.extrinsics
                else "this predictor takes no camera pose, and got one"
            )
        state = self.state_embed(states)
        return [state, self.extrinsics_embed(extrinsics)] if self.config.extrinsics else [state]

    def _inputs(self, latents: Tensor, conditions: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """[.., N, D], each [.., width] -> tokens [.., n, width], and what else a block takes ([.., width])."""
        if self.config.conditioning == "adaln":
            return self.embed(latents), (sum(conditions),)
        return torch.cat([torch.stack(conditions, dim=-2), self.embed(latents)], dim=-2), ()

    def _table(self, first: int, frames: int) -> tuple[Tensor, Tensor]:
        n = self.tokens_per_frame
        if first + frames > self.config.max_frames:
            raise ValueError(
                f"sequence of {first + frames} frames; this predictor was trained on up to {self.config.max_frames}"
            )
        return self.cos[first * n : (first + frames) * n], self.sin[first * n : (first + frames) * n]

    def _output(self, x: Tensor) -> Tensor:
        """Tokens [..., n, width], or the patches alone, -> [..., N, D]."""
        return self.proj(self.norm(x[..., -self.grid**2 :, :]))

    def forward(self, latents: Tensor, actions: Tensor, states: Tensor, extrinsics: Tensor | None = None) -> Tensor:
        """What belongs to the next frames, [B, T, N, D].

        Args:
            latents: [B, T, N, D]; actions: [B, T, A]; states: [B, T, P]; extrinsics: [B, T, 6], or None.

        Raises:
            ValueError: a sequence longer than those of training, or a camera pose too many or too few.
        """
        time = latents.shape[1]
        table = self._table(0, time)
        x, modulation = self._inputs(latents, [self.action_embed(actions), *self._conditions(states, extrinsics)])
        x = x.flatten(1, 2)
        mask = block_causal_mask(time, self.tokens_per_frame, x.device) if time > 1 else None
        for block in self.blocks:
            x = block(x, table, *modulation, mask=mask)
        return self._output(x.unflatten(1, (time, -1)))

    def cache(
        self, latents: Tensor, actions: Tensor, states: Tensor, extrinsics: Tensor | None = None
    ) -> list[Cache]:
        """Keys and values of past frames, which all candidates will share.

        Frames are run one after the other, which is the block-causal mask exactly.

        Args:
            latents: [E, T, N, D]; actions: [E, T, A]; states: [E, T, P]; extrinsics: [E, 1, 6], or None.
        """
        caches, time = [Cache() for _ in self.blocks], latents.shape[1]
        for t in range(time):
            moment = (part[:, t : t + 1] for part in (latents, actions, states))
            _, caches = self.extend(*moment, caches, t, extrinsics, time)
        return [Cache(shared=cache.own) for cache in caches]

    def begin(
        self, latents: Tensor, states: Tensor, caches: list[Cache], frame: int, extrinsics: Tensor | None = None
    ) -> Start:
        """What can be computed of a frame that all candidates are in, before their actions.

        Args:
            latents: [E, N, D]; states: [E, P]; extrinsics: [E, 6], or None.
            caches: of the frames before, shared.
            frame: index of this one in the sequence.
        """
        conditions, x = self._conditions(states, extrinsics), self.embed(latents)
        if self.config.conditioning == "adaln":
            return Start(x, sum(conditions), caches, frame)
        cos, sin = self._table(frame, 1)
        x = torch.cat([torch.stack(conditions, dim=1), x], dim=1)
        return Start(self.blocks[0].begin(x, (cos[1:], sin[1:]), caches[0]), None, caches, frame)

    def act(self, start: Start, actions: Tensor, steps: int = 1) -> tuple[Tensor, list[Cache]]:
        """`extend` by the frame of ``start``, in which candidates take actions [E, S, A]."""
        candidates, table, action = actions.shape[1], self._table(start.frame, 1), self.action_embed(actions)
        room = steps * self.tokens_per_frame
        if start.condition is not None:
            x = start.first[:, None].expand(-1, candidates, -1, -1)
            return self._run(x, (action + start.condition[:, None],), table, start.caches, room)
        cos, sin = table
        x, cache = self.blocks[0].add_own(action.flatten(0, 1)[:, None], (cos[:1], sin[:1]), start.first, room)
        output, caches = self._run(x.unflatten(0, (-1, candidates)), (), table, start.caches[1:], room)
        return output, [cache, *caches]

    def extend(
        self,
        latents: Tensor,
        actions: Tensor,
        states: Tensor,
        caches: list[Cache],
        frame: int,
        extrinsics: Tensor | None = None,
        steps: int = 1,
    ) -> tuple[Tensor, list[Cache]]:
        """One new frame for all candidates -> what belongs to the next one, [E, S, N, D], and the longer caches.

        Equal to the last frame of `forward` over the whole sequence, at the cost of one frame.

        Args:
            latents: [E, S, N, D]; actions: [E, S, A]; states: [E, S, P]; extrinsics: [E, 1, 6], or None.
            frame: index of the new frame in the sequence.
            steps: frames that the caches will take in all, for which memory is taken at once.
        """
        conditions = [self.action_embed(actions), *self._conditions(states, extrinsics)]
        conditions = [condition.expand_as(conditions[0]) for condition in conditions]
        x, modulation = self._inputs(latents, conditions)
        return self._run(x, modulation, self._table(frame, 1), caches, steps * self.tokens_per_frame)

    def _run(
        self, x: Tensor, modulation: tuple[Tensor, ...], table: tuple[Tensor, Tensor], caches: list[Cache], room: int
    ) -> tuple[Tensor, list[Cache]]:
        """Tokens [E, S, n, width] of a frame through the blocks of ``caches``, the last ones -> [E, S, N, D]."""
        size, modulation, grown = x.shape[:2], tuple(m.flatten(0, 1)[:, None] for m in modulation), []
        x = x.flatten(0, 1)
        for block, cache in zip(self.blocks[len(self.blocks) - len(caches) :], caches):
            outputs = self.grid**2 if block is self.blocks[-1] else x.shape[1]
            x, cache = block.extend(x, table, cache, room, outputs, *modulation)
            grown.append(cache)
        return self._output(x).unflatten(0, size), grown
