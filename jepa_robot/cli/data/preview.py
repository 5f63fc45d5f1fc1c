"""``jepa-robot data preview``: pictures of some episodes, to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jepa_robot.cli.data.progress import opened, progress
from jepa_robot.cli.data.source_options import source_options
from jepa_robot.data.source import SourceOptions

if TYPE_CHECKING:
    import numpy as np

    from jepa_robot.data.format import Episode
    from jepa_robot.data.source import Source

SHEET, RECORDING = "contact_sheet.png", "episodes.rrd"


@click.command("preview")
@source_options
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; never overwritten.")
@click.option(
    "--episodes", type=click.IntRange(min=1, max=100), default=4, show_default=True, help="How many, evenly spaced."
)
def command(path: Path, format: str | None, options: SourceOptions, out: Path, episodes: int) -> None:
    """Draw a contact sheet of some episodes of SOURCE, and write them as a Rerun recording.

    The folder then holds contact_sheet.png, a row of evenly spaced frames for each episode, and
    episodes.rrd, with their pictures, states and actions over time (`rerun episodes.rrd`).
    """
    from jepa_robot.data.summary import spaced
    from jepa_robot.files import atomic_folder, require_free
    from jepa_robot.reporting.contact_sheet import contact_sheet, frames_shown
    from jepa_robot.reporting.episode_recording import save_episode_recording

    require_free(out)
    with opened(path, format, options) as source:
        chosen = spaced(len(source), episodes)
        names = [source.names[i] for i in chosen]
        with atomic_folder(out) as folder, progress(quiet=True) as show:
            shown = {i: frames_shown(int(source.lengths[i]) + 1) for i in chosen}
            rows = ((source.names[i], shown[i], [_picture(source, i, n) for n in shown[i]]) for i in chosen)
            contact_sheet(rows).save(folder / SHEET, format="PNG")

            def pieces() -> Iterator[tuple[str, int, Episode]]:
                from jepa_robot.data.trace import chunks

                for done, i in enumerate(chosen, start=1):
                    for start, piece in chunks(source, i):
                        yield source.names[i], start, piece
                    show(done, len(chosen))

            save_episode_recording(folder / RECORDING, source.contract, names, pieces())
    click.echo(f"{out / SHEET} and {out / RECORDING}: episodes {', '.join(names)}")


def _picture(source: Source, index: int, number: int) -> np.ndarray:
    """One frame uint8 [H, W, 3] of an episode; `Source.read` reads two at least."""
    start = min(number, int(source.lengths[index]) - 1)
    return source.read(index, start, start + 1).frames[number - start]
