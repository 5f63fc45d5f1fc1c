"""LeRobot data sets, version 3: parquet tables and MP4 videos (or pictures in the tables)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from jepa_robot.data.derive import choose, data_bounds, make_contract, shape_pictures, unnamed_dims
from jepa_robot.data.format import Episode
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources.lerobot_index import Feature, Info, read_episodes
from jepa_robot.data.sources.parquet import Tables, vectors
from jepa_robot.data.sources.paths import inside, read_json
from jepa_robot.data.sources.pictures import decode_picture
from jepa_robot.data.sources.video import Videos
from jepa_robot.data.splits import splits_from_names
from jepa_robot.errors import DataError
from jepa_robot.spec import Dim

ACTION, REWARD = "action", "next.reward"
STATE = ("observation.state",)


class LeRobot(Source):
    """A LeRobot v3 data set.

    LeRobot records as many frames as actions: action t leads from frame t to frame t + 1, so the last action of
    an episode is dropped. Pictures are found in the videos by the table's time stamps, as exactly as LeRobot
    itself asks (`video.TOLERANCE`). Names of dimensions are the data set's; units and frames it does not tell.
    Bounds are those of ``meta/stats.json``, or of the data where that does not have them. Rewards are ``next.reward``,
    splits those of ``meta/info.json``, where ``val`` and ``validation`` are ``valid``.

    ``options.camera`` is a key such as ``observation.images.top``, or its end (``top``);
    ``options.state`` names columns, by default ``observation.state``.
    """

    format = "lerobot"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        try:
            return (path / "meta" / "info.json").is_file()
        except OSError:
            return False

    def __init__(self, path: Path, options: SourceOptions = SourceOptions(), report: Progress = silent) -> None:
        self.path = Path(path)
        self._options = options
        self._videos, self._tables = Videos(), Tables()
        try:
            info = Info(self.path)
            self._camera, camera = self._choose_camera(info)
            self._action = info.vector(ACTION)
            self._states = self._choose_states(info)
            self._reward = info.vector(REWARD) if REWARD in info.features else None
            self._episodes, tasks = read_episodes(info, self._tables, self._camera)
            self.names = [f"episode_{episode.number}" for episode in self._episodes]
            self.splits = splits_from_names(info.splits(), self.names, f"{info.path}:splits")
            self.lengths = np.array([max(episode.length - 1, 0) for episode in self._episodes], np.int64)
            self.contract = make_contract(
                self.path, options, min(tasks) if len(tasks) == 1 else self.path.resolve().name, camera,
                *self._camera.size, info.fps, *self._dims(report),
            )
        except BaseException:
            self.close()
            raise
        self.recipe = {
            "format": "lerobot", "version": info.version, "robot_type": info.robot_type, "camera": self._camera.key
        }

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        stop = int(self.lengths[index]) if stop is None else stop
        table, where = self._rows(index, start, stop)
        times = vectors(table, "timestamp", 1, where)[:, 0].astype(np.float64)
        states = [vectors(table, feature.key, feature.shape[0], where) for feature in self._states]
        actions = vectors(table, ACTION, self._action.shape[0], where)[:-1]
        return Episode(
            frames=shape_pictures(self._pictures(index, start, table, times), self._options),
            states=np.concatenate(states, axis=1).astype(np.float32),
            actions=actions.astype(np.float32),
            times=times,
            rewards=None if self._reward is None else vectors(table, REWARD, 1, where)[:-1, 0].astype(np.float32),
        )

    def close(self) -> None:
        self._videos.close()
        self._tables.close()

    # -- internals --------------------------------------------------------------------------

    def _choose_camera(self, info: Info) -> tuple[Feature, str]:
        """The feature, and its name in the contract: the end of its key, where no other camera ends so."""
        keys = [f.key for f in info.features.values() if f.dtype in ("video", "image") and not f.depth]
        ends = [key.removeprefix("observation.").removeprefix("images.") for key in keys]
        short = [end if ends.count(end) == 1 else key for key, end in zip(keys, ends)]
        wanted = self._options.camera
        name = choose("camera", short[keys.index(wanted)] if wanted in keys else wanted, short, info.path)
        return info.features[keys[short.index(name)]], name

    def _choose_states(self, info: Info) -> list[Feature]:
        wanted = self._options.state
        if not wanted and STATE[0] not in info.features:
            others = ", ".join(key for key in info.features if key != ACTION)
            raise DataError(
                f"has no feature {STATE[0]!r}", where=info.path,
                mend=f"name others with --state, or source.state for training, of {others}",
            )
        return [info.vector(key) for key in wanted or STATE]

    def _dims(self, report: Progress) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        """Actions and states, with the bounds that the data set has written down, else with those of its values."""
        features = {feature.key: feature for feature in (self._action, *self._states)}
        bounds = self._written_bounds(features)
        unknown = {key: feature for key, feature in features.items() if key not in bounds}
        if unknown:
            ends = np.cumsum([feature.shape[0] for feature in unknown.values()])
            low, high = data_bounds(self._values(unknown, report), int(ends[-1]))
            bounds |= {key: pair for key, *pair in zip(unknown, np.split(low, ends[:-1]), np.split(high, ends[:-1]))}
        return _named([self._action], bounds), _named(self._states, bounds)

    def _written_bounds(self, features: dict[str, Feature]) -> dict[str, Sequence[np.ndarray]]:
        """Lowest and highest values that ``meta/stats.json`` has."""
        if not (self.path / "meta" / "stats.json").exists():
            return {}
        file, bounds = inside(self.path, "meta/stats.json"), {}
        written = read_json(file)
        for key, feature in features.items():
            stats, dims = written.get(key), feature.shape[0]
            if isinstance(stats, dict) and "min" in stats and "max" in stats:
                try:
                    extremes = np.array([stats["min"], stats["max"]], np.float64).reshape(2, dims)
                except (TypeError, ValueError) as error:
                    raise DataError(f"{key} has other bounds than {dims} numbers", where=file) from error
                bounds[key] = data_bounds([extremes], dims)
        return bounds

    def _values(self, features: dict[str, Feature], report: Progress) -> Iterator[np.ndarray]:
        """All values of some features side by side, an episode at a time."""
        for done, episode in enumerate(self._episodes, start=1):
            path = inside(self.path, episode.data)
            table = self._tables.rows(path, list(features), episode.row, episode.row + episode.length)
            columns = [vectors(table, key, feature.shape[0], path) for key, feature in features.items()]
            yield np.concatenate(columns, axis=1)
            report(done, len(self._episodes))

    def _rows(self, index: int, start: int, stop: int) -> tuple[pa.Table, str]:
        """Rows ``start`` to ``stop``, both included, and the name of the file for messages.

        Raises:
            DataError: they are not these rows of this episode.
        """
        episode = self._episodes[index]
        if episode.length < 2:
            raise DataError(f"has {episode.length} frames", where=self.where(index), expected="at least two")
        path = inside(self.path, episode.data)
        own = ["episode_index", "frame_index", "timestamp", ACTION, *(feature.key for feature in self._states)]
        own += [REWARD] if self._reward else []
        table = self._tables.rows(path, list(dict.fromkeys(own)), episode.row + start, episode.row + stop + 1)
        where = f"{path}:{self.names[index]}"
        for column, expected in (("episode_index", episode.number), ("frame_index", np.arange(start, stop + 1))):
            found = vectors(table, column, 1, where)[:, 0]
            wrong = np.flatnonzero(found != expected)
            if len(wrong):
                raise DataError(
                    f"{column} is {found[wrong[0]]} at frame {start + wrong[0]}", where=where,
                    expected=np.broadcast_to(expected, found.shape)[wrong[0]], mend="copy the data set again",
                )
        return table, where

    def _pictures(self, index: int, start: int, table: pa.Table, times: np.ndarray) -> np.ndarray:
        """uint8 [len(times), H, W, 3], as recorded."""
        episode, key, name = self._episodes[index], self._camera.key, self.names[index]
        if episode.video is None:
            path = inside(self.path, episode.data)
            first = episode.row + start
            column = self._tables.rows(path, [key], first, first + len(times)).column(key)
            pictures = [
                decode_picture(value, self._camera.size, f"{path}:{name}/{key} frame {start + i}")
                for i, value in enumerate(_encoded(column, f"{path}:{name}"))
            ]
            return np.stack(pictures)
        path = inside(self.path, episode.video)
        pictures = self._videos.read(path, episode.video_start + times, name, start)
        if pictures.shape[1:3] != self._camera.size:
            raise DataError(
                f"{key} of {name} is {pictures.shape[1]}x{pictures.shape[2]} pixels", where=path,
                expected=f"{self._camera.size[0]}x{self._camera.size[1]} (height x width), as meta/info.json says",
            )
        return pictures


def _named(features: Sequence[Feature], bounds: Mapping[str, Sequence[np.ndarray]]) -> tuple[Dim, ...]:
    """Dimensions of features one after the other, called by their features where two have the same name."""
    names = [name for feature in features for name in feature.dims]
    if len(set(names)) < len(names):
        names = [f"{feature.key}.{name}" for feature in features for name in feature.dims]
    low, high = (np.concatenate(side) for side in zip(*(bounds[feature.key] for feature in features)))
    return unnamed_dims(names, low, high)


def _encoded(column: pa.ChunkedArray, where: str) -> list[bytes | None]:
    """The bytes of a column of pictures; a path beside them is never followed."""
    kind = column.type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise DataError(f"pictures are of type {kind}", where=where, expected="encoded pictures (bytes)")
    return [None if value is None else value["bytes"] for value in column.to_pylist()]
