"""Goals out of recorded episodes: the picture of a frame, and where it can be found again, the simulator's state in it.

Recordings hold no states. Those of `jepa-robot collect` follow from a seed, so that doing an episode again finds them;
what was found is only taken for the state if everything seen on the way is what was recorded.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_robot.data.format import STATE_KEY, Episode
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources import detect, open_source
from jepa_robot.errors import ConfigError, DataError, JepaRobotError
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.evaluation.recipe import Recipe, begin_episode
from jepa_robot.spec import Contract

_OWN = "jepa_robot"
# Other machines' OpenGL colours edges a little differently; an object that lies elsewhere changes whole blocks.
_BLOCK, _BLOCK_LEVELS = 4, 8.0
_STATE_TOLERANCE = 1e-3  # of a dimension's range


@dataclass(frozen=True)
class RecordedGoal:
    """A frame of an episode as a goal.

    Attributes:
        picture: with task, camera and state where the state was found.
        episode: as the recording calls it.
        frame: counted from 0.
        camera: as the recording calls it.
        why_no_state: one line, or None where there is one.
    """

    picture: GoalPicture
    episode: str
    frame: int
    camera: str
    why_no_state: str | None


def recorded_goal(
    path: str | os.PathLike[str],
    episode: str,
    frame: int = -1,
    format: str | None = None,
    image_size: int | None = None,
    camera: str | None = None,
    report: Progress = silent,
) -> RecordedGoal:
    """Frame ``frame`` of an episode.

    Where its state is found the picture is drawn anew if another size or camera is asked for; else the recorded
    pictures are cut to their middle square and scaled.

    Args:
        path: recorded trajectories of any known format.
        episode: its number, from 0, or its name in the recording.
        frame: negative numbers count from the end.
        format: of the recording; found by looking where None.
        image_size: height and width in pixels; as recorded where None.
        camera: picture stream, or camera of the task to draw with; the recording's own where None.
        report: called while the recording is opened.

    Raises:
        DataError: the recording cannot be read, or has no such episode, frame or camera.
        TaskError: the task has no such camera.
    """
    format = detect(path) if format is None else format
    found, why = None, f"a recording of format {format} does not say how its states were made"
    if format == _OWN:
        with open_source(path, format, report=report) as source:
            try:
                found = _replay(source, *_find(source, episode, frame))
            except _Unrepeatable as error:
                why = str(error)
    drawn_anew = found is not None and (image_size, camera) != (None, None)
    # A picture has no frame rate: any will do for those formats that leave it open.
    asked = SourceOptions(camera=camera, image_size=image_size, fps=None if format == _OWN else 1.0)
    with open_source(path, format, SourceOptions() if drawn_anew else asked, report) as source:
        index, number = _find(source, episode, frame)
        name, recorded, named = source.names[index], source.contract.camera, source.contract.task
        image, seen_by = _picture(source, index, number), recorded.name
    if found is None:
        return RecordedGoal(GoalPicture(image), name, number, seen_by, why)
    recipe, state = found
    if drawn_anew:
        other = dataclasses.replace(recipe, image_size=image_size or recorded.height, camera=camera or recorded.name)
        with other.open() as task:
            image, seen_by = task.env.render_goal(state), task.contract.camera.name
    return RecordedGoal(GoalPicture(image, named, seen_by, state), name, number, seen_by, None)


class _Unrepeatable(Exception):
    """Why the states of an episode cannot be found."""


def _find(source: Source, episode: str, frame: int) -> tuple[int, int]:
    """Index of an episode, and of a frame in it.

    Raises:
        DataError: there is none.
    """
    count = len(source)
    index = int(episode) if episode.isdecimal() else source.names.index(episode) if episode in source.names else count
    if index >= count:
        expected = f"0 to {count - 1}, or a name such as {source.names[0]}"
        raise DataError(f"has no episode {episode!r}", where=source.path, expected=expected)
    frames = int(source.lengths[index]) + 1
    if not -frames <= frame < frames:
        expected = f"0 to {frames - 1}, or -1 to {-frames} from the end"
        raise DataError(f"has no frame {frame}", where=source.where(index), expected=expected)
    return index, frame % frames


def _picture(source: Source, index: int, frame: int) -> np.ndarray:
    """One frame uint8 [H, W, 3]; `Source.read` reads two at least."""
    start = min(frame, int(source.lengths[index]) - 1)
    return source.read(index, start, start + 1).frames[frame - start]


def _replay(source: Source, index: int, frame: int) -> tuple[Recipe, dict[str, Any]]:
    """How an episode was made, and the simulator's state in one of its frames.

    Raises:
        _Unrepeatable: it is unknown, or doing it again leads elsewhere.
    """
    try:
        recipe = Recipe.from_dict(_collected(source.recipe, index))
        with recipe.open() as task:
            task.contract.require(source.contract, "the task", "the recording", "so it cannot be done again")
            recorded = source.read(index, 0, max(1, frame))
            recorded.check(task.contract, source.where(index))
            _, _, observation, _ = begin_episode(task, recipe, recorded.seed)
            _require_same(observation, recorded, 0, task.contract)
            for number in range(1, frame + 1):
                observation, *_ = task.env.step(recorded.actions[number - 1])
                _require_same(observation, recorded, number, task.contract)
            return recipe, task.env.state()
    except (JepaRobotError, ValueError) as error:
        raise _Unrepeatable(str(error)) from error


def _collected(recipe: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """The recipe of the collection that an episode comes from, through converting and merging.

    Raises:
        ConfigError: there is none.
    """
    try:
        while "source_recipe" in recipe or "merged_from" in recipe:
            if "source_recipe" in recipe:
                recipe = recipe["source_recipe"]
                continue
            ends = np.cumsum([part["episodes"] for part in recipe["merged_from"]])
            part = int(np.searchsorted(ends, index, side="right"))
            index -= int(ends[part - 1]) if part else 0
            recipe = recipe["merged_from"][part]["recipe"]
        if "mix" in recipe:
            return recipe
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"is malformed ({error!r})", where="recipe") from error
    raise ConfigError("the recording does not say how it was collected")


def _require_same(observation: Mapping[str, np.ndarray], recorded: Episode, frame: int, contract: Contract) -> None:
    """
    Raises:
        _Unrepeatable: what is seen now is not what was recorded.
    """
    off = np.abs(observation[STATE_KEY] - recorded.states[frame])
    moved = off > _STATE_TOLERANCE * (contract.state_high - contract.state_low)
    difference = observation[contract.camera.name].astype(float) - recorded.frames[frame]
    rows, columns = (size // _BLOCK * _BLOCK for size in difference.shape[:2])
    blocks = difference[:rows, :columns].reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK, 3).mean((1, 3))
    if moved.any() or np.abs(blocks).max() > _BLOCK_LEVELS:
        raise _Unrepeatable(f"doing the episode again here, frame {frame} is not the recorded one")
