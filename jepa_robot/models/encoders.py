"""Every encoder that there is, by its sizes: frames uint8 [B, T, H, W, 3] -> latents [B, T, N, D]."""

from __future__ import annotations

from typing import Any

from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.pooled_encoder import PooledEncoder, PooledEncoderConfig
from jepa_robot.models.timm_encoder import TimmEncoder, TimmEncoderConfig

AnyEncoderConfig = EncoderConfig | TimmEncoderConfig | PooledEncoderConfig
AnyEncoder = VideoEncoder | TimmEncoder | PooledEncoder


def build_encoder(config: AnyEncoderConfig, pixel_mean: tuple[float, ...], pixel_std: tuple[float, ...]) -> AnyEncoder:
    """A new encoder of these sizes, random weights; pixel moments per channel, of pixels scaled to [0, 1]."""
    if isinstance(config, PooledEncoderConfig):
        return PooledEncoder(config, build_encoder(config.encoder, pixel_mean, pixel_std))
    kind = TimmEncoder if isinstance(config, TimmEncoderConfig) else VideoEncoder
    return kind(config, pixel_mean, pixel_std)


def encoder_config(data: dict[str, Any]) -> AnyEncoderConfig:
    """Sizes from the plain data of a checkpoint.

    Raises:
        TypeError, ValueError: a field is missing, unknown or impossible.
    """
    if isinstance(data.get("encoder"), dict):
        return PooledEncoderConfig(**{**data, "encoder": encoder_config(data["encoder"])})
    return TimmEncoderConfig(**data) if "timm" in data else EncoderConfig(**data)
