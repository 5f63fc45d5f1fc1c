"""The log of a training run, and a Rerun recording of it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepa_robot.errors import DataError, OutputError
from jepa_robot.files import atomic_path

LOG_FILE = "log.jsonl"


def read_log(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a run's log by step: of what was done twice the later one, and nothing from before it was started over.

    Raises:
        DataError: there is no log, or it holds something else.
    """
    path = Path(folder) / LOG_FILE
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found: dict[int, dict[str, Any]] = {}
        for row in rows:
            if row["step"] == 0:
                found.clear()
            found[int(row["step"])] = row
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", where=path,
            expected="the folder of a run: out=FOLDER of pretrain or train",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"is no log of a run ({error})", where=path) from error
    if not found:
        raise DataError("is empty", where=path, mend="wait for the run's first figures")
    return [found[step] for step in sorted(found)]


def save_log_recording(path: str | os.PathLike[str], runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write every number of the logs of runs as curves over ``step``, into an .rrd file for the Rerun viewer.

    Raises:
        OutputError: it cannot be written.
    """
    import rerun as rr  # takes a second to load

    recording = rr.RecordingStream("jepa_robot_training")
    stream = recording.binary_stream()  # bytes first, so that a full disk is an error here
    for label, rows in runs.items():
        for row in rows:
            recording.set_time("step", sequence=row["step"])
            for name, value in row.items():
                if name != "step" and math.isfinite(value):
                    recording.log(rr.new_entity_path([name, label]), rr.Scalars(value))
    data = stream.read()
    if not data:
        raise OutputError("Rerun made an empty recording", where=path, mend="reinstall rerun-sdk")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
