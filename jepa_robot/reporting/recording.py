"""A Rerun recording of an episode: pictures, energies, distance, actions and latency over time."""

from __future__ import annotations

import math
import os

from jepa_robot.errors import OutputError
from jepa_robot.evaluation.episodes import EpisodeResult
from jepa_robot.files import atomic_path
from jepa_robot.spec import Contract


def save_recording(path: str | os.PathLike[str], result: EpisodeResult, contract: Contract) -> None:
    """Write an .rrd file for the Rerun viewer, on the timelines ``step`` and ``time`` (seconds).

    Raises:
        OutputError: it cannot be written.
    """
    import rerun as rr  # takes a second to load
    import rerun.blueprint as rrb

    recording = rr.RecordingStream("jepa_robot")
    # Bytes first, so that a full disk is an error here and not a warning in Rerun's writer thread.
    stream = recording.binary_stream()
    curves = ("energy", "distance_m", "action", "latency_ms")
    views = [rrb.TimeSeriesView(origin=f"/{name}", name=name) for name in curves]
    pictures = [rrb.Spatial2DView(origin=f"/{name}", name=name) for name in ("goal", "camera")]
    recording.send_blueprint(rrb.Blueprint(rrb.Horizontal(rrb.Vertical(*pictures), rrb.Vertical(*views))))
    recording.log("goal", rr.Image(result.goal.image), static=True)
    names = [f"{dim.name} ({dim.unit})" for dim in contract.actions]
    recording.log("action", rr.SeriesLines(names=names), static=True)
    for step in result.steps:
        recording.set_time("step", sequence=step.index)
        recording.set_time("time", duration=step.index / contract.fps)
        recording.log("camera", rr.Image(step.image))
        if step.distance_m is not None:
            recording.log("distance_m", rr.Scalars(step.distance_m))
        for name, energy in (("now", step.decision.energy), ("planned", step.decision.planned_energy)):
            if math.isfinite(energy):
                recording.log(f"energy/{name}", rr.Scalars(energy))
        recording.log("latency_ms", rr.Scalars(1000 * step.decision.latency_s))
        if step is not result.steps[-1]:  # the last action is not executed
            recording.log("action", rr.Scalars(step.decision.action))
    data = stream.read()
    if not data:
        raise OutputError("Rerun made an empty recording", where=path, mend="reinstall rerun-sdk")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
