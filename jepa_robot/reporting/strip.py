"""A strip of labelled pictures: start, goal, frames on the way, end."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jepa_robot.evaluation.episodes import EpisodeResult, Step
from jepa_robot.files import atomic_path

TILE = 128  # pixels: height and width of a picture in the strip, at least
MARGIN, LABEL = 4, 18  # pixels


def strip_of(result: EpisodeResult, on_the_way: int = 6) -> Image.Image:
    """Start, goal, up to ``on_the_way`` frames evenly spaced, end; with distances where known."""
    last = result.steps[-1]
    middle = np.unique(np.linspace(0, last.index, on_the_way + 2).round().astype(int))[1:-1]
    tiles = [(_label("start", result.steps[0]), result.steps[0].image), ("goal", result.goal.image)]
    tiles += [(_label(f"step {i}", result.steps[i]), result.steps[i].image) for i in middle]
    tiles.append((_label(f"end, step {last.index}", last), last.image))
    return strip(tiles)


def strip(tiles: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """Pictures uint8 [height, width, 3] of one size, side by side with labels above."""
    height, width = tiles[0][1].shape[:2]
    scale = max(1, -(-TILE // min(height, width)))
    height, width = height * scale, width * scale
    canvas = Image.new("RGB", (len(tiles) * (width + MARGIN) + MARGIN, height + LABEL + MARGIN), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for i, (label, image) in enumerate(tiles):
        left = MARGIN + i * (width + MARGIN)
        draw.text((left, 3), label, fill="black", font=font)
        canvas.paste(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST), (left, LABEL))
    return canvas


def save_strip(path: str | os.PathLike[str], result: EpisodeResult) -> None:
    """Write `strip_of` as a PNG.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        strip_of(result).save(temporary, format="PNG")


def _label(text: str, step: Step) -> str:
    return text if step.distance_m is None else f"{text}: {100 * step.distance_m:.1f} cm"
