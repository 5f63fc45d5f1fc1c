"""Pre-norm transformer blocks with rotary attention, and their cached form for rollouts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa_robot.models.rope import rotate

Pair = tuple[Tensor, Tensor]
Table = Pair


@dataclass(frozen=True)
class Cache:
    """Keys and values of one block, for E environments with S candidates each.

    Attributes:
        shared: (k, v), each [E, heads, C, d]: what all candidates have in common, never copied for each of them.
        own: (k, v), each [E * S, heads, O, d]: what each candidate has added, or None.
        room: memory that ``own`` lies at the start of, [E * S, heads, R, d] twice, or None.
    """

    shared: Pair | None = None
    own: Pair | None = None
    room: Pair | None = None

    def append(self, k: Tensor, v: Tensor, room: int = 0) -> Cache:
        """With more of each candidate's own, [E * S, heads, n, d].

        Args:
            room: tokens that will be appended in all. Memory for them is taken at the first, except where gradients
                are wanted: what has been used must not change then.
        """
        memory, length, end = self.room, 0, k.shape[2]
        if self.own is None:
            if room <= end or k.requires_grad or v.requires_grad:
                return replace(self, own=(k, v))
            memory = tuple(x.new_empty(len(x), room, *x.shape[1::2]).transpose(1, 2) for x in (k, v))
        else:
            length, end = self.own[0].shape[2], end + self.own[0].shape[2]
        if memory is None:
            return replace(self, own=tuple(torch.cat(pair, dim=2) for pair in zip(self.own, (k, v))))
        for part, x in zip(memory, (k, v)):
            part[:, :, length:end] = x
        return Cache(self.shared, tuple(part[:, :, :end] for part in memory), memory)

    def share(self, k: Tensor, v: Tensor) -> Cache:
        """With more that all candidates have in common, [E, heads, n, d]."""
        if self.shared is not None:
            k, v = torch.cat([self.shared[0], k], dim=2), torch.cat([self.shared[1], v], dim=2)
        return replace(self, shared=(k, v))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Pair:
    """Attention of q [..., n, d] to k, v [..., C, d]: [..., n, d], and the logarithms of the sums, [..., n, 1]."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    total = scores.float().logsumexp(-1, keepdim=True)
    return (scores - total).exp().to(v.dtype) @ v, total


def join(first: Pair, second: Pair) -> Tensor:
    """Attention to two sets of keys together, from `attend` to each."""
    weight = torch.sigmoid(second[1] - first[1]).to(first[0].dtype)
    return torch.lerp(first[0], second[0], weight)


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

    def extend(self, x: Tensor, table: Table, cache: Cache, room: int, outputs: int) -> tuple[Tensor, Cache]:
        """Attend from new tokens to cached ones and to each other; return the outputs and the longer cache.

        Args:
            x: [E * S, n, width], the tokens of one new time step, which see each other and everything cached.
            room: see `Cache.append`.
            outputs: the last so many tokens' are wanted, [E * S, outputs, width].
        """
        q, k, v = self._project(x, table)
        cache = cache.append(k, v, room)
        q = q[:, :, -outputs:]
        if cache.shared is None:
            return self._merge(F.scaled_dot_product_attention(q, *cache.own)), cache
        return self._merge(join(attend_shared(q, cache.shared), attend(q, *cache.own))), cache

    def extend_shared(
        self, own: Tensor, common: Tensor, tables: tuple[Table, Table], cache: Cache, room: int
    ) -> tuple[Tensor, Cache]:
        """The same, where each candidate's time step is one token ``own`` and others in ``common``.

        What those are to each other is computed once; a candidate's own token then joins in.

        Args:
            own: [E * S, 1, width]; common: [E, m, width]; tables: of each.

        Returns:
            [E * S, 1 + m, width], and the longer cache, in which ``common`` is shared.
        """
        q, k, v = self._project(own, tables[0])
        q_common, k_common, v_common = self._project(common, tables[1])
        cache = cache.share(k_common, v_common).append(k, v, room)
        first = join(attend_shared(q, cache.shared), attend(q, k, v))
        k, v = (part.unflatten(0, (len(common), -1)) for part in (k, v))  # [E, S, heads, 1, d]
        scores = (q_common[:, None] * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [E, S, heads, m, 1]
        among = tuple(part[:, None] for part in attend(q_common, *cache.shared))
        rest = join(among, (v, scores.float())).flatten(0, 1)
        return self._merge(torch.cat([first, rest], dim=2)), cache


def attend_shared(q: Tensor, shared: Pair) -> Pair:
    """`attend` from all candidates' q [E * S, heads, n, d] to k, v [E, heads, C, d], which are read in place."""
    environments, (candidates, heads, n, d) = len(shared[0]), q.shape
    together = q.unflatten(0, (environments, -1)).transpose(1, 2).flatten(2, 3)  # [E, heads, S * n, d]
    return tuple(part.unflatten(2, (-1, n)).transpose(1, 2).flatten(0, 1) for part in attend(together, *shared))


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

    def extend(self, x: Tensor, table: Table, cache: Cache, room: int, outputs: int) -> tuple[Tensor, Cache]:
        """x [E * S, n, width] -> [E * S, outputs, width] and the longer cache; see `Attention.extend`."""
        attended, cache = self.attn.extend(self.norm1(x), table, cache, room, outputs)
        x = x[:, -outputs:] + attended
        return x + self.mlp(self.norm2(x)), cache

    def extend_shared(
        self, own: Tensor, common: Tensor, tables: tuple[Table, Table], cache: Cache, room: int
    ) -> tuple[Tensor, Cache]:
        """[E * S, 1, width], [E, m, width] -> [E * S, 1 + m, width] and the longer cache; see `Attention`."""
        attended, cache = self.attn.extend_shared(self.norm1(own), self.norm1(common), tables, cache, room)
        common = common[:, None].expand(-1, len(own) // len(common), -1, -1).flatten(0, 1)
        x = attended.add_(torch.cat([own, common], dim=1))
        return x + self.mlp(self.norm2(x)), cache


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

    def extend(
        self, x: Tensor, table: Table, cache: Cache, room: int, outputs: int, condition: Tensor
    ) -> tuple[Tensor, Cache]:
        """x [E * S, n, width], condition [E * S, 1, width] -> [E * S, outputs, width] and the longer cache."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self._modulation(condition, 1)
        inner = self.block
        attended, cache = inner.attn.extend(inner.norm1(x) * (1 + scale1) + shift1, table, cache, room, outputs)
        x = x[:, -outputs:] + gate1 * attended
        return x + gate2 * inner.mlp(inner.norm2(x) * (1 + scale2) + shift2), cache


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
