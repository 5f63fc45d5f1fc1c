"""Pictures that a table holds as JPEG or PNG bytes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from jepa_robot.errors import DataError

# Pillow raises whatever its decoders run into.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def decode_picture(encoded: bytes | None, size: tuple[int, int], where: str) -> np.ndarray:
    """uint8 [H, W, 3] RGB of a JPEG or PNG picture of ``size`` (height, width).

    Raises:
        DataError: does not decode, or is of another size; names ``where``.
    """
    if not isinstance(encoded, bytes) or not encoded:
        raise DataError("has no picture", where=where, expected="JPEG or PNG bytes", mend="record the episode again")
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            found = (image.height, image.width)
            if found == size:  # before any decoding, so that a wrong header costs no memory
                return np.asarray(image.convert("RGB"))
    except _DAMAGE as error:
        raise DataError(f"does not decode ({error})", where=where, mend="copy the file again") from error
    raise DataError(
        f"is {found[0]}x{found[1]} pixels", where=where, expected=f"{size[0]}x{size[1]} (height x width)"
    )
