"""The trajectory of one DROID episode: which frames its rows belong to, states, actions and times."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from jepa_robot.data.pose import pose_differences
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.data.sources.paths import inside, read_json, read_json_numbers
from jepa_robot.errors import DataError
from jepa_robot.spec import Dim

CAMERAS = ("ext1", "ext2", "wrist", "left", "right")
POSE, GRIPPER = "cartesian_position", "gripper_position"
_LARGEST = float(np.finfo(np.float32).max)
_ROBOT = "observation/robot_state"
_ANGLES = ("roll", "pitch", "yaw")
# Arrays that a state can be made of: (name, unit, frame) of their dimensions.
STATES = {
    POSE: (*((name, "m", "base") for name in "xyz"), *((name, "rad", "base") for name in _ANGLES)),
    GRIPPER: (("gripper", "1", "base"),),
    "joint_positions": tuple((f"joint_{i}", "rad", "joint") for i in range(1, 8)),
}
# (name, unit, state that it changes): rotations are composed, so no angle is the sum of its differences.
ACTIONS = (
    *((f"d{name}", "m", name) for name in "xyz"),
    *((f"d{name}", "rad", name) for name in _ANGLES),
    ("dgripper", "1", "gripper"),
)
# Bounds that are known beforehand, widened where the data pass them. The others are the data's.
_KNOWN = {**{name: (-np.pi, np.pi) for name in _ANGLES}, "gripper": (0.0, 1.0)}


@dataclass(frozen=True)
class Trajectory:
    """What one episode of T + 1 frames has besides pictures.

    Attributes:
        video: the MP4 file.
        frames: how many frames it may have.
        states: float64 [T + 1, P].
        actions: float64 [T, 7].
        times: float64 [T + 1] seconds, or None.
    """

    video: Path
    frames: tuple[int, ...]
    states: np.ndarray
    actions: np.ndarray
    times: np.ndarray | None


def metadata_files(folder: Path) -> list[str]:
    """Names of an episode folder's metadata."""
    if not folder.is_dir():
        return []
    return sorted(n for n in os.listdir(folder) if n.startswith("metadata_") and n.endswith(".json"))


def read_trajectory(root: Path, episode: str, camera: str, state: Sequence[str]) -> Trajectory:
    """The trajectory in the folder ``episode`` of the data set ``root``.

    Args:
        state: of `STATES`, which make the state.

    Raises:
        DataError: something is missing, damaged, or not what DROID records; names file and key.
    """
    found = metadata_files(root / episode)
    if len(found) != 1:
        raise DataError(f"has {len(found)} files metadata_*.json", where=root / episode, expected="one")
    video = _video(root, episode, inside(root, f"{episode}/{found[0]}"), camera)
    file = Hdf5File(inside(root, f"{episode}/trajectory.h5"), "a DROID trajectory (HDF5)")
    try:
        poses = _radians(file)
        if len(poses) < 3:
            raise DataError(f"has {len(poses)} rows", where=file.where(f"{_ROBOT}/{POSE}"), expected="3 or more")
        arrays = {name: _state(file, name, len(poses)) for name in {POSE, GRIPPER, *state}}
        clock = f"observation/timestamp/cameras/{video.stem}_frame_received"
        times = _numbers(file, clock, (len(poses),)) if file.has(clock) else None
    finally:
        file.close()
    rows, frames = _align(root, f"{episode}/recordings/MP4/{video.stem}_timestamps.json", len(poses), times)
    gripper = arrays[GRIPPER][rows]
    return Trajectory(
        video=video,
        frames=frames,
        states=np.concatenate([arrays[name][rows] for name in state], axis=1),
        actions=np.concatenate([pose_differences(poses[rows]), gripper[1:] - gripper[:-1]], axis=1),
        times=None if times is None else times[rows] / 1000.0,  # DROID's clocks are milliseconds
    )


