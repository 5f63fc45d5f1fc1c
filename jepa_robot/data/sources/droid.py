"""Raw episodes of DROID: a folder each, with metadata, a trajectory in HDF5 and H.264 videos."""

from __future__ import annotations

import itertools
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jepa_robot.data.derive import choose, data_bounds, make_contract, shape_pictures
from jepa_robot.data.format import Episode
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources.droid_trajectory import (
    ACTIONS,
    CAMERAS,
    GRIPPER,
    POSE,
    STATES,
    Trajectory,
    dims_of,
    metadata_files,
    read_trajectory,
)
from jepa_robot.data.sources.hdf5_guard import expect
from jepa_robot.data.sources.paths import OUTSIDE
from jepa_robot.data.sources.video import VideoFile, Videos
from jepa_robot.errors import DataError

FPS = 15.0  # all of DROID was recorded and controlled at 15 Hz
_KEPT = 8  # trajectories kept after they were read
_DEEPEST = 5  # release/lab/success/date/episode
_FOLDERS_LOOKED_AT = 1000
_EXPECTED = 16  # trajectories that are looked through while another is read


class Droid(Source):
    """DROID's raw release, a part of it, or one episode folder.

    Every folder with a ``metadata_*.json`` is an episode, up to five levels down (DROID's own mark of a complete
    one). States are the end effector's pose (metres, Euler angles xyz in radians, base frame) and how far the gripper
    is closed; actions are the differences between them (`pose.pose_differences`), not the recorded commands.

    Videos have often one frame less than the trajectory has rows. Where there is ``<serial>_timestamps.json``, a
    frame belongs to the row with exactly its time stamp. Otherwise frame i belongs to row i, the last row is left
    out, and a video that has not as many frames as rows, or one less, is refused.

    An episode that cannot be read stays in the list, as one of a single action: reading it says what is wrong.

    ``options.camera`` is ``ext1`` (default), ``ext2``, ``wrist``, ``left`` or ``right``: those of the metadata's
    ``*_mp4_path``, of each the left lens. ``options.state`` names arrays of ``observation/robot_state``.
    """

    format = "droid"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        try:
            folders = itertools.islice(_folders(path, path.resolve()), _FOLDERS_LOOKED_AT)
            return any(metadata_files(folder) and (folder / "trajectory.h5").exists() for folder in folders)
        except (OSError, DataError):
            return False

    def __init__(self, path: Path, options: SourceOptions = SourceOptions(), report: Progress = silent) -> None:
        self.path = Path(path)
        self._options = options
        self._camera = choose("camera", options.camera, CAMERAS, self.path)
        wanted = options.state or (POSE, GRIPPER)
        self._arrays = [choose("state", name, list(STATES), self.path) for name in wanted]
        self._videos = Videos()
        self._kept: OrderedDict[int, Trajectory] = OrderedDict()
        self._folders = [folder for folder in _folders(self.path, self.path.resolve()) if metadata_files(folder)]
        if not self._folders:
            raise DataError(
                "holds no DROID episode", where=self.path, expected="folders with metadata_*.json and trajectory.h5"
            )
        self.names = [
            folder.relative_to(self.path).as_posix() if folder != self.path else self.path.resolve().name
            for folder in self._folders
        ]
        self.lengths = np.ones(len(self.names), np.int64)
        states = [dim for name in self._arrays for dim in STATES[name]]
        size, low, high = self._look(len(states), report)
        self.contract = make_contract(
            self.path, options, "droid", self._camera, *size, FPS, *dims_of(states, low, high)
        )
        self.recipe = {"format": "droid", "camera": self._camera, "actions": "differences between end-effector poses"}

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        trajectory = self._trajectory(index)
        stop = len(trajectory.actions) if stop is None else stop
        shown = self._videos.times(trajectory.video)
        if len(shown) not in trajectory.frames:
            expected = " or ".join(map(str, trajectory.frames))
            raise DataError(
                f"has {len(shown)} frames for {self.names[index]}", where=trajectory.video,
                expected=f"{expected}, as many as its trajectory has steps", mend="leave the episode out",
            )
        frames = self._videos.read(trajectory.video, shown[start : stop + 1], self.names[index], start)
        episode = Episode(
            frames=shape_pictures(frames, self._options),
            states=trajectory.states[start : stop + 1].astype(np.float32),
            actions=trajectory.actions[start:stop].astype(np.float32),
            kind="teleoperation",
            times=None if trajectory.times is None else trajectory.times[start : stop + 1],
        )
        episode.check_shapes(self.contract, self.where(index))
        return episode

    def close(self) -> None:
        self._videos.close()
        self._kept.clear()

    # -- internals --------------------------------------------------------------------------

    def _look(self, dims: int, report: Progress) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
        """Go through all trajectories once: size of pictures, and bounds [dims + 7] of states and actions.

        Raises:
            DataError: no episode can be read; it is the first one's error.
        """
        errors: list[DataError] = []
        size: tuple[int, int] | None = None

        def values() -> Iterator[np.ndarray]:
            nonlocal size
            for index in range(len(self.names)):
                for folder in self._folders[index : index + _EXPECTED] if index % _EXPECTED == 0 else ():
                    expect(folder / "trajectory.h5")
                try:
                    trajectory = self._load(index)
                    if size is None:
                        with VideoFile(trajectory.video) as video:
                            size = video.height, video.width
                except DataError as error:
                    errors.append(error)
                    continue
                finally:
                    report(index + 1, len(self.names))
                self.lengths[index] = len(trajectory.actions)
                actions = np.pad(trajectory.actions, ((0, 1), (0, 0)), constant_values=np.nan)  # none after the last
                yield np.concatenate([trajectory.states, actions], axis=1)

        low, high = data_bounds(values(), dims + len(ACTIONS))
        if size is None:
            raise errors[0]
        return size, low, high

    def _trajectory(self, index: int) -> Trajectory:
        if index not in self._kept:
            self._kept[index] = self._load(index)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]

    def _load(self, index: int) -> Trajectory:
        episode = self._folders[index].relative_to(self.path).as_posix()
        return read_trajectory(self.path, episode, self._camera, self._arrays)


def _folders(root: Path, real: Path, depth: int = 0) -> Iterator[Path]:
    """``root`` and what may be episodes below it, in order; nothing is looked for inside of an episode.

    Raises:
        DataError: a folder may not be read, or is a link that leads out of ``real``.
    """
    yield root
    if depth == _DEEPEST or metadata_files(root):
        return
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot be searched ({error.strerror})", where=root, expected="a folder") from error
    for entry in entries:
        if not entry.is_dir():
            continue
        if not entry.is_symlink():
            yield from _folders(root / entry.name, real, depth + 1)
        elif not Path(entry.path).resolve().is_relative_to(real):
            raise DataError("is a link that leads out of the data set's folder", where=entry.path, mend=OUTSIDE)
