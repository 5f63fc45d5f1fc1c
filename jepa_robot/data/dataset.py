"""Opening data sets for training: into memory where they fit, else read as they are needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jepa_robot.data.memory import TrajectoryArrays
from jepa_robot.data.source import Progress, SourceOptions, silent
from jepa_robot.data.streamed import SourceSpec, TrajectoryFiles
from jepa_robot.data.windows import Trajectories


def open_trajectories(
    specs: Sequence[SourceSpec], memory_gb: float, threads: int = 1, report: Progress = silent
) -> Trajectories:
    """The episodes of all sources: in memory when their pictures need at most ``memory_gb`` (10^9 bytes).

    Args:
        threads: that read, where they are not in memory and no worker processes do.
        report: called with (episodes done, all of them) while a source is opened, and while it is read into memory.

    Raises:
        DataError: a source cannot be read, or an episode is not what its contract says.
        ContractError: the sources have different contracts.
    """
    files = TrajectoryFiles(specs, threads, report)
    camera = files.contract.camera
    if int(files.lengths.sum()) * camera.height * camera.width * 3 > memory_gb * 1e9:
        return files
    try:
        return TrajectoryArrays.read(files.sources, report)
    finally:
        files.close()


def load_arrays(path: str | os.PathLike[str], options: SourceOptions = SourceOptions()) -> TrajectoryArrays:
    """Read all complete episodes of one source of any format into memory.

    Raises:
        DataError: it cannot be read, or an episode is not what it claims to be.
    """
    with SourceSpec(Path(path), options=options).open() as source:
        return TrajectoryArrays.read([source])
