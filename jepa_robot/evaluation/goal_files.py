"""Goals from files: pictures, videos, latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepa_robot.errors import GoalError
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.planning.goal_latents import EncodingModel, load_goal_latents
from jepa_robot.planning.goals import Goal, SubGoal
from jepa_robot.spec import Contract

LATENTS = ".safetensors"
VIDEO = ".mp4"


@dataclass(frozen=True)
class LoadedGoal:
    """A goal, and what its success can be judged by.

    Attributes:
        goal: what a planner is given.
        pictures: all that are in it.
        picture: the last sub-goal's; None where that is of latents, or any of several will do.
    """

    goal: Goal
    pictures: tuple[GoalPicture, ...]
    picture: GoalPicture | None

    def image(self, contract: Contract) -> np.ndarray:
        """What to show of it, uint8 [height, width, 3]: the last picture, or grey where there is none."""
        if self.pictures:
            return self.pictures[-1].image
        return np.full((contract.camera.height, contract.camera.width, 3), 128, np.uint8)


def load_goal(
    paths: Sequence[Path],
    model: EncodingModel,
    video_frames: int,
    steps: Sequence[int | None] = (None,),
    any_of: bool = False,
    state: np.ndarray | None = None,
) -> LoadedGoal:
    """A goal for a model.

    Args:
        paths: one or more: a picture or latents (.safetensors) are a sub-goal each, a video (.mp4) is as many as
            ``video_frames``.
        steps: of each sub-goal, see `SubGoal`, or one number for all.
        any_of: all files, and frames of videos, are one sub-goal, and any of them will do.
        state: float32 [P], wanted proprioception in the end.

    Raises:
        GoalError: a file cannot be read or does not fit the model, or numbers do not fit each other.
        ContractError: latents are of another task or camera.
        DataError: a video is damaged.
    """
    read = [part for path in paths for part in _read(path, model, video_frames)]
    subgoals = [subgoal for subgoal, _ in read]
    picture = read[-1][1]
    if any_of and len(subgoals) > 1:
        subgoals, picture = [SubGoal(tuple(one for subgoal in subgoals for one in subgoal.pictures))], None
    steps = list(steps) * len(subgoals) if len(steps) == 1 else steps
    if len(steps) != len(subgoals):
        expected = f"one for each of {len(subgoals)} sub-goals, or one for all"
        raise GoalError(f"there are {len(steps)} numbers of steps", where="goal", expected=expected)
    subgoals = [dataclasses.replace(subgoal, steps=count) for subgoal, count in zip(subgoals, steps)]
    subgoals[-1] = dataclasses.replace(subgoals[-1], state=state)
    return LoadedGoal(Goal(tuple(subgoals)), tuple(one for _, one in read if one is not None), picture)


def video_goals(path: Path, count: int, contract: Contract) -> list[GoalPicture]:
    """So many frames of a video, as far from each other as can be; its last one is the last.

    Its first frame, where the way begins, is no goal.

    Raises:
        GoalError: the video has fewer frames, or their size is not the camera's.
        DataError: it is damaged.
    """
    from jepa_robot.data.sources.video import VideoFile  # loads PyAV and HDF5

    if count < 1:
        raise GoalError(f"{count} frames are to be taken", where=path, expected="at least 1")
    with VideoFile(path) as video:
        times = video.times
        if len(times) <= count:
            expected = f"at least {count + 1}, to take {count} of"
            raise GoalError(f"has {len(times)} frames", where=path, expected=expected)
        chosen = np.linspace(0, len(times) - 1, count + 1).round().astype(int)[1:]
        frames = video.read(times[chosen], "the goal")
    pictures = [GoalPicture(frame, source=f"{path}, frame {index}") for frame, index in zip(frames, chosen)]
    pictures[0].require(contract)
    return pictures


def _read(path: Path, model: EncodingModel, video_frames: int) -> list[tuple[SubGoal, GoalPicture | None]]:
    """The sub-goals in a file, with their pictures."""
    if path.suffix.lower() == LATENTS:
        return [(SubGoal(tuple(load_goal_latents(path, model).unbind(0))), None)]
    if path.suffix.lower() != VIDEO:
        pictures = [GoalPicture.load(path)]
        pictures[0].require(model.contract)
    elif path.is_file():
        pictures = video_goals(path, video_frames, model.contract)
    else:
        raise GoalError("there is no such file", where=path, expected="a goal video")
    return [(SubGoal((picture.image,)), picture) for picture in pictures]
