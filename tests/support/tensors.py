"""Weights and states of modules, compared bit by bit."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


def parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every parameter, by name."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def assert_same_state(a: object, b: object) -> None:
    """Nested dictionaries and lists of tensors and plain values are the same."""
    if isinstance(a, dict):
        assert isinstance(b, dict) and a.keys() == b.keys()
        for key in a:
            assert_same_state(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b):
            assert_same_state(x, y)
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    else:
        assert type(a) is type(b) and a == b


def assert_same_file(a: Path, b: Path) -> None:
    """Two safetensors files hold the same tensors under the same names."""
    assert_same_state(load_file(a), load_file(b))
