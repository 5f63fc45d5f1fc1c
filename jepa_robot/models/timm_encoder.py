"""A backbone of timm as encoder, such as DINOv2's, whose patch tokens DINO-WM (arXiv 2411.04983) plans in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_robot.models.encoder import require_size


@dataclass(frozen=True)
class TimmEncoderConfig:
    """Which backbone, and what it makes of a picture; see `timm_config`.

    Attributes:
        timm: timm's name of it.
        image_size: of the camera's square pictures, in pixels.
        input_size: that pictures are scaled to before the backbone sees them.
        grid: patches along one side of what it gives.
        width: D of its last features.
    """

    timm: str
    image_size: int
    input_size: int
    grid: int
    width: int

    @property
    def tokens(self) -> int:
        """N, tokens of one frame."""
        return self.grid**2


def timm_config(name: str, image_size: int, input_size: int | None = None) -> TimmEncoderConfig:
    """The sizes of a backbone, found without allocating it.

    Args:
        name: timm's, with or without a tag of weights.
        image_size: of the camera's pictures.
        input_size: that they are scaled to; None: not at all.

    Raises:
        ValueError: timm has no such backbone, it cannot give features of such pictures, or the size is not a
            multiple of its patches.
    """
    size = input_size or image_size
    with torch.device("meta"):
        backbone = create_backbone(name, size)
        patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", (1,))[0]
        if size % patch:
            near = max(patch, round(size / patch) * patch)
            raise ValueError(f"pictures of {size} px are no multiple of {name}'s patches of {patch} px; {near} is")
        try:
            features = _features(backbone, torch.zeros(1, 3, size, size))
        except (AssertionError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{name} gives no features of {size} px pictures ({error})") from error
    width, rows, columns = features.shape[1:]
    if rows != columns:
        raise ValueError(f"{name} gives {rows}x{columns} patches; expected a square")
    return TimmEncoderConfig(name, image_size, size, rows, width)


class TimmEncoder(nn.Module):
    """Frames on their own to the backbone's last features (after its final norm), class and register tokens left out.

    Args:
        config: see `timm_config`.
        pixel_mean, pixel_std: per channel, of pixels scaled to [0, 1]; the backbone's own, from the contract.
    """

    def __init__(self, config: TimmEncoderConfig, pixel_mean: tuple[float, ...], pixel_std: tuple[float, ...]):
        super().__init__()
        self.config = config
        self.backbone = create_backbone(config.timm, config.input_size)
        self._pixel_moments = {"pixel_mean": pixel_mean, "pixel_std": pixel_std}
        self.set_constants()

    def set_constants(self) -> None:
        """The buffers that are in no checkpoint: they follow from how the module was made."""
        for name, value in self._pixel_moments.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [B, T, H, W, 3] -> layer-normalised latents [B, T, N, width].

        Raises:
            ValueError: pictures of another size.
        """
        size = self.config.image_size
        require_size(frames, size)
        batch, time = frames.shape[:2]
        pixels = frames.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        if self.config.input_size != size:
            pixels = F.interpolate(pixels, (self.config.input_size,) * 2, mode="bicubic", antialias=True).clamp(0, 1)
        pixels = (pixels - self.pixel_mean[:, None, None]) / self.pixel_std[:, None, None]
        latents = _features(self.backbone, pixels).flatten(2).transpose(1, 2)
        return F.layer_norm(latents.float(), latents.shape[-1:]).unflatten(0, (batch, time))


def create_backbone(name: str, size: int) -> nn.Module:
    """A backbone without its classifier, random weights.

    Raises:
        ValueError: timm has none of this name.
    """
    import timm  # takes seconds, with torchvision, which no other encoder needs

    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name.split('.')[0]}*")[:5])
        raise ValueError(f"timm {timm.__version__} has no backbone {name!r}" + (f"; it has {close}" if close else ""))
    try:
        return timm.create_model(name, num_classes=0, img_size=size)
    except TypeError:  # convolutional ones take pictures of any size
        return timm.create_model(name, num_classes=0)


def _features(backbone: nn.Module, pixels: Tensor) -> Tensor:
    """Pixels [B, 3, H, W] -> features [B, width, grid, grid]."""
    return backbone.forward_intermediates(pixels, indices=1, norm=True, intermediates_only=True)[-1]
