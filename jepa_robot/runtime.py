"""Device and number format: settings with sensible defaults, the same code on CPU and CUDA."""

from __future__ import annotations

import contextlib

import torch

from jepa_robot.errors import ConfigError


def device_of(name: str) -> torch.device:
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda``, or one of several GPUs: ``cuda:1``.

    Raises:
        ConfigError: unknown, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unknown = ConfigError(f"unknown device {name!r}", where="device", expected="auto, cpu or cuda")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown from error
    if device.type not in ("cpu", "cuda"):
        raise unknown
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("CUDA is not available here", where="device", mend="use device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"there is no {name} here", where="device", expected=f"a number below {torch.cuda.device_count()}"
        )
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products run in hardware: on CPUs without it they are slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capability = torch.cpu.get_capabilities()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16") or capability.get("amx_tile"))


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager:
    """Autocast to ``bf16``, none for ``fp32``; ``auto`` takes bf16 where the machine has it in hardware.

    Raises:
        ConfigError: an unknown name.
    """
    if dtype not in ("auto", "bf16", "fp32"):
        raise ConfigError(f"unknown dtype {dtype!r}", where="dtype", expected="auto, bf16 or fp32")
    if dtype == "bf16" or (dtype == "auto" and has_fast_bf16(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
