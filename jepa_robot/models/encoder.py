"""Video encoder: a ViT over two-frame tubelets with rotary (time, row, column) positions (V-JEPA 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_robot.models.attention import Block, initialise
from jepa_robot.models.linear import Linear, linear
from jepa_robot.models.rope import grid_positions, rotation_table

TUBELET = 2


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a `VideoEncoder`.

    Attributes:
        image_size: of the square pictures, in pixels; a multiple of ``patch_size``.
        mlp_ratio: hidden units of an MLP by ``width``.
        tiled_rope: the rotary frequencies of V-JEPA 2's released weights, see `jepa_robot.models.rope`.
    """

    image_size: int = 64
    patch_size: int = 16
    width: int = 192
    depth: int = 6
    heads: int = 6
    mlp_ratio: float = 4.0
    tiled_rope: bool = False

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size", "width", "depth", "heads", "mlp_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, not above 0")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")

    @property
    def grid(self) -> int:
        """Patches along one side of a picture."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """N, tokens of one frame."""
        return self.grid**2


def require_size(frames: Tensor, size: int) -> None:
    """
    Raises:
        ValueError: frames [B, T, H, W, 3] are not ``size`` pixels high and wide.
    """
    height, width = frames.shape[2:4]
    if (height, width) != (size, size):
        raise ValueError(f"frames are {height}x{width} pixels; expected {size}x{size}")


class VideoEncoder(nn.Module):
    """Pictures to tokens.

    ``pixel_mean`` and ``pixel_std`` (per channel, of pixels scaled to [0, 1]) come from the contract.
    """

    def __init__(
        self,
        config: EncoderConfig,
        pixel_mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        pixel_std: tuple[float, ...] = (0.25, 0.25, 0.25),
    ):
        super().__init__()
        self.config = config
        # [width, channel, time, row, column], V-JEPA 2's layout of the tubelet convolution
        patch = config.patch_size
        self.patch_embed = Linear(3 * TUBELET * patch * patch, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self._pixel_moments = {"pixel_mean": pixel_mean, "pixel_std": pixel_std}
        self.set_constants()
        initialise(self)

    def set_constants(self) -> None:
        """The buffers that are in no checkpoint: they follow from how the module was made."""
        for name, value in self._pixel_moments.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def positions(self, tubelets: int, grid: int | None = None) -> Tensor:
        """float [tubelets * grid * grid, 3], (time, row, column) of a clip's tokens.

        ``grid`` is the number of patches along a side, where pictures are of another size than the configured.
        """
        grid = grid or self.config.grid
        return grid_positions(tubelets, grid, grid).to(self.pixel_mean.device)

    def patchify(self, frames: Tensor, together: int = 1) -> Tensor:
        """Frames to normalised patches, ``together`` frames in one.

        H and W are equal, and any multiple of the patch size p; T is a multiple of ``together``.

        Args:
            frames: uint8, or float in [0, 255], [B, T, H, W, 3].

        Returns:
            float [B, T / together, N, 3, together * p * p].

        Raises:
            ValueError: other sizes.
        """
        batch, time, height, width, _ = frames.shape
        patch = self.config.patch_size
        if height != width or height % patch:
            raise ValueError(f"frames are {height}x{width} pixels; expected squares of a multiple of {patch}")
        if time % together:
            raise ValueError(f"clip has {time} frames; expected a multiple of {together}")
        grid = height // patch
        x = frames.reshape(batch, time // together, together, grid, patch, grid, patch, 3)
        x = x.permute(0, 1, 3, 5, 7, 2, 4, 6)  # before the pixels become floats: a quarter of the bytes to move
        x = x.reshape(batch, time // together, grid * grid, 3, together * patch * patch)
        x = x.float() if x.dtype == torch.uint8 else x.float().clone()
        return x.mul_((1 / 255 / self.pixel_std)[:, None]).sub_((self.pixel_mean / self.pixel_std)[:, None])

    def tubelets(self, frames: Tensor) -> Tensor:
        """[B, T, H, W, 3] with T even, see `patchify` -> normalised pixels float [B, T / 2 * N, 3 * 2 * p * p]."""
        return self.patchify(frames, TUBELET).flatten(3).flatten(1, 2)

    def run(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Blocks and final norm over embedded tokens [B, L, width] -> [B, L, width].

        positions [L, 3], or [B, L, 3] when they differ by sample.
        """
        table = rotation_table(positions, self.config.width // self.config.heads, self.config.tiled_rope)
        if positions.ndim == 3:
            table = (table[0][:, None], table[1][:, None])  # the same for all heads
        for block in self.blocks:
            tokens = block(tokens, table)
        return self.norm(tokens)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames on their own: uint8 [B, T, H, W, 3] -> layer-normalised latents [B, T, N, width].

        As in V-JEPA 2-AC each frame is repeated into one tubelet and encoded alone. The tubelet's two
        halves are equal then, so their weights are added instead of repeating the picture.

        Raises:
            ValueError: pictures of another size.
        """
        require_size(frames, self.config.image_size)
        batch, time = frames.shape[:2]
        x = self.patchify(frames).flatten(0, 1)  # [B T, N, 3, pixels]
        weight = self.patch_embed.weight.unflatten(1, (3, TUBELET, -1)).sum(2).flatten(1)
        tokens = linear(x.flatten(2), weight, self.patch_embed.bias)
        latents = self.run(tokens, self.positions(1))
        return F.layer_norm(latents.float(), latents.shape[-1:]).unflatten(0, (batch, time))
