"""A Rerun recording of recorded episodes: pictures, states and actions over time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jepa_robot.data.format import Episode
from jepa_robot.errors import OutputError
from jepa_robot.spec import Contract, Dim

if TYPE_CHECKING:
    import rerun as rr

JPEG_QUALITY = 90


def save_episode_recording(
    path: str | os.PathLike[str],
    contract: Contract,
    names: list[str],
    pieces: Iterable[tuple[str, int, Episode]],
) -> None:
    """Write an .rrd file for the Rerun viewer, a tab for each episode, on the timelines ``frame`` and ``time``.

    Args:
        path: the file; written piece by piece.
        names: the episodes.
        pieces: (name, number of the first frame, frames and the actions between them), in order.

    Raises:
        OutputError: it cannot be written.
    """
    import rerun as rr  # takes a second to load
    import rerun.blueprint as rrb

    recording = rr.RecordingStream("jepa_robot")
    roots = {name: rr.new_entity_path([name]) for name in names}
    tabs = [
        rrb.Horizontal(
            rrb.Spatial2DView(origin=f"/{root}/camera", name=contract.camera.name),
            rrb.Vertical(*[rrb.TimeSeriesView(origin=f"/{root}/{key}", name=key) for key in ("state", "action")]),
            name=name,
        )
        for name, root in roots.items()
    ]
    try:
        recording.save(path)
        recording.send_blueprint(rrb.Blueprint(rrb.Tabs(*tabs)))
        for root in roots.values():
            recording.log(f"{root}/state", rr.SeriesLines(names=_legend(contract.states)), static=True)
            recording.log(f"{root}/action", rr.SeriesLines(names=_legend(contract.actions)), static=True)
        for name, start, piece in pieces:
            _log(recording, roots[name], start, piece, contract.fps)
            recording.flush()  # until it is written: a full disk is an error here, and memory holds one piece
    except RuntimeError as error:
        raise OutputError(
            f"cannot be written ({error})", where=path, mend="free space there or choose another output folder"
        ) from error
    finally:
        recording.disconnect()


def _log(recording: rr.RecordingStream, root: str, start: int, piece: Episode, fps: float) -> None:
    import rerun as rr

    for i, (picture, state) in enumerate(zip(piece.frames, piece.states)):
        recording.set_time("frame", sequence=start + i)
        recording.set_time("time", duration=(start + i) / fps)
        recording.log(f"{root}/camera", rr.Image(picture).compress(jpeg_quality=JPEG_QUALITY))
        recording.log(f"{root}/state", rr.Scalars(state))
        if i < len(piece.actions):  # nothing is done after the last frame
            recording.log(f"{root}/action", rr.Scalars(piece.actions[i]))


def _legend(dims: Iterable[Dim]) -> list[str]:
    return [f"{dim.name} ({dim.unit})" for dim in dims]
