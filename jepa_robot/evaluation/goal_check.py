"""Whether a picture can be a goal for a model, and if not, why."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jepa_robot.data.derive import shape_pictures
from jepa_robot.data.source import SourceOptions
from jepa_robot.errors import ConfigError, GoalError
from jepa_robot.evaluation.goal_picture import GoalPicture
from jepa_robot.planning import Planner
from jepa_robot.spec import Camera, Contract

# How far a picture's mean may be from that of the training data, and its contrast, in the latter's deviations. These
# only catch what is far off, and say in which way; the novelty is the finer measure.
_BRIGHTNESS, _TINT, _CONTRAST = 0.5, 0.2, 2.0
_LEVELS = 255


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of what.
        value: what it is, as text.
        expected: what it should be.
        ok: whether it is; None where it is not known.
    """

    name: str
    value: str
    expected: str
    ok: bool | None


@dataclass(frozen=True)
class Verdict:
    """Whether a picture can be a goal.

    Attributes:
        checks: what was looked at.
        hints: what to do about it, one line each.
        novelty: how unlike the training data the picture is, cut and scaled to the model's size; None: not measured.
    """

    checks: tuple[Check, ...]
    hints: tuple[str, ...] = ()
    novelty: float | None = None

    @property
    def usable(self) -> bool:
        return all(check.ok is not False for check in self.checks)


def fit(picture: GoalPicture, camera: Camera) -> GoalPicture:
    """The picture's middle square, scaled to the camera's size, as training data are."""
    image = shape_pictures(picture.image[None], SourceOptions(image_size=camera.height))[0]
    return dataclasses.replace(picture, image=image)


def unreadable(error: GoalError) -> Verdict:
    """The verdict on a file that is no picture, or not one in colour."""
    return Verdict((Check("picture", error.what, str(error.expected or "a picture in colour"), False),), _mend(error))


def check_goal(picture: GoalPicture, planner: Planner) -> Verdict:
    """Compare a picture with what a planner's model was trained on.

    Raises:
        ConfigError: the planner takes any picture.
    """
    contract, limit = planner.contract, planner.max_novelty
    if limit is None:
        raise ConfigError("is null, so any picture is taken", where="planner.max_novelty", expected="a number")
    image = fit(picture, contract.camera).image
    novelty = planner.novelty(image)
    checks = (
        *_origin(picture, contract),
        *_colours(image, contract.camera),
        Check("novelty", f"{novelty:.1f}", f"at most {limit:g} (training data: about 1)", bool(novelty <= limit)),
    )
    return Verdict(checks, tuple(_hints(picture, image, planner, checks)), novelty)


def _origin(picture: GoalPicture, contract: Contract) -> Iterator[Check]:
    camera, (height, width) = contract.camera, picture.image.shape[:2]
    fits = (height, width) == (camera.height, camera.width)
    yield Check("size", f"{width}x{height}", f"{camera.width}x{camera.height}", fits)
    for name, value, expected in (("task", picture.task, contract.task), ("camera", picture.camera, camera.name)):
        yield Check(name, value or "not known", expected, None if value is None else value == expected)


def _colours(image: np.ndarray, camera: Camera) -> Iterator[Check]:
    """Of a model's camera, which knows mean and deviation of its pixels."""
    mean, deviation = _LEVELS * np.array(camera.mean), _LEVELS * np.array(camera.std)
    pixels = image.reshape(-1, 3)
    found, contrast = pixels.mean(0), pixels.std(0).mean()
    off, usual = found - mean, deviation.mean()
    room = _BRIGHTNESS * usual
    bright = bool(abs(off.mean()) <= room)
    yield Check("brightness", f"{found.mean():.0f} of {_LEVELS}", f"{mean.mean():.0f} +- {room:.0f}", bright)
    tint, room = np.abs(off - off.mean()).max(), _TINT * usual
    yield Check("colours", _rgb(found), f"{_rgb(mean)}, tint +- {room:.0f}", bool(tint <= room))
    low, high = usual / _CONTRAST, usual * _CONTRAST
    yield Check("contrast", f"{contrast:.0f}", f"{low:.0f} to {high:.0f}", bool(low <= contrast <= high))


def _rgb(values: np.ndarray) -> str:
    return "R {:.0f} G {:.0f} B {:.0f}".format(*values)


def _mend(error: GoalError) -> tuple[str, ...]:
    return () if error.mend is None else (error.mend,)


def _hints(picture: GoalPicture, image: np.ndarray, planner: Planner, checks: tuple[Check, ...]) -> Iterator[str]:
    wrong = {check.name for check in checks if check.ok is False}
    camera = planner.contract.camera
    if "task" in wrong:
        yield f"draw a goal of that task: jepa-robot goal --task {planner.contract.task}"
    elif "camera" in wrong or ("size" in wrong and picture.state is not None):
        yield (
            f"draw it again: jepa-robot goal --state {picture.source} --camera {camera.name} "
            f"--image-size {camera.height} -o NEW.png"
        )
    elif wrong == {"size"}:
        yield "cut to its middle square and scaled it can be used: --fit NEW.png writes that"
    elif "novelty" in wrong:
        yield _explanation(image, planner) or "take it with the camera, scene and light of the training data"
    elif wrong:
        yield "take it in the light of the training data"


def _explanation(image: np.ndarray, planner: Planner) -> str | None:
    """What simple change of a picture makes it like the training data; None if none is known."""
    found = [(planner.novelty(np.ascontiguousarray(changed)), what) for what, changed in _changes(image, planner)]
    novelty, what = min(found)
    return f"{what}: mended, its novelty is {novelty:.1f}" if novelty <= planner.max_novelty else None


def _changes(image: np.ndarray, planner: Planner) -> Iterator[tuple[str, np.ndarray]]:
    """What may have happened to a picture, with the picture as it was before that."""
    values = image.astype(float)
    yield "red and blue are swapped (save it as RGB, not BGR)", image[..., ::-1]
    yield "it is mirrored", image[:, ::-1]
    yield "it is upside down", image[::-1]
    for turns, how in ((1, "a quarter to the left"), (2, "by half"), (3, "a quarter to the right")):
        yield f"it is turned {how}", np.rot90(image, -turns)
    off = image.reshape(-1, 3).mean(0) - _LEVELS * np.array(planner.contract.camera.mean)
    for shift in (0, -3, 3):
        levels = round(off.mean() + shift)
        word = "bright" if levels > 0 else "dark"
        yield f"it is about {abs(levels)} of {_LEVELS} levels too {word}", _clipped(values - levels)
    yield "its colours are off (white balance)", _clipped(values - off)
    for down in range(-2, 3):
        for right in range(-2, 3):
            if down or right:
                where = " and ".join(
                    f"{abs(n)} px {more if n > 0 else less}"
                    for n, more, less in ((right, "to the right", "to the left"), (down, "down", "up"))
                    if n
                )
                yield f"the camera's picture has moved {where}", _moved(image, -down, -right)


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, _LEVELS).astype(np.uint8)


def _moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The picture moved by pixels, its edge repeated where nothing is known."""
    height, width = image.shape[:2]
    rows, columns = np.arange(height) - down, np.arange(width) - right
    return image[np.clip(rows, 0, height - 1)][:, np.clip(columns, 0, width - 1)]
