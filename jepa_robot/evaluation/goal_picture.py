"""Goal pictures: a PNG whose text chunk says what it was drawn from, or any plain RGB picture.

The chunk (``jepa_robot.goal``, JSON) holds task, camera and the simulator's state. It serves to report true
success; a planner is only ever given the pixels.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from jepa_robot.errors import GoalError, OutputError
from jepa_robot.files import atomic_path
from jepa_robot.spec import Contract

CHUNK = "jepa_robot.goal"
FORMAT = "jepa_robot.goal/1"
_DRAW = "draw one with: jepa-robot goal"


@dataclass(frozen=True)
class GoalPicture:
    """What the robot's camera shall see in the end.

    Attributes:
        image: uint8 [height, width, 3] RGB.
        task: short name of the task that drew it; None for a plain picture.
        camera: name of the camera that drew it; None for a plain picture.
        state: the simulator's state in the picture, as JSON-able data; None for a plain picture.
        source: where it came from, for messages.
    """

    image: np.ndarray
    task: str | None = None
    camera: str | None = None
    state: dict[str, Any] | None = None
    source: str = "goal picture"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG with the text chunk (none for a plain picture).

        Raises:
            OutputError: the name does not end in .png, or the file cannot be written.
        """
        require_png_name(path)
        info = PngInfo()
        if self.task is not None:
            data = {"format": FORMAT, "task": self.task, "camera": self.camera, "state": self.state}
            info.add_text(CHUNK, json.dumps(data))
        with atomic_path(path) as temporary:
            Image.fromarray(self.image).save(temporary, format="PNG", pnginfo=info)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GoalPicture:
        """Read a picture in any common format.

        Raises:
            GoalError: the file is missing, unreadable, truncated, no picture, animated, not in colour, partly
                transparent, or its text chunk is malformed.
        """
        try:
            with Image.open(path) as picture:
                picture.load()
                image = _rgb(picture, path)
                chunk = getattr(picture, "text", {}).get(CHUNK)
        except FileNotFoundError as error:
            raise GoalError("there is no such file", where=path, expected="a goal picture", mend=_DRAW) from error
        except UnidentifiedImageError as error:
            expected = "a PNG or another picture format"
            raise GoalError("is not a picture", where=path, expected=expected, mend=_DRAW) from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = getattr(error, "strerror", None) or error
            raise GoalError(f"cannot be read as a picture ({reason})", where=path, mend=_DRAW) from error
        return cls(image=image, source=str(path), **_parse(chunk, path))

    def require(self, contract: Contract) -> None:
        """Check that a model or task with this contract can use the picture.

        Raises:
            GoalError: another task or camera drew it, or its size is not the camera's.
        """
        camera = contract.camera
        if self.task is not None and self.task != contract.task:
            raise GoalError(
                f"was drawn for task {self.task!r}", where=self.source, expected=repr(contract.task), mend=_DRAW
            )
        if self.camera is not None and self.camera != camera.name:
            raise GoalError(
                f"was drawn with camera {self.camera!r}", where=self.source, expected=repr(camera.name), mend=_DRAW
            )
        height, width = self.image.shape[:2]
        if (height, width) != (camera.height, camera.width):
            raise GoalError(
                f"picture is {width}x{height} pixels",
                where=self.source,
                expected=f"{camera.width}x{camera.height}, as camera {camera.name!r} takes them",
                mend="take it with that camera, or draw one with: jepa-robot goal",
            )


def require_png_name(path: str | os.PathLike[str]) -> None:
    """
    Raises:
        OutputError: the name does not end in .png.
    """
    if Path(path).suffix.lower() != ".png":
        raise OutputError("a goal picture is a PNG", where=path, mend="choose an output name that ends in .png")


def _rgb(picture: Image.Image, path: object) -> np.ndarray:
    """uint8 [height, width, 3]; palette and opaque alpha are unfolded, anything that would change colours is not."""
    if getattr(picture, "n_frames", 1) > 1:
        raise GoalError(f"holds {picture.n_frames} pictures", where=path, expected="one")
    if picture.mode == "P" or (picture.mode == "RGB" and "transparency" in picture.info):
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        if picture.getchannel("A").getextrema() != (255, 255):
            raise GoalError("is partly transparent", where=path, mend="save it without an alpha channel")
        picture = picture.convert("RGB")
    if picture.mode != "RGB":
        raise GoalError(
            f"has pixel format {picture.mode!r}", where=path, expected="colour with 8 bits a channel (RGB)",
            mend="take it in colour, and save it as RGB",
        )
    return np.array(ImageOps.exif_transpose(picture), np.uint8)


def _parse(chunk: str | None, path: object) -> dict[str, Any]:
    """Task, camera and state from the text chunk."""
    if chunk is None:
        return {}
    try:
        data = json.loads(chunk)
    except ValueError as error:
        raise GoalError(f"text chunk {CHUNK} is not JSON ({error})", where=path, mend=_DRAW) from error
    fields = {"format": str, "task": str, "camera": str, "state": dict}
    wrong = [k for k, kind in fields.items() if not isinstance(data, dict) or not isinstance(data.get(k), kind)]
    if wrong or data["format"] != FORMAT:
        raise GoalError(
            f"text chunk {CHUNK} has a wrong or missing {(wrong or ['format'])[0]}",
            where=path,
            expected=FORMAT,
            mend=_DRAW,
        )
    return {name: data[name] for name in ("task", "camera", "state")}
