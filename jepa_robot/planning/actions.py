"""What actions a plan may be made of: bounds, norms, held, fixed and discrete dimensions.

Optimizers search *plans* [..., B, A] of B blocks, each an action that is held for some steps. `ActionSpace.project`
turns any numbers into a possible plan, and `ActionSpace.expand` turns plans into the actions [..., H, A] of the
horizon. What an optimizer asks about and answers has gone through both, so limits hold by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError


@dataclass(frozen=True)
class NormLimit:
    """The length of some of an action's dimensions together: ``sum(|a_i|^order)^(1/order) <= radius``.

    V-JEPA 2-AC holds the position's change inside an L1 ball of 0.075 m (arXiv 2506.09985, section 3.2).

    Attributes:
        dims: indices of the dimensions; they share a unit.
        order: 1 or 2.
        radius: in that unit.
    """

    dims: tuple[int, ...]
    order: int
    radius: float


class ActionSpace:
    """The possible plans.

    Args:
        low, high: bounds [A], physical units; their device and dtype are the search's.
        horizon: H, steps.
        hold: steps that each planned action is held; B = ceil(H / hold).
        fixed: values of dimensions that are not searched, by index.
        levels: the only values of discrete dimensions, by index.
        limit: of the length of some dimensions together.
        names: of the dimensions, for messages.

    Raises:
        ConfigError: the set is empty, or a dimension is limited in two ways that exclude each other.
    """

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        horizon: int,
        hold: int = 1,
        fixed: Mapping[int, float] | None = None,
        levels: Mapping[int, Sequence[float]] | None = None,
        limit: NormLimit | None = None,
        names: Sequence[str] | None = None,
    ):
        if low.shape != high.shape or low.ndim != 1 or not bool((low < high).all()):
            raise ConfigError(f"action bounds are {low.tolist()} and {high.tolist()}", expected="low < high, both [A]")
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
            raise ConfigError(f"action bounds are {low.tolist()} and {high.tolist()}", expected="finite numbers")
        for name, value in (("horizon", horizon), ("hold", hold)):
            if value < 1:
                raise ConfigError(f"{name} is {value}", where="planner", expected="at least 1")
        self.low, self.high, self.horizon, self.hold, self.limit = low, high, horizon, hold, limit
        self.blocks = -(-horizon // hold)
        self.fixed = {i: low.new_tensor(value) for i, value in (fixed or {}).items()}
        self.levels = {i: low.new_tensor(sorted(set(values))) for i, values in (levels or {}).items()}
        self._check(list(names) if names is not None else [f"dimension {i}" for i in range(len(low))])

    @property
    def dims(self) -> int:
        """A."""
        return len(self.low)

    @property
    def half(self) -> Tensor:
        """Half the distance between the bounds [A]; 0 for fixed dimensions, which do not vary."""
        half = (self.high - self.low) / 2
        for i in self.fixed:
            half[i] = 0
        return half

    def middle(self) -> Tensor:
        """The plan [B, A] in the middle of what is possible."""
        return self.project(((self.low + self.high) / 2).repeat(self.blocks, 1))

    def project(self, plans: Tensor) -> Tensor:
        """Numbers [..., B, A] -> the possible plan near each. What is possible stays as it is."""
        plans = plans.clamp(self.low, self.high)  # a new tensor
        if self.limit is not None:
            dims = list(self.limit.dims)
            plans[..., dims] = onto_ball(plans[..., dims], self.limit.order, self.limit.radius)
        for i, values in self.levels.items():
            plans[..., i] = values[(plans[..., i, None] - values).abs().argmin(-1)]
        for i, value in self.fixed.items():
            plans[..., i] = value
        return plans

    def expand(self, plans: Tensor) -> Tensor:
        """Plans [..., B, A] -> actions [..., H, A]."""
        if self.hold == 1:
            return plans
        return plans.repeat_interleave(self.hold, dim=-2)[..., : self.horizon, :]

    def shift(self, plans: Tensor, steps: int) -> Tensor:
        """The plans [..., B, A] as they look ``steps`` steps later; their last block goes on."""
        later = torch.arange(self.blocks, device=plans.device) * self.hold + steps
        return plans[..., (later // self.hold).clamp(max=self.blocks - 1), :]

    def _check(self, names: Sequence[str]) -> None:
        def wrong(found: str, expected: str) -> ConfigError:
            return ConfigError(found, where="planner.actions", expected=expected)

        known = range(self.dims)
        for i in (*self.fixed, *self.levels, *(self.limit.dims if self.limit is not None else ())):
            if i not in known:
                raise wrong(f"there is no dimension {i}", f"0 to {self.dims - 1}")
        for i, value in self.fixed.items():
            if not self.low[i] <= value <= self.high[i]:
                raise wrong(f"{names[i]} is fixed at {value:g}", f"{self.low[i]:g} to {self.high[i]:g}")
        for i, values in self.levels.items():
            if not len(values) or not bool((values >= self.low[i]).all() and (values <= self.high[i]).all()):
                raise wrong(
                    f"{names[i]} has levels {values.tolist()}",
                    f"at least one, all of {self.low[i]:g} to {self.high[i]:g}",
                )
            if i in self.fixed:
                raise wrong(f"{names[i]} is fixed and has levels", "one of them")
        if self.limit is not None:
            dims, order, radius = self.limit.dims, self.limit.order, self.limit.radius
            if order not in (1, 2) or not 0 < radius < float("inf"):
                raise wrong(f"norm {order} with radius {radius}", "norm 1 or 2, and a radius above 0")
            if not dims or len(set(dims)) < len(dims) or set(dims) & (set(self.fixed) | set(self.levels)):
                raise wrong(f"the norm is of {[names[i] for i in dims]}", "different ones, neither fixed nor discrete")
            if not bool((self.low[list(dims)] <= 0).all() and (self.high[list(dims)] >= 0).all()):
                raise wrong("a norm limits dimensions whose bounds exclude 0", "bounds with 0 inside")


def onto_ball(x: Tensor, order: int, radius: float) -> Tensor:
    """The nearest point [..., n] of the ball ``norm(x, order) <= radius`` around the origin.

    For order 1 by sorting: J. Duchi et al., Efficient Projections onto the l1-Ball, ICML 2008, figure 1. Every
    coordinate comes nearer to 0, so that a point of a box with 0 inside stays in the box. Points outside come to lie
    inside by the rounding of float32, so that no point moves twice.
    """
    norm, goal = x.norm(order, dim=-1, keepdim=True), radius * (1 - 1e-6)
    nearest = x
    if order == 1:
        size = x.abs()
        ordered = size.sort(dim=-1, descending=True).values
        count = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
        excess = (ordered.cumsum(-1) - goal) / count
        active = (ordered > excess).sum(-1, keepdim=True)  # at least 1: the largest is
        threshold = excess.gather(-1, active - 1).clamp_min(0)
        nearest = x.sign() * (size - threshold).clamp_min(0)
    nearest = nearest * (goal / nearest.norm(order, dim=-1, keepdim=True).clamp_min(goal))
    return torch.where(norm > radius, nearest, x)
