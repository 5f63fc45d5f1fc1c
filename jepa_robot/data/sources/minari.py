"""Minari's HDF5 data sets: https://minari.farama.org/content/dataset_standards/

A folder with ``data/metadata.json`` and ``data/main_data.hdf5``: ``episode_i`` holds T actions and T + 1 observations,
nested like the observation space. Pictures are JPEG files, or arrays where the space is not an image for Minari.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from jepa_robot.data.derive import make_contract, unnamed_dims
from jepa_robot.data.format import Episode
from jepa_robot.data.source import Progress
from jepa_robot.data.sources.fields import (
    Field,
    choose_camera,
    choose_state,
    dim_names,
    float_vectors,
    plausible_lengths,
    to_rgb,
)
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.data.sources.hdf5_source import Hdf5Source, in_order
from jepa_robot.data.sources.paths import inside, read_json
from jepa_robot.data.sources.pictures import decode_picture
from jepa_robot.errors import DataError
from jepa_robot.spec import Dim

MAIN, METADATA = "main_data.hdf5", "metadata.json"
# Goals of Gymnasium's goal environments: what is wanted, not what is.
_GOALS = ("desired_goal", "achieved_goal")
_KEPT = ("dataset_id", "minari_version", "algorithm_name", "author", "code_permalink", "description", "env_spec")
_NO_BOUND = float(np.finfo(np.float32).max) / 2  # some environments write this for infinity
_EXPECTED = "a Minari data set in HDF5 format"


@dataclass(frozen=True)
class _Leaf:
    """A Box somewhere in a space: where its values lie below the episode, and its bounds float64 [width]."""

    key: str
    field: Field
    low: np.ndarray
    high: np.ndarray


class _Index(NamedTuple):
    """An episode: T (as it claims), its seed, and why it cannot be read."""

    length: int
    seed: int
    problem: DataError | None


class Minari(Hdf5Source):
    """A data set of Minari: its folder, the folder ``data`` in it, or the HDF5 file.

    Names of nested observations are joined by "/"; one that is not nested is called ``observations``. The camera is the
    first picture, the state every vector of floats but ``desired_goal`` and ``achieved_goal``. Minari does not record a
    frame rate: the options have to give it. Bounds are those of the spaces, or where these have none, of the data.
    """

    format = "minari"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        folder = _data_folder(path)
        if folder is None:
            return False
        try:
            return (folder / MAIN).exists() or "minari_version" in (folder / METADATA).read_text()
        except (OSError, ValueError):
            return False

    def where(self, index: int) -> str:
        return self._file.where(self.names[index])

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        return dataclasses.replace(super().read(index, start, stop), kind=self._kind, seed=self._episodes[index].seed)

    # -- index ------------------------------------------------------------------------------

    def _open(self) -> Hdf5File:
        folder = _data_folder(self.path)
        if folder is None:
            what = f"has no data/{METADATA}" if self.path.exists() else "no such file or folder"
            raise DataError(what, where=self.path, expected=_EXPECTED)
        self._metadata_path = self._inside(folder, METADATA)
        self._metadata = self._read_metadata()
        return Hdf5File(self._inside(folder, MAIN), _EXPECTED)

    def _inside(self, folder: Path, name: str) -> Path:
        """``folder / name``, which has to lie inside the data set's folder."""
        root = self.path if self.path.is_dir() else folder
        inside(root, (folder / name).relative_to(root).as_posix())
        return folder / name

    def _read_metadata(self) -> dict[str, Any]:
        where = self._metadata_path
        metadata = read_json(where)
        if metadata.get("data_format", "hdf5") != "hdf5":
            raise DataError(
                f"is in Minari's format {metadata['data_format']!r}", where=where, expected="'hdf5'",
                mend="make the data set again with data_format='hdf5'",
            )
        return metadata

    def _space(self, metadata: dict[str, Any], key: str, group: str, name: str) -> dict[str, _Leaf]:
        """Every Box of a space by its name; ``name`` for one that is not nested."""
        where = f"{self._metadata_path}:{key}"
        if key not in metadata:
            raise DataError("is missing", where=where, expected="a space, as Minari writes it")
        try:
            space = metadata[key]
            space = json.loads(space) if isinstance(space, str) else space
            return {"/".join(path) or name: _leaf(box, (group, *path)) for path, box in _boxes(space, ())}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"is not a space ({type(error).__name__}: {error})", where=where, expected="one, as Minari writes it"
            ) from error

    def _read_index(self, report: Progress) -> None:
        file, where, metadata = self._file, self._metadata_path, self._metadata
        self.names = in_order(file.names("/"), "episode_", file.path)
        total = metadata.get("total_episodes", len(self))
        if total != len(self):
            raise DataError(f"has {len(self)} episodes", where=file.path, expected=f"{total}, as {METADATA} says")
        observations = self._space(metadata, "observation_space", "observations", "observations")
        fields = {name: leaf.field for name, leaf in observations.items()}
        camera = choose_camera(fields, self._options.camera, f"{where}:observation_space")
        default = float_vectors(fields, without=_GOALS)
        states = choose_state(fields, self._options.state, f"{where}:observation_space", default)
        self._camera = observations[camera]
        self._states = {name: observations[name] for name in states}
        self._actions = self._space(metadata, "action_space", "actions", "action")
        if not self._actions or not all(leaf.field.is_numbers for leaf in self._actions.values()):
            found = ", ".join(f"{name} {leaf.field}" for name, leaf in self._actions.items()) or "no Box"
            raise DataError(f"is {found}", where=f"{where}:action_space", expected="vectors of continuous numbers")
        self._kind = str(metadata.get("algorithm_name", "unknown"))
        self.recipe = {"format": self.format, **{key: metadata[key] for key in _KEPT if key in metadata}}
        self._episodes = [self._inspect(name) for name in self.names]
        lengths = [episode.length for episode in self._episodes]
        self.lengths = plausible_lengths(lengths, [episode.problem is None for episode in self._episodes])
        self.contract = make_contract(
            self.path, self._options, str(metadata.get("dataset_id", self.path.stem)), camera,
            *self._camera.field.size, None,
            *self._dims(report),
        )

    def _inspect(self, name: str) -> _Index:
        file, claimed, steps, seed = self._file, None, 0, 0
        problem = None
        try:
            attributes = file.attributes(name)
            claimed = file.count(name, "total_steps", attributes)
            seed = file.count(name, "seed", attributes) or 0
            key = f"{name}/{next(iter(self._actions.values())).key}"
            steps = len(file.array(key))
            if claimed not in (None, steps):
                problem = DataError(
                    f"has {steps} actions", where=file.where(key), expected=f"{claimed}, its attribute total_steps"
                )
            elif steps == 0:
                problem = DataError("has no actions", where=file.where(key), expected="at least one")
        except DataError as error:
            problem = error
        return _Index(claimed or steps, seed, problem)

    def _dims(self, report: Progress) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        """Actions and states with the bounds of their spaces, or of all the data where a space has none."""
        names, bounds = [], []
        for leaves in (self._actions, self._states):
            names.append([dim for name, leaf in leaves.items() for dim in dim_names(name, leaf.field)])
            low = np.concatenate([np.empty(0), *(leaf.low for leaf in leaves.values())])
            bounds.append((low, np.concatenate([np.empty(0), *(leaf.high for leaf in leaves.values())])))
        bounded = [(np.abs(low) < _NO_BOUND) & (np.abs(high) < _NO_BOUND) & (low < high) for low, high in bounds]
        if self._options.contract is None and not all(known.all() for known in bounded):
            seen = self._seen_bounds(len(names[0]), len(names[1]), report)
            bounds = [np.where(known, own, data) for known, own, data in zip(bounded, bounds, seen)]
        return tuple(unnamed_dims(dims, low, high) for dims, (low, high) in zip(names, bounds))

    # -- reading ----------------------------------------------------------------------------

    def _steps(self, index: int) -> tuple[str, int]:
        """Name and T of an episode that is not known to be broken."""
        episode = self._episodes[index]
        if episode.problem is not None:
            raise episode.problem
        return self.names[index], episode.length

    def _actions_of(self, index: int, start: int, stop: int) -> np.ndarray:
        name, total = self._steps(index)
        return self._vectors(_arrays(name, self._actions), start, stop, total)

    def _states_of(self, index: int, start: int, stop: int) -> np.ndarray:
        name, total = self._steps(index)
        return self._vectors(_arrays(name, self._states), start, stop + 1, total + 1)

    def _rewards_of(self, index: int, start: int, stop: int) -> np.ndarray | None:
        name, total = self._steps(index)
        return self._scalars(f"{name}/rewards", start, stop, total)

    def _pictures(self, index: int, start: int, stop: int) -> np.ndarray:
        name, total = self._steps(index)
        file, key, field = self._file, f"{name}/{self._camera.key}", self._camera.field
        array = file.array(key)
        with file.reading(key):
            encoded = array.ndim == 2 and array.dtype == np.uint8 or h5py.check_vlen_dtype(array.dtype) == np.uint8
            if not encoded:
                return to_rgb(file.rows(key, start, stop + 1, total + 1, field), field)
            if len(array) != total + 1:
                raise DataError(f"has {len(array)} pictures", where=file.where(key), expected=f"{total + 1}")
            files = array[start : stop + 1]
        where = file.where(key)
        return np.stack([decode_picture(f.tobytes(), field.size, f"{where}[{start + i}]") for i, f in enumerate(files)])


