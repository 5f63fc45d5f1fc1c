"""What a LeRobot data set says of itself: ``meta/info.json`` and the table of its episodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_robot.data.sources.parquet import Tables, vectors
from jepa_robot.data.sources.paths import inside, read_json
from jepa_robot.errors import DataError

CONVERTER = "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=..."
_VALID = {"val": "valid", "validation": "valid"}
_FIELD = re.compile(r"\{(\w+)(?::0(\d)d)?\}")


@dataclass(frozen=True)
class Feature:
    """One column or video of the data set.

    Attributes:
        key: as in ``info.json``, e.g. ``observation.images.top``.
        dtype: ``video``, ``image``, ``float32`` ...
        shape: of one row.
        names: of the dimensions, as the data set has them.
        depth: whether it is a depth map.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: Any
    depth: bool

    @property
    def dims(self) -> list[str]:
        """A name for each dimension of a vector: those of the data set, else ``key_0``, ``key_1`` ..."""
        found = self.names
        if isinstance(found, dict):  # {"motors": [...]} or {"x": 0, ...}
            lists = [value for value in found.values() if isinstance(value, list)]
            found = [name for names in lists for name in names] if lists else list(found)
        if isinstance(found, list) and len(found) == self.shape[0] == len({str(name) for name in found}):
            return [str(name) for name in found]
        short = self.key.removeprefix("observation.")
        return [short] if self.shape[0] == 1 else [f"{short}_{i}" for i in range(self.shape[0])]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture."""
        names = self.names if isinstance(self.names, list) else []
        if "height" in names and "width" in names and len(names) == 3:
            return self.shape[names.index("height")], self.shape[names.index("width")]
        return self.shape[1:] if self.shape[0] == 3 and self.shape[2] != 3 else self.shape[:2]


class Info:
    """``meta/info.json``.

    Attributes:
        path: of the file.
        version, robot_type: as written there.
        fps: frames a second, or None.
        features: by key.

    Raises:
        DataError: missing, damaged, or of a version that is not known here.
    """

    def __init__(self, root: Path):
        self.root = root
        self.path = inside(root, "meta/info.json")
        self._raw = read_json(self.path)
        self.version = self._raw.get("codebase_version")
        if not re.fullmatch(r"v3\.\d+", str(self.version)):
            old = str(self.version).startswith(("v1", "v2"))
            raise DataError(
                f"is a LeRobot data set of version {self.version!r}", where=self.path, expected="v3.0",
                mend=f"convert it: {CONVERTER}" if old else "use a data set of that version",
            )
        self.robot_type = self._raw.get("robot_type")
        fps = self._raw.get("fps")
        if fps is not None and (isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps < 1e6):
            raise DataError(f"fps is {fps!r}", where=self.path, expected="frames a second")
        self.fps = fps
        features = self._raw.get("features")
        if not isinstance(features, dict) or not features:
            raise DataError("has no features", where=self.path, expected="the type and shape of every column")
        self.features = {key: self._feature(key, value) for key, value in features.items()}

    def vector(self, key: str) -> Feature:
        """A feature that is one row of numbers.

        Raises:
            DataError: there is none of that name, or it is something else.
        """
        found = [f.key for f in self.features.values() if len(f.shape) == 1 and f.dtype.startswith(("float", "int"))]
        if key not in self.features:
            raise DataError(f"has no feature {key!r}", where=self.path, expected=f"one of {', '.join(found)}")
        if key not in found:
            feature = self.features[key]
            what = f"{key} is {feature.dtype} {list(feature.shape)}"
            raise DataError(what, where=self.path, expected="numbers [dims]")
        return self.features[key]

    def splits(self) -> dict[str, Iterator[str]]:
        """Names of the episodes of every split, which is written as ``"start:stop"``.

        Raises:
            DataError: written in another way.
        """
        found = {}
        written = self._raw.get("splits") or {}
        if not isinstance(written, dict):
            raise DataError(f"splits are {written!r}", where=self.path, expected="a table")
        for split, text in written.items():
            match = re.fullmatch(r"(\d+):(\d+)", str(text))
            if match is None:
                raise DataError(f"split {split!r} is {text!r}", where=self.path, expected="'start:stop', two numbers")
            found[_VALID.get(split, split)] = map("episode_{}".format, range(int(match[1]), int(match[2])))
        return found

    def file(self, template: str, **fields: str | int) -> str:
        """``data_path`` or ``video_path`` with its fields filled in.

        Raises:
            DataError: missing, or has other fields.
        """
        text = self._raw.get(template)
        if not isinstance(text, str):
            raise DataError(f"has no {template}", where=self.path, expected="where the files of the data set are")

        def fill(match: re.Match[str]) -> str:
            if match[1] not in fields:
                raise DataError(f"{template} has a field {match[1]!r}", where=self.path, expected=", ".join(fields))
            return f"{fields[match[1]]:0{match[2]}d}" if match[2] else str(fields[match[1]])

        try:
            return _FIELD.sub(fill, text)
        except ValueError as error:
            raise DataError(f"{template} is {text!r} ({error})", where=self.path) from error

    def _feature(self, key: str, value: Any) -> Feature:
        try:
            dtype, shape, names, info = value["dtype"], value["shape"], value.get("names"), value.get("info") or {}
            depth = bool(info.get("video.is_depth_map", info.get("is_depth_map", False)))
            sizes = len(shape) > 0 and all(isinstance(size, int) and 0 < size < 1 << 16 for size in shape)
            if isinstance(dtype, str) and sizes and (dtype not in ("video", "image") or len(shape) == 3):
                return Feature(key, dtype, tuple(shape), names, depth)
        except (AttributeError, KeyError, TypeError) as error:
            expected = "dtype and shape"
            raise DataError(f"feature {key!r} is malformed ({error!r})", where=self.path, expected=expected) from error
        expected = "dtype and shape (three numbers for pictures)"
        raise DataError(f"feature {key!r} is {dtype!r} {shape!r}", where=self.path, expected=expected)


@dataclass(frozen=True)
class Episode:
    """Where an episode's rows and pictures are.

    Attributes:
        number: LeRobot's index of it.
        length: rows.
        data: name of the parquet file.
        row: first row in it.
        video: name of the MP4 file; None where pictures are in the table.
        video_start: when the first picture is shown in it, seconds.
    """

    number: int
    length: int
    data: str
    row: int
    video: str | None
    video_start: float


def read_episodes(info: Info, tables: Tables, camera: Feature) -> tuple[list[Episode], set[str]]:
    """All episodes in order, and the sentences of their tasks.

    Raises:
        DataError: missing or damaged, or the data set has no episode.
    """
    root = info.root
    names = sorted(str(path.relative_to(root).as_posix()) for path in (root / "meta" / "episodes").glob("*/*.parquet"))
    if not names:
        raise DataError("has no meta/episodes/*/*.parquet", where=root, expected="the table of its episodes")
    columns = ["episode_index", "length", "dataset_from_index", "data/chunk_index", "data/file_index"]
    if camera.dtype == "video":
        prefix = f"videos/{camera.key}"
        columns += [f"{prefix}/chunk_index", f"{prefix}/file_index", f"{prefix}/from_timestamp"]
    rows: list[tuple[float, ...]] = []
    tasks: set[str] = set()
    for name in names:
        path = inside(root, name)
        table = tables.rows(path, columns)
        rows += zip(*(vectors(table, column, 1, path)[:, 0].tolist() for column in columns))
        if "tasks" in tables.columns(path):
            column = tables.rows(path, ["tasks"]).column("tasks").to_pylist()
            tasks.update(str(task) for tasks_of in column for task in tasks_of or ())
    if not rows:
        raise DataError("has no episode", where=root / "meta" / "episodes", expected="at least one")
    return _episodes(info, camera, sorted(rows)), tasks


def _episodes(info: Info, camera: Feature, rows: Sequence[tuple[float, ...]]) -> list[Episode]:
    where = info.root / "meta" / "episodes"
    first: dict[str, int] = {}  # data file -> number of its first row in the whole data set
    files = []
    for number, length, start, chunk, file, *_ in rows:
        if min(number, length, start, chunk, file) < 0:
            raise DataError(f"episode {number} has a negative length or index", where=where)
        files.append(info.file("data_path", chunk_index=int(chunk), file_index=int(file)))
        first[files[-1]] = min(first.get(files[-1], start), start)
    episodes = []
    for data, (number, length, start, _, _, *video) in zip(files, rows):
        name, shown = None, 0.0
        if video:
            name = info.file("video_path", video_key=camera.key, chunk_index=int(video[0]), file_index=int(video[1]))
            shown = float(video[2])
            if not np.isfinite(shown):
                raise DataError(f"episode {number} is at {shown} s of its video", where=where, expected="a finite time")
        episodes.append(Episode(int(number), int(length), data, int(start - first[data]), name, shown))
    numbers = [episode.number for episode in episodes]
    if len(set(numbers)) < len(numbers):
        raise DataError("lists an episode twice", where=where, mend="copy the data set again")
    return episodes
