"""What a run's goals are in the space in which energies are measured, if the model can know them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from jepa_robot.errors import GoalError, NoveltyError
from jepa_robot.planning.checks import check_image
from jepa_robot.planning.engine import Engine
from jepa_robot.planning.goals import Goal, Picture, SubGoal
from jepa_robot.planning.protocols import Target


def targets_of(goal: Goal, engine: Engine, max_novelty: float | None) -> list[Target]:
    """One for every sub-goal.

    Args:
        max_novelty: refuse pictures that are less like the training data than this; None: take any.

    Raises:
        GoalError: a picture is not what the contract's camera delivers, or latents or states are not the model's.
        NoveltyError: a picture shows nothing like what the model was trained on.
    """
    count = sum(len(subgoal.pictures) for subgoal in goal.subgoals)
    names = iter([f"goal picture {i + 1} of {count}" for i in range(count)] if count > 1 else ["goal picture"])
    return [_target(subgoal, names, engine, max_novelty) for subgoal in goal.subgoals]


def _target(subgoal: SubGoal, names: Iterator[str], engine: Engine, max_novelty: float | None) -> Target:
    """``names`` are of its pictures and those after them, for messages."""
    latents = []
    for picture, name in zip(subgoal.pictures, names):
        latents.append(_latents(picture, name, engine))
        _check_novelty(float(engine.novelty(latents[-1][None])), name, max_novelty)
    state = None
    if subgoal.state is not None:
        if len(subgoal.state) != len(engine.contract.states):
            raise GoalError(f"goal state has {len(subgoal.state)} numbers", expected=len(engine.contract.states))
        state = torch.from_numpy(subgoal.state).to(engine.device)[None]
    return Target(torch.stack([engine.measure(one) for one in latents])[None], state)


def _latents(picture: Picture, name: str, engine: Engine) -> Tensor:
    """[N, D] of a picture, or as they were given."""
    if isinstance(picture, np.ndarray):
        check_image(engine.contract, picture, GoalError, name)
        return engine.encode([picture])[0]
    if tuple(picture.shape) == engine.latent_shape:
        return picture.to(engine.device, torch.float32)
    expected = f"{list(engine.latent_shape)}, the model's [N, D]"
    raise GoalError(f"has latents {list(picture.shape)}", where=name, expected=expected)


def _check_novelty(novelty: float, name: str, most: float | None) -> None:
    """A model gives every picture a place in its latent space, also one that it knows nothing about."""
    if most is not None and not novelty <= most:
        raise NoveltyError(
            f"is unlike everything that the model was trained on (novelty {novelty:.1f})",
            where=name,
            expected=f"at most {most:g}; training pictures have about 1",
            mend="take it with the camera, scene and light of the training data, or set planner.max_novelty=inf",
        )
