"""A contact sheet: one row of evenly spaced, labelled pictures for each of some episodes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE = 128  # pixels: the longer side of a picture in the sheet
MARGIN, LABEL = 4, 16  # pixels: between pictures, and for the line above each
COLUMNS = 8


def frames_shown(frames: int, columns: int = COLUMNS) -> list[int]:
    """Numbers of the frames of an episode in its row: evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, frames - 1, min(frames, columns)).round().astype(int)).tolist()


def contact_sheet(rows: Iterable[tuple[str, list[int], Iterable[np.ndarray]]], columns: int = COLUMNS) -> Image.Image:
    """Draw the rows below each other.

    Args:
        rows: name of an episode, frame numbers, and a picture uint8 [H, W, 3] for each of them.
        columns: most pictures in a row.
    """
    font = ImageFont.load_default(11)
    strips = [_row(name, numbers, pictures, columns, font) for name, numbers, pictures in rows]
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips) + MARGIN), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def _row(
    name: str, numbers: list[int], pictures: Iterable[np.ndarray], columns: int, font: ImageFont.FreeTypeFont
) -> Image.Image:
    tiles = [_tile(picture) for picture in pictures]
    width, height = tiles[0].size
    strip = Image.new("RGB", (columns * (width + MARGIN) + MARGIN, height + 2 * LABEL + MARGIN), "white")
    draw = ImageDraw.Draw(strip)
    draw.text((MARGIN, 2), name, fill="black", font=font)
    for i, (number, tile) in enumerate(zip(numbers, tiles, strict=True)):
        left = MARGIN + i * (width + MARGIN)
        draw.text((left, LABEL + 1), f"frame {number}", fill="gray", font=font)
        strip.paste(tile, (left, 2 * LABEL))
    return strip


def _tile(picture: np.ndarray) -> Image.Image:
    """Scaled so that its longer side has TILE pixels; small pictures keep their sharp pixels."""
    image = Image.fromarray(picture)
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