def dims_of(
    states: Sequence[tuple[str, str, str]], low: np.ndarray, high: np.ndarray
) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """The contract's actions and states, with bounds [P + 7] of both."""
    names = [name for name, _, _ in states]
    of_states = []
    for (name, unit, frame), lo, hi in zip(states, low, high):
        known_low, known_high = _KNOWN.get(name, (lo, hi))
        of_states.append(Dim(name, unit, frame, float(min(lo, known_low)), float(max(hi, known_high))))
    of_actions = tuple(
        Dim(name, unit, "base", float(lo), float(hi), **_effect(unit, state if state in names else None))
        for (name, unit, state), lo, hi in zip(ACTIONS, low[len(states) :], high[len(states) :])
    )
    return of_actions, tuple(of_states)


def _effect(unit: str, state: str | None) -> dict[str, str | None]:
    """What an action does to the state of this name."""
    return {"composes" if unit == "rad" else "integrates": state}


def _video(root: Path, episode: str, metadata: Path, camera: str) -> Path:
    """The camera's MP4 file; metadata name it from the folder of the lab that recorded it."""
    values = read_json(metadata)
    key = f"{camera}_mp4_path"
    value = values.get(key)
    if not isinstance(value, str):
        known = [name for name in CAMERAS if isinstance(values.get(f"{name}_mp4_path"), str)]
        raise DataError(
            f"has no {key}", where=metadata, expected="a path", mend=f"take one of its cameras: {', '.join(known)}"
        )
    parts = PurePosixPath(value).parts
    if len(parts) < 3 or parts[0] == "/" or ".." in parts or parts[-3:-1] != ("recordings", "MP4"):
        expected = ".../recordings/MP4/<serial>.mp4, in the data set"
        raise DataError(f"{key} is {value!r}", where=metadata, expected=expected)
    return inside(root, f"{episode}/recordings/MP4/{parts[-1]}")


def _align(root: Path, stamps: str, steps: int, times: np.ndarray | None) -> tuple[np.ndarray, tuple[int, ...]]:
    """The rows of the trajectory to which the video's frames belong, and how many frames it may have."""
    if times is None or not os.path.lexists(root / stamps):
        return np.arange(steps - 1), (steps - 1, steps)
    path = inside(root, stamps)
    shown = read_json_numbers(path)
    if len(shown) < 2:
        raise DataError(f"has {len(shown)} time stamps", where=path, expected="one for each frame of the video")
    rows = np.minimum(np.searchsorted(times, shown), steps - 1)
    wrong = np.flatnonzero((times[rows] != shown) | (np.diff(rows, prepend=-1) <= 0))
    if len(wrong):
        raise DataError(
            f"frame {wrong[0]} has the time stamp {shown[wrong[0]]:.0f}", where=path,
            expected="ascending ones that the trajectory has, too", mend="leave the episode out",
        )
    return rows, (len(rows),)


def _numbers(file: Hdf5File, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """All of an array of numbers, as float64; NaN is what float32 cannot hold. None in ``shape`` is any length."""
    array = file.array(key)
    with file.reading(key):
        fits = len(array.shape) == len(shape) and all(w in (None, f) for f, w in zip(array.shape, shape))
        if fits and array.dtype.kind in "fiu":
            values = array[()].astype(np.float64)
            return np.where(np.abs(values) <= _LARGEST, values, np.nan)
        found = f"is {array.dtype} {list(array.shape)}"
    wanted = ["rows" if w is None else w for w in shape]
    raise DataError(found, where=file.where(key), expected=f"numbers [{', '.join(map(str, wanted))}]")


def _state(file: Hdf5File, name: str, steps: int | None) -> np.ndarray:
    """float64 [steps, dims] of an array of the robot's state."""
    dims = len(STATES[name])
    values = _numbers(file, f"{_ROBOT}/{name}", (steps,) if dims == 1 else (steps, dims))
    return values.reshape(-1, dims)


def _radians(file: Hdf5File) -> np.ndarray:
    """float64 [steps, 6] of poses.

    Raises:
        DataError: an angle is more than a whole turn: they are degrees.
    """
    poses = _state(file, POSE, None)
    beyond = np.argwhere(np.abs(poses[:, 3:]) > 2 * np.pi + 1e-3)
    if len(beyond):
        step, angle = beyond[0]
        raise DataError(
            f"{_ANGLES[angle]} is {poses[step, 3 + angle]:g} at step {step}", where=file.where(f"{_ROBOT}/{POSE}"),
            expected="radians, not degrees", mend="convert the angles to radians",
        )
    return poses
