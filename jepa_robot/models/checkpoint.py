"""One file in, one model out: safetensors weights with the contract and the recipe in the header.

The header entry ``jepa_robot`` is one JSON object:

    kind      "encoder" (after pretraining) or "world_model"
    contract  see `jepa_robot.spec.Contract`
    model     sizes; an encoder's, with those of a masked predictor as ``masked_predictor`` where there is one
    recipe    one entry a training stage: data, seed, steps, seconds, settings, code version
    results   what has been measured with these weights
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from jepa_robot.errors import CheckpointError, ContractError
from jepa_robot.files import atomic_path
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.encoders import AnyEncoder, AnyEncoderConfig, VideoEncoder, build_encoder, encoder_config
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.models.world_model import ModelConfig, WorldModel
from jepa_robot.spec import Contract

HEADER = "jepa_robot"
MASKED_PREDICTOR = "masked_predictor"  # in an encoder's sizes, and before the names of the predictor's weights
_FIELDS = {"kind": str, "contract": dict, "model": dict, "recipe": list, "results": dict}
SHIPPED = Path(__file__).parent.parent / "checkpoints"


def resolve(path_or_name: str | os.PathLike[str]) -> Path:
    """A file, or the name of a checkpoint that comes with the package (``panda_reach``).

    Raises:
        CheckpointError: neither exists.
    """
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{path_or_name}.safetensors"
    if path.name == str(path_or_name) and shipped.is_file():
        return shipped
    names = [p.stem for p in sorted(SHIPPED.glob("*.safetensors"))]
    raise CheckpointError(
        "is a folder" if path.is_dir() else "no such checkpoint",
        where=path_or_name,
        expected=" or ".join(["a .safetensors file", *names]),
    )


def save(
    path: str | os.PathLike[str],
    module: nn.Module,
    kind: str,
    contract: Contract,
    recipe: list,
    results: dict,
    weights: str = "fp32",
) -> None:
    """Write weights and header; the old file or the new one, never half of one.

    Args:
        module: an encoder (kind "encoder") or `WorldModel` (kind "world_model").
        recipe: plain data, one entry a training stage.
        results: plain data.
        weights: number format in the file: fp32, or fp16 at half the size. It is read back as float32, so fp16
            only rounds matrices (vectors and statistics stay exact).

    Raises:
        CheckpointError: a weight is too large for fp16.
        OutputError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    if weights == "fp16":
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                tensors[name] = tensors[name].half()
                if not torch.isfinite(tensors[name]).all():
                    raise CheckpointError(f"{name} is too large for fp16", where=path, mend="save it with weights=fp32")
    write(path, tensors, kind, contract, dataclasses.asdict(module.config), recipe, results)


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, torch.Tensor],
    kind: str,
    contract: Contract,
    model: dict[str, Any],
    recipe: list,
    results: dict,
) -> None:
    """Write tensors that are in no module; see `save`.

    Args:
        tensors: contiguous, on the CPU.
        model: plain data, the sizes.
    """
    header = {"kind": kind, "contract": contract.to_dict(), "model": model, "recipe": recipe, "results": results}
    _write(path, tensors, header)


def record_results(path_or_name: str | os.PathLike[str], results: dict[str, Any]) -> None:
    """Add measured results to a checkpoint's header; the weights stay bit-identical."""
    path = resolve(path_or_name)
    header = read_metadata(path)
    header["results"] = {**header["results"], **results}
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    _write(path, tensors, header)


def _write(path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], header: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata={HEADER: json.dumps(header)})
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error


