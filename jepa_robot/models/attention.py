"""Pre-norm transformer blocks with rotary attention, and their cached form for rollouts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa_robot.models.attend import attend, attend_shared, attention, join
from jepa_robot.models.cache import Cache, Common
from jepa_robot.models.linear import Linear, linear_gelu
from jepa_robot.models.rope import rotate

Table = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

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
            return self._merge(attention(q, *cache.own)), cache
        return self._merge(join(attend(q, *cache.own), attend_shared(q, cache.shared))), cache

    def begin(self, x: Tensor, table: Table, cache: Cache) -> tuple[Tensor, tuple[Tensor, Tensor], Cache]:
        """Queries, attention and cache of x [E, m, width], tokens that all candidates have in common; see `Common`."""
        q, k, v = self._project(x, table)
        cache = cache.share(k, v)
        return q, attend(q, *cache.shared), cache

    def add_own(self, x: Tensor, table: Table, common: Common, room: int) -> tuple[Tensor, Tensor, Cache]:
        """Outputs when each candidate adds a token x [E * S, 1, width] to what all have in common.

        Returns:
            those of the new tokens [E * S, 1, width], of the common ones [E * S, m, width], and the longer cache.
        """
        q, k, v = self._project(x, table)
        cache = common.cache.append(k, v, room)
        own = join(attend(q, k, v), attend_shared(q, cache.shared))
        k, v = (part.unflatten(0, (len(common.tokens), -1)) for part in (k, v))  # [E, S, heads, 1, d]
        scores = (common.queries[:, None] * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [E, S, heads, m, 1]
        attended = tuple(part[:, None] for part in common.attended)
        return self._merge(own), self._merge(join(attended, (v, scores.float())).flatten(0, 1)), cache


def hidden_units(width: int, mlp_ratio: float) -> int:
    """Of a block's MLP: rounded down as published; the ratio may be a rounded quotient."""
    return int(width * mlp_ratio + 1e-6)


class Mlp(nn.Sequential):
    """Linear, GELU, linear; the first two as one, see `linear_gelu`."""

    def __init__(self, width: int, hidden: int):
        super().__init__(Linear(width, hidden), nn.GELU(), Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> [..., width]."""
        return self[2](linear_gelu(x, self[0].weight, self[0].bias))


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
        self.mlp = Mlp(width, hidden_units(width, mlp_ratio))

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

    def begin(self, x: Tensor, table: Table, cache: Cache) -> Common:
        """What can be computed of x [E, m, width] before candidates add a token each."""
        return Common(x, *self.attn.begin(self.norm1(x), table, cache))

    def add_own(self, x: Tensor, table: Table, common: Common, room: int) -> tuple[Tensor, Cache]:
        """x [E * S, 1, width] and the common tokens -> [E * S, 1 + m, width] and the longer cache."""
        own, others, cache = self.attn.add_own(self.norm1(x), table, common, room)
        others = common.tokens[:, None] + others.unflatten(0, (len(common.tokens), -1))
        x = torch.cat([x + own, others.flatten(0, 1)], dim=1)
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
        self.modulation = Linear(width, 6 * width)

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
        x = torch.addcmul(x, gate1, inner.attn(torch.addcmul(shift1, inner.norm1(x), 1 + scale1), table, mask))
        return torch.addcmul(x, gate2, inner.mlp(torch.addcmul(shift2, inner.norm2(x), 1 + scale2)))

    def extend(
        self, x: Tensor, table: Table, cache: Cache, room: int, outputs: int, condition: Tensor
    ) -> tuple[Tensor, Cache]:
        """x [E * S, n, width], condition [E * S, 1, width] -> [E * S, outputs, width] and the longer cache."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self._modulation(condition, 1)
        inner = self.block
        seen = torch.addcmul(shift1, inner.norm1(x), 1 + scale1)
        attended, cache = inner.attn.extend(seen, table, cache, room, outputs)
        x = torch.addcmul(x[:, -outputs:], gate1, attended)
        return torch.addcmul(x, gate2, inner.mlp(torch.addcmul(shift2, inner.norm2(x), 1 + scale2))), cache


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
    nothing passing through its attention, and takes thousands of steps to notice an action token. Weights that are
    still to be loaded (on the meta device) are left alone.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return
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
