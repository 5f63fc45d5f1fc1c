"""Goals as latents in a file, so that a robot needs neither the picture nor the time to encode it.

A safetensors file of one tensor, [N, D], or [G, N, D] for G pictures of which any will do. Its header entry
``jepa_robot.goal_latents`` is one JSON object: ``format``, the ``contract`` of the model that made it, and ``encoder``,
the digest of its encoder's weights. A model of another encoder or camera refuses it. Of a file without the entry only
the shape can be checked.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jepa_robot.errors import ContractError, GoalError
from jepa_robot.files import atomic_path
from jepa_robot.planning.protocols import WorldModel
from jepa_robot.spec import Contract

HEADER = "jepa_robot.goal_latents"
FORMAT = "jepa_robot.goal_latents/1"
_AGAIN = "save it again with this model"


class EncodingModel(Protocol):
    """A world model whose encoder is a module, see `jepa_robot.models.world_model.WorldModel`."""

    encoder: nn.Module

    @property
    def contract(self) -> Contract: ...

    @property
    def device(self) -> torch.device: ...

    def encode(self, frames: Tensor) -> Tensor: ...


def encoder_digest(encoder: nn.Module) -> str:
    """SHA-256 of names, shapes and values of all weights, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_goal_latents(path: str | os.PathLike[str], latents: Tensor, model: EncodingModel) -> None:
    """Write latents [N, D] or [G, N, D] of ``model``, in float32.

    Raises:
        GoalError: they are no latents.
        OutputError: the file cannot be written.
    """
    _require_latents(latents, "latents to save")
    header = {"format": FORMAT, "contract": model.contract.to_dict(), "encoder": encoder_digest(model.encoder)}
    with atomic_path(path) as temporary:
        try:
            tensors = {"latents": latents.detach().float().cpu().contiguous()}
            save_file(tensors, temporary, metadata={HEADER: json.dumps(header)})
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error


def load_goal_latents(path: str | os.PathLike[str], model: EncodingModel) -> Tensor:
    """Latents [G, N, D] for ``model``, float32, on the CPU.

    Raises:
        GoalError: the file cannot be read, does not hold one tensor of latents, or they are not of this encoder.
        ContractError: it is of another task or camera.
    """
    try:
        with safe_open(path, framework="pt", backend="pread") as file:  # not mapped: the file may change later
            names, header = list(file.keys()), (file.metadata() or {}).get(HEADER)
            if len(names) != 1:
                raise GoalError(f"holds {len(names)} tensors", where=path, expected="one, of goal latents")
            latents = file.get_tensor(names[0])
    except FileNotFoundError as error:
        raise GoalError("there is no such file", where=path, expected="goal latents (.safetensors)") from error
    except (SafetensorError, OSError) as error:
        raise GoalError(f"cannot be read ({error})", where=path, mend=_AGAIN) from error
    _require_latents(latents, path)
    latents = latents.float() if latents.ndim == 3 else latents.float()[None]
    if header is not None:
        _require_same_model(header, path, model)
    else:
        _require_same_shape(latents, path, model)
    return latents


def _require_latents(latents: Tensor, where: object) -> None:
    if latents.ndim not in (2, 3) or not latents.numel() or not latents.is_floating_point():
        found = f"is {latents.dtype} {list(latents.shape)}"
        raise GoalError(found, where=where, expected="latents [N, D] or [G, N, D]")
    if not bool(torch.isfinite(latents).all()):
        raise GoalError("has numbers that are not finite", where=where, expected="latents of an encoder")


def latent_shape(model: WorldModel | EncodingModel) -> tuple[int, int]:
    """(N, D) of a frame's latents, which only the encoder knows: it is given a black frame."""
    camera = model.contract.camera
    frame = torch.zeros(1, 1, camera.height, camera.width, 3, dtype=torch.uint8, device=model.device)
    with torch.inference_mode():
        n, d = model.encode(frame).shape[2:]
    return n, d


def _require_same_shape(latents: Tensor, path: object, model: EncodingModel) -> None:
    expected = list(latent_shape(model))
    if list(latents.shape[1:]) != expected:
        found = list(latents.shape[1:])
        raise GoalError(f"has latents {found}", where=path, expected=f"{expected}, the model's [N, D]")


def _require_same_model(header: str, path: object, model: EncodingModel) -> None:
    try:
        data = json.loads(header)
        wrong = [key for key in ("contract", "encoder") if key not in data] if data["format"] == FORMAT else ["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise GoalError(f"header {HEADER} is malformed ({error})", where=path, expected=FORMAT, mend=_AGAIN) from error
    if wrong:
        raise GoalError(f"header {HEADER} has a wrong or missing {wrong[0]}", where=path, expected=FORMAT, mend=_AGAIN)
    for field, ours, theirs in model.contract.differences(Contract.from_dict(data["contract"], path)):
        if field == "task" or field.startswith("camera"):  # what latents do not depend on may differ
            raise ContractError(f"{field} is {theirs!r}", where=path, expected=f"{ours!r} as in the model", mend=_AGAIN)
    if data["encoder"] != (ours := encoder_digest(model.encoder)):
        raise GoalError(
            f"is of another encoder ({str(data['encoder'])[:12]})", where=path,
            expected=f"the model's ({ours[:12]})", mend="save it again with this model",
        )
