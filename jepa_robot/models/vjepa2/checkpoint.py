"""Imported V-JEPA 2 networks as a checkpoint of ours, with the contract that they were trained under."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import os
from dataclasses import dataclass

import torch

from jepa_robot.errors import ConfigError
from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.checkpoint import MASKED_PREDICTOR, write
from jepa_robot.models.standardise import Standardise
from jepa_robot.models.vjepa2.networks import Imported
from jepa_robot.models.world_model import ModelConfig
from jepa_robot.spec import ANY_CAMERA, Camera, Contract, Dim

PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
FPS = 4.0  # of V-JEPA 2's clips and of V-JEPA 2-AC's actions

# One action of the published planner: metres an axis at most, no rotation (bounds have to differ), part of the
# gripper's way at most.
_STEP, _TURN, _CLOSING = 0.075, 1e-6, 0.75
_REACH = 1.0  # metres; a Franka arm reaches 0.855
_AXES, _ANGLES = ("x", "y", "z"), ("roll", "pitch", "yaw")
# The end effector's position, its orientation (Euler xyz) and closedness of the gripper. Rotations are composed, so
# no angle is the sum of its differences.
STATES = (
    *(Dim(name, "m", "base", -_REACH, _REACH) for name in _AXES),
    *(Dim(name, "rad", "base", -math.pi, math.pi) for name in _ANGLES),
    Dim("gripper", "1", "base", 0.0, 1.0),
)
ACTIONS = (
    *(Dim(f"d{name}", "m", "base", -_STEP, _STEP, integrates=name) for name in _AXES),
    *(Dim(f"d{name}", "rad", "base", -_TURN, _TURN, composes=name) for name in _ANGLES),
    Dim("dgripper", "1", "base", -_CLOSING, _CLOSING, integrates="gripper"),
)


@dataclass(frozen=True)
class ActionSpace:
    """What an action-conditioned predictor is used with: DROID's states under these names, or another contract."""

    task: str | None = None
    camera: str | None = None
    contract: Contract | None = None


def save_vjepa2(path: str | os.PathLike[str], found: Imported, space: ActionSpace, source: str) -> str:
    """Write a checkpoint.

    Args:
        source: the name of what was imported.

    Returns:
        The checkpoint's kind.

    Raises:
        ConfigError: the action space does not fit the predictor.
        OutputError: the file cannot be written.
    """
    recipe = [{
        "stage": "import", "source": source, "encoder": found.chosen, "tensors": found.used,
        "left_out": found.left_out, "versions": {"jepa_robot": importlib.metadata.version("jepa-robot")},
    }]
    if isinstance(found.predictor, PredictorConfig):
        contract = _world_contract(found, space)
        model = dataclasses.asdict(ModelConfig(found.encoder, found.predictor, None))
        parts = {
            "encoder": found.encoder_tensors, "predictor": found.predictor_tensors,
            # Its latents are layer-normalised and no more.
            "standardise": Standardise(found.encoder.tokens, found.encoder.width).state_dict(),
        }
        write(path, _joined(parts), "world_model", contract, model, recipe, {})
        return "world_model"
    if space != ActionSpace():
        raise ConfigError(
            "has no action-conditioned predictor", where=source, mend="leave out what names an action space"
        )
    size = found.encoder.image_size
    contract = Contract(None, (Camera(ANY_CAMERA, size, size, mean=PIXEL_MEAN, std=PIXEL_STD),), FPS, (), ())
    model, tensors = dataclasses.asdict(found.encoder), found.encoder_tensors
    if found.predictor is not None:
        model[MASKED_PREDICTOR] = dataclasses.asdict(found.predictor)
        tensors = tensors | _joined({MASKED_PREDICTOR: found.predictor_tensors})
    write(path, tensors, "encoder", contract, model, recipe, {})
    return "encoder"


def _joined(parts: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _world_contract(found: Imported, space: ActionSpace) -> Contract:
    """The action space's contract, with V-JEPA 2's normalisation of pixels and none of actions and states."""
    size = found.encoder.image_size
    named = space.contract or Contract(
        space.task or "droid", (Camera(space.camera or "left", size, size),), FPS, ACTIONS, STATES
    )
    wanted = (size, size, *found.dims)
    given = (named.camera.height, named.camera.width, len(named.actions), len(named.states))
    if given != wanted:
        names = ("camera height", "camera width", "number of actions", "number of states")
        name, mine, theirs = next(row for row in zip(names, given, wanted) if row[1] != row[2])
        raise ConfigError(
            f"{name} is {mine}", where="--contract" if space.contract else "the contract of DROID",
            expected=f"{theirs}, as the weights", mend="give a contract that fits them: --contract FILE",
        )
    camera = dataclasses.replace(named.camera, mean=PIXEL_MEAN, std=PIXEL_STD)
    actions, states = (
        tuple(dataclasses.replace(dim, mean=0.0, std=1.0) for dim in dims) for dims in (named.actions, named.states)
    )
    return dataclasses.replace(named, cameras=(camera, *named.cameras[1:]), actions=actions, states=states)
