"""Rollouts as V-JEPA 2-AC's public planner does them, written plainly: what `bench_planner.py` measures against.

Of arXiv 2506.09985 and its public code this keeps what is done, and how often: every step of a rollout puts the whole
sequence of all candidates through the predictor again, float32, as one batch; context and goal are copied for each of
them; the mask of the longest possible sequence is made once and cut at each call; every layer makes its own rotary
angles; and poses are integrated on the CPU with one scipy Rotation a candidate. The weights have the published names.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

CONDITIONS = 2  # tokens of a frame before its patches: action and state


class PublishedPredictor(nn.Module):
    """Latents [B, T, N, D], actions [B, T, 7], states [B, T, 7] -> the next frames' latents [B, T, N, D].

    Args:
        latent: D; grid: rows and columns of patches, N = grid^2; frames: of the longest sequence.
    """

    def __init__(self, latent: int, width: int, depth: int, heads: int, grid: int, frames: int, dims: int = 7):
        super().__init__()
        self.grid = grid
        self.predictor_embed = nn.Linear(latent, width)
        self.action_encoder = nn.Linear(dims, width)
        self.state_encoder = nn.Linear(dims, width)
        self.predictor_blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, latent)
        frame = torch.arange(frames).repeat_interleave(CONDITIONS + grid**2)
        self.register_buffer("mask", frame[:, None] >= frame, persistent=False)

    def forward(self, latents: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        batch, time, patches, _ = latents.shape
        action, state = self.action_encoder(actions)[:, :, None], self.state_encoder(states)[:, :, None]
        x = torch.cat([action, state, self.predictor_embed(latents)], dim=2).flatten(1, 2)
        mask = self.mask[: x.shape[1], : x.shape[1]]
        for block in self.predictor_blocks:
            x = block(x, mask, time, self.grid)
        x = x.view(batch, time, CONDITIONS + patches, -1)[:, :, CONDITIONS:]
        return self.predictor_proj(self.predictor_norm(x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor, time: int, grid: int) -> Tensor:
        x = x + self.attn(self.norm1(x), mask, time, grid)
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor, time: int, grid: int) -> Tensor:
        """x [B, T * (2 + N), width]: conditions turn by frame, patches by frame, row and column."""
        batch, length, width = x.shape
        frames = x.view(batch, time, -1, width)
        ids = torch.arange(time * grid * grid, device=x.device)
        frame, within = ids // grid**2, ids % grid**2
        places = [p.float() for p in (frame, within // grid, within % grid)]
        times = torch.arange(time, device=x.device).float()
        groups = [self._turned(frames[:, :, i], [times]) for i in range(CONDITIONS)]
        groups.append(self._turned(frames[:, :, CONDITIONS:].flatten(1, 2), places))
        q, k, v = (
            torch.cat([part.unflatten(2, (time, -1)) for part in parts], dim=3).flatten(2, 3)
            for parts in zip(*groups)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).reshape(batch, length, width))

    def _turned(self, x: Tensor, places: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, L, width] at places [L] along one axis or three -> queries, keys and values [B, heads, L, d]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dims = 2 * (q.shape[-1] // 3 // 2)  # of a head that turn with an axis
        turned = []
        for part in (q, k):
            axes = [turn(part[..., i * dims : (i + 1) * dims], place) for i, place in enumerate(places)]
            turned.append(torch.cat([*axes, part[..., len(places) * dims :]], dim=-1))
        return turned[0], turned[1], v


def turn(x: Tensor, places: Tensor) -> Tensor:
    """x [B, heads, L, d], pairs side by side, by places [L] with the released weights' tiled frequencies."""
    half = x.shape[-1] // 2
    frequencies = 1 / 10000 ** (torch.arange(half, device=x.device) / half)
    angles = (places[:, None] * frequencies).repeat(1, 2)
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * angles.cos() + torch.stack([-second, first], dim=-1).flatten(-2) * angles.sin()


def next_poses(poses: Tensor, actions: Tensor) -> Tensor:
    """[S, 7] after actions [S, 7]: position, Euler angles xyz, closedness in 0 .. 1."""
    before, change = poses.cpu().numpy(), actions.cpu().numpy()
    matrices = [Rotation.from_euler("xyz", angles).as_matrix() for angles in before[:, 3:6]]
    turns = [Rotation.from_euler("xyz", angles).as_matrix() for angles in change[:, 3:6]]
    angles = [Rotation.from_matrix(b @ a).as_euler("xyz") for a, b in zip(matrices, turns)]
    closed = np.clip(before[:, 6:] + change[:, 6:], 0, 1)
    after = np.concatenate([before[:, :3] + change[:, :3], np.stack(angles), closed], axis=-1)
    return torch.from_numpy(after).to(poses)


@torch.no_grad()
def energies(predictor: PublishedPredictor, latents: Tensor, pose: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
    """[S]: mean absolute difference of the last predicted frame and the goal's.

    Args:
        latents: [1, 1, N, D], the current frame; pose: [1, 1, 7]; goal: [N, D]; actions: [S, H, 7].
    """
    samples, horizon, _ = actions.shape
    frames, poses, goals = latents.repeat(samples, 1, 1, 1), pose.repeat(samples, 1, 1), goal.repeat(samples, 1, 1)
    for h in range(horizon):
        following = predictor(frames, actions[:, : h + 1], poses)[:, -1:]
        following = F.layer_norm(following, following.shape[-1:])
        moved = next_poses(poses[:, -1], actions[:, h])
        frames, poses = torch.cat([frames, following], dim=1), torch.cat([poses, moved[:, None]], dim=1)
    return (frames[:, -1].flatten(1) - goals.flatten(1)).abs().mean(-1)