def _arrays(episode: str, leaves: dict[str, _Leaf]) -> list[tuple[str, Field]]:
    return [(f"{episode}/{leaf.key}", leaf.field) for leaf in leaves.values()]


def _data_folder(path: Path) -> Path | None:
    """The folder with the metadata: ``path``, ``data`` in it, or the one around it; None where there is none."""
    candidates = (path.parent,) if path.name == MAIN and not path.is_dir() else (path, path / "data")
    return next((folder for folder in candidates if (folder / METADATA).is_file()), None)


def _boxes(space: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every Box of a space with its path; other kinds (text, discrete) are no numbers to learn from."""
    if space["type"] == "Dict":
        for name, sub in space["subspaces"].items():
            yield from _boxes(sub, (*path, name))
    elif space["type"] == "Tuple":
        for i, sub in enumerate(space["subspaces"]):
            yield from _boxes(sub, (*path, f"_index_{i}"))
    elif space["type"] == "Box":
        yield path, space


def _leaf(box: dict[str, Any], path: tuple[str, ...]) -> _Leaf:
    field = Field(tuple(int(size) for size in box["shape"]), np.dtype(box["dtype"]))
    if not field.is_numbers:  # the bounds of pictures are as large as pictures
        return _Leaf("/".join(path), field, np.empty(0), np.empty(0))
    low, high = (np.asarray(box[key], np.float64).reshape(field.width) for key in ("low", "high"))
    return _Leaf("/".join(path), field, low, high)
