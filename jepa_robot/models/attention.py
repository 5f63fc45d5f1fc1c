"""Pre-norm transformer blocks with rotary attention, and their cached form for rollouts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa_robot.models.rope import rotate

Table = tuple[Tensor, Tensor]


@dataclass
class Cache:
    """Keys and values of one block.

    Attributes:
        shared: (k, v), each [1, heads, C, d]: the context, the same for all candidates, never copied.
        own: (k, v), each [S, heads, O, d]: what each candidate has added, or None.
    """

    shared: tuple[Tensor, Tensor] | None = None
    own: tuple[Tensor, Tensor] | None = None


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def _project(self, x: Tensor, table: Table) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(qkv[:2], table)
        return q, k, qkv[2]

    def _merge(self, heads: Tensor) -> Tensor:
        return self.proj(heads.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, table: Table, mask: Tensor | None = None) -> Tensor:
        """x [B, L, width], rotation table [L, d] (or [B, 1, L, d]), mask bool [L, L] (True: may attend)."""
        q, k, v = self._project(x, table)
        return self._merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def extend(self, x: Tensor, table: Table, cache: Cache) -> tuple[Tensor, Cache]:
        """Attend from new tokens to cached ones and to each other; return the outputs and the longer cache.

        x [S, n, width]: the tokens of one new time step, which see each other and everything cached.
        Scores against the shared context are one matrix product over all candidates, so the context is
        read in place and not expanded S times.
        """
        q, k, v = self._project(x, table)
        if cache.own is not None:
            k, v = torch.cat([cache.own[0], k], dim=2), torch.cat([cache.own[1], v], dim=2)
        grown = Cache(cache.shared, (k, v))
        if cache.shared is None:
            return self._merge(F.scaled_dot_product_attention(q, k, v)), grown
        candidates, heads, n, d = q.shape
        k_shared, v_shared = (c[0] for c in cache.shared)  # [heads, C, d]
        q_flat = q.transpose(0, 1).reshape(heads, candidates * n, d)
        far = (q_flat @ k_shared.transpose(1, 2)).view(heads, candidates, n, -1).transpose(0, 1)
        near = q @ k.transpose(-1, -2)
        weights = torch.cat([far, near], dim=-1).mul(d**-0.5).softmax(dim=-1)
        length = k_shared.shape[1]
        w_far = weights[..., :length].transpose(0, 1).reshape(heads, candidates * n, length)
        out = (w_far @ v_shared).view(heads, candidates, n, d).transpose(0, 1) + weights[..., length:] @ v
        return self._merge(out), grown


def hidden_units(width: int, mlp_ratio: float) -> int:
    """Of a block's MLP: rounded down as published; the ratio may be a rounded quotient."""
    return int(width * mlp_ratio + 1e-6)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); GELU, LayerNorm epsilon 1e-6 as in V-JEPA 2.

    Attributes:
        checkpointing: compute the block a second time in the backward pass instead of keeping what is inside
            (arXiv 1604.06174): a third more computation for a fraction of the memory. See `set_checkpointing`.
    """

    checkpointing = False

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        hidden = hidden_units(width, mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, table: Table, mask: Tensor | None = None) -> Tensor:
        """x [B, L, width] -> [B, L, width]; see `Attention.forward`."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._forward, x, table, mask, use_reentrant=False)
        return self._forward(x, table, mask)

    def _forward(self, x: Tensor, table: Table, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), table, mask)
        return x + self.mlp(self.norm2(x))

    def extend(self, x: Tensor, table: Table, cache: Cache) -> tuple[Tensor, Cache]:
        """x [S, n, width] -> [S, n, width] and the longer cache; see `Attention.extend`."""
        attended, grown = self.attn.extend(self.norm1(x), table, cache)
        x = x + attended
        return x + self.mlp(self.norm2(x)), grown


class ModulatedBlock(nn.Module):
    """A block whose norms are shifted and scaled, and whose branches are gated, by a condition (AdaLN-Zero).

    Diffusion transformers' block (DiT, arXiv 2212.09748, section 3.2), which JEPA-WMs (arXiv 2512.24497) found
    best for conditioning on actions. The gates start at 0, so the block starts as the identity.

    Attributes:
        checkpointing: see `Block`.
    """

    checkpointing = False

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0):
        super().__init__()
        self.block = Block(width, heads, mlp_ratio)
        self.modulation = nn.Linear(width, 6 * width)

    def _modulation(self, condition: Tensor, length: int) -> tuple[Tensor, ...]:
        """condition [B, T, width] -> six of [B, length, width], every frame's for all its tokens."""
        values = self.modulation(F.silu(condition)).repeat_interleave(length // condition.shape[1], dim=1)
        return values.chunk(6, dim=-1)

    def forward(self, x: Tensor, table: Table, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T * n, width], condition [B, T, width] -> [B, T * n, width]; see `Attention.forward`."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._forward, x, table, condition, mask, use_reentrant=False)
        return self._forward(x, table, condition, mask)

    def _forward(self, x: Tensor, table: Table, condition: Tensor, mask: Tensor | None) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self._modulation(condition, x.shape[1])
        inner = self.block
        x = x + gate1 * inner.attn(inner.norm1(x) * (1 + scale1) + shift1, table, mask)
        return x + gate2 * inner.mlp(inner.norm2(x) * (1 + scale2) + shift2)

    def extend(self, x: Tensor, table: Table, condition: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """x [S, n, width], condition [S, 1, width] -> [S, n, width] and the longer cache."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self._modulation(condition, x.shape[1])
        inner = self.block
        attended, grown = inner.attn.extend(inner.norm1(x) * (1 + scale1) + shift1, table, cache)
        x = x + gate1 * attended
        return x + gate2 * inner.mlp(inner.norm2(x) * (1 + scale2) + shift2), grown


def set_checkpointing(module: nn.Module, on: bool) -> None:
    """Let all blocks of a module compute their insides again in the backward pass, or keep them; see `Block`."""
    for block in _blocks(module):
        block.checkpointing = on


def compile_blocks(module: nn.Module) -> None:
    """Compile all blocks of a module in place, at their first call: `torch.compile` of the part that repeats."""
    for block in _blocks(module):
        block.compile()


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The outermost blocks, each with all that it does."""
    modulated = [layer for layer in module.modules() if isinstance(layer, ModulatedBlock)]
    inside = {layer.block for layer in modulated}
    return modulated + [layer for layer in module.modules() if isinstance(layer, Block) and layer not in inside]


def initialise(module: nn.Module) -> None:
    """Truncated-normal linear weights, zero biases, and residual outputs scaled by depth (V-JEPA).

    V-JEPA's standard deviation of 0.02 belongs to 1024 inputs. A narrow network with it starts with next to
    nothing passing through its attention, and takes thousands of steps to notice an action token.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            std = 0.02 * (1024 / layer.in_features) ** 0.5
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    blocks = [layer for layer in module.modules() if isinstance(layer, Block)]
    for index, block in enumerate(blocks):
        with torch.no_grad():
            block.attn.proj.weight.div_((2.0 * (index + 1)) ** 0.5)
            block.mlp[2].weight.div_((2.0 * (index + 1)) ** 0.5)
    for layer in module.modules():
        if isinstance(layer, ModulatedBlock):
            nn.init.zeros_(layer.modulation.weight)
