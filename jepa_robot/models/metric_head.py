"""The space in which a world model's energies are measured."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from jepa_robot.models.linear import Linear


@dataclass(frozen=True)
class MetricConfig:
    """Sizes of a `MetricHead`: hidden units, and M output dimensions."""

    hidden: int = 256
    dims: int = 4


class MetricHead(nn.Module):
    """The space in which energies are measured: a small network over a frame's flattened patch latents.

    Trained so that differences between two frames' outputs are the displacement that the actions
    between them made (a linear inverse-dynamics model over several steps), see
    `jepa_robot.training.losses.displacement`.
    """

    def __init__(self, tokens: int, width: int, config: MetricConfig):
        super().__init__()
        self.net = nn.Sequential(
            Linear(tokens * width, config.hidden),
            nn.LayerNorm(config.hidden, eps=1e-6),
            nn.GELU(),
            Linear(config.hidden, config.hidden),
            nn.GELU(),
            Linear(config.hidden, config.dims),
        )
        for layer in self.net:
            if isinstance(layer, Linear):
                nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """standardised latents [..., N, D] -> [..., M]."""
        return self.net(latents.flatten(-2))