def read_metadata(path_or_name: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a checkpoint, without its weights.

    Raises:
        CheckpointError: missing, truncated, or not one of ours.
    """
    path = resolve(path_or_name)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
        wrong = [name for name, kind in _FIELDS.items() if not isinstance(header[name], kind)]
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"cannot be read ({error})", where=path, mend="copy or train it again") from error
    except KeyError as error:
        raise CheckpointError(
            f"header lacks {error}", where=path, expected="a file written by jepa-robot pretrain or train"
        ) from error
    if wrong or not all(isinstance(stage, dict) for stage in header["recipe"]):
        raise CheckpointError(
            f"header has a malformed {(wrong or ['recipe'])[0]!r}",
            where=path,
            expected="a file written by jepa-robot pretrain or train",
        )
    return header


def load(path_or_name: str | os.PathLike[str], device: str | torch.device = "cpu") -> WorldModel:
    """A world model, ready to plan: in evaluation mode, without gradients.

    This and the functions below read every weight once, into its place: nothing is initialised before, and the
    model does not depend on the file afterwards.

    Raises:
        CheckpointError: missing, truncated, not a world model, or its weights do not fit its sizes.
    """
    path = resolve(path_or_name)
    header = _header(path, "world_model", "a world model; run jepa-robot train with it as encoder")
    contract, config = Contract.from_dict(header["contract"], path), model_config(header["model"], path)
    with _building(path):
        model = WorldModel(contract, config)
    return _fill(model, path, "", device)


def load_encoder(path_or_name: str | os.PathLike[str], device: str | torch.device = "cpu") -> tuple[AnyEncoder, dict]:
    """The encoder of a pretrained encoder or of a world model, and the checkpoint's header.

    Raises:
        CheckpointError: as `load`.
    """
    path = resolve(path_or_name)
    header = read_metadata(path)
    contract = Contract.from_dict(header["contract"], path)
    if header["kind"] == "encoder":
        config = _encoder_config(header, path)
    else:
        config = model_config(header["model"], path).encoder
    with _building(path):
        encoder = build_encoder(config, contract.camera.mean, contract.camera.std)
    return _fill(encoder, path, "" if header["kind"] == "encoder" else "encoder.", device), header


def load_pretrained(
    path_or_name: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> tuple[VideoEncoder, MaskedPredictor | None, dict]:
    """An encoder, the masked predictor that it was pretrained with (None where it was not kept), and the header.

    Raises:
        CheckpointError: as `load`.
    """
    path = resolve(path_or_name)
    header = _header(path, "encoder", "an encoder")
    encoder, _ = load_encoder(path, device)
    if MASKED_PREDICTOR not in header["model"]:
        return encoder, None, header
    config = _sizes(MaskedPredictorConfig, header["model"][MASKED_PREDICTOR], path)
    with _building(path):
        predictor = MaskedPredictor(encoder.config.width, config)
    return encoder, _fill(predictor, path, f"{MASKED_PREDICTOR}.", device), header


def _encoder_config(header: dict[str, Any], path: Path) -> AnyEncoderConfig:
    return _encoder_sizes({k: v for k, v in header["model"].items() if k != MASKED_PREDICTOR}, path)


def model_config(data: dict[str, Any], where: object = None) -> ModelConfig:
    """`ModelConfig` from plain data.

    Raises:
        CheckpointError: a part or field is missing, unknown or inconsistent.
    """
    try:
        return ModelConfig(
            encoder=_encoder_sizes(data["encoder"], where),
            predictor=_sizes(PredictorConfig, data["predictor"], where),
            metric=None if data["metric"] is None else _sizes(MetricConfig, data["metric"], where),
        )
    except KeyError as error:
        raise CheckpointError(f"model sizes lack {error}", where=where) from error
    except TypeError as error:
        raise CheckpointError(f"model sizes are malformed ({error})", where=where) from error


def _encoder_sizes(data: dict[str, Any], where: object) -> AnyEncoderConfig:
    try:
        return encoder_config(data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"model sizes do not fit ({error})", where=where) from error


def _sizes(kind: type, data: dict[str, Any], where: object) -> Any:
    try:
        return kind(**data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"model sizes do not fit ({error})", where=where) from error


def _header(path: Path, kind: str, expected: str) -> dict[str, Any]:
    header = read_metadata(path)
    if header["kind"] != kind:
        raise CheckpointError(f"holds a checkpoint of kind {header['kind']!r}", where=path, expected=expected)
    return header


@contextlib.contextmanager
def _building(path: Path) -> Iterator[None]:
    """Modules made in the block have shapes and no memory; that sizes make no module is said of the file."""
    try:
        with torch.device("meta"):
            yield
    except ContractError as error:
        raise ContractError(error.what, where=path, expected=error.expected) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"model sizes do not fit ({error})", where=path) from error


def _fill(module: nn.Module, path: Path, prefix: str, device: str | torch.device) -> Any:
    """Give a module of the meta device its weights, those in the file whose names start with ``prefix``."""
    wanted = module.state_dict()
    tensors = {}
    with safe_open(path, framework="pt", backend="pread") as file:  # not mapped: the file may change later
        for name in file.keys():
            ours = name.removeprefix(prefix)
            if name.startswith(prefix) and (prefix or not name.startswith(f"{MASKED_PREDICTOR}.")):
                dtype = wanted[ours].dtype if ours in wanted else None
                tensors[ours] = file.get_tensor(name).to(device, dtype)
    try:
        module.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        # Torch names every tensor, one a line below a title; the first says enough.
        first = " ".join(str(error).splitlines()[1:2]).strip()
        raise CheckpointError(
            f"weights do not fit the sizes in the header ({first})",
            where=path,
            expected="a file written by this version of jepa-robot",
            mend="train it again",
        ) from error
    for part in module.modules():
        if hasattr(part, "set_constants"):
            part.set_constants()
    return module.requires_grad_(False).eval().to(device)
