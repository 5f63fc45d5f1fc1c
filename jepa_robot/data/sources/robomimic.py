"""robomimic's HDF5 files: https://robomimic.github.io/docs/datasets/overview.html

T observations for T actions under ``data/demo_i/obs``. The frame after the last action is the last of
``next_obs``, where the file has it; where it does not, the last action is left out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jepa_robot.data.derive import UNKNOWN, make_contract, shape_pictures
from jepa_robot.data.format import Episode
from jepa_robot.data.source import Source, SourceOptions
from jepa_robot.data.sources.fields import (
    Field,
    bounds_of_readable,
    choose_camera,
    choose_state,
    dim_names,
    float_vectors,
    plausible_lengths,
    to_rgb,
)
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.errors import DataError
from jepa_robot.spec import Dim

# What robomimic's own configurations take as proprioception.
DEFAULT_STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
DEFAULT_CAMERA = "agentview_image"
# The simulator's truth about the objects, which no robot measures; and all states in one.
_NOT_PROPRIOCEPTION = ("object", "flat")
_UNITS = (("eef_pos", "m"), ("eef_quat", "1"), ("joint_pos_cos", "1"), ("joint_pos_sin", "1"))
_DEMO = re.compile(r"demo_(\d+)")


class _Demo(NamedTuple):
    samples: int
    has_next: bool  # whether the frame after the last action was recorded


class Robomimic(Source):
    """Demonstrations in a file of robomimic's layout, in the order of their numbers.

    The camera is ``agentview_image``, or the first of the pictures; the state is what robomimic's own configurations
    take (`DEFAULT_STATE`), or else every vector of floats but ``object`` and ``flat``. The frame rate is the
    environment's ``control_freq``. ``recipe`` keeps the environment and the file's filter keys (``mask``).
    """

    format = "robomimic"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if not path.is_file():
            return False
        try:
            file = Hdf5File(path, "")
        except DataError:
            return False
        try:
            return file.has("data") and any(_DEMO.fullmatch(name) for name in file.names("data"))
        except DataError:
            return False
        finally:
            file.close()

    def __init__(self, path: Path, options: SourceOptions = SourceOptions()) -> None:
        self.path = Path(path)
        self._options = options
        self._file = Hdf5File(self.path, "demonstrations in robomimic's layout (HDF5)")
        try:
            self._read_index()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def where(self, index: int) -> str:
        return self._file.where(f"data/{self.names[index]}")

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        stop = int(self.lengths[index]) if stop is None else stop
        self._demo(index)
        pictures = self._observations(index, self._camera, start, stop, numbers=False)
        states = [self._observations(index, key, start, stop, numbers=True) for key in self._state]
        episode = Episode(
            frames=shape_pictures(to_rgb(pictures, self._fields[self._camera]), self._options),
            states=np.concatenate([np.empty((stop - start + 1, 0), np.float32), *states], axis=1),
            actions=self._actions(index, start, stop),
        )
        episode.check_shapes(self.contract, self.where(index))
        return episode

    # -- internals --------------------------------------------------------------------------

    def _read_index(self) -> None:
        file = self._file
        if not file.has("data"):
            raise DataError("has no group 'data'", where=self.path, expected="robomimic's layout")
        numbers = {}
        for name in file.names("data"):
            match = _DEMO.fullmatch(name)
            if match is None:
                raise DataError(f"has {name!r}", where=file.where("data"), expected="demo_<number>")
            numbers[name] = int(match[1])
        if not numbers:
            raise DataError("holds no episodes", where=file.where("data"), expected="demo_0, demo_1, ...")
        self.names = sorted(numbers, key=numbers.__getitem__)
        environment = self._environment()
        self.recipe = {"format": self.format, "env_args": environment, "mask": self._mask()}
        self._choose_fields()
        self._demos = [self._inspect(index) for index in range(len(self))]
        good = [isinstance(demo, _Demo) for demo in self._demos]
        self.lengths = plausible_lengths([self._length(index) for index in range(len(self))], good)
        self._make_contract(environment)

    def _environment(self) -> dict[str, Any]:
        """What the file says of the environment that it was recorded in; nothing where it does not."""
        text = self._file.attributes("data").get("env_args")
        if text is None:
            return {}
        try:
            environment = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"attribute env_args is not JSON ({error})", where=self._file.where("data"),
                expected="the environment, as robomimic writes it",
            ) from error
        if not isinstance(environment, dict):
            raise DataError("attribute env_args is not a table", where=self._file.where("data"))
        return environment

    def _mask(self) -> dict[str, list[str]]:
        """The filter keys, e.g. train and valid: names of episodes."""
        file, found = self._file, {}
        if not file.has("mask"):
            return found
        for name in file.names("mask"):
            key = f"mask/{name}"
            array = file.array(key)
            with file.reading(key):
                values = array[()].ravel().tolist()
            if not all(isinstance(value, bytes) for value in values):
                raise DataError(f"holds {array.dtype}", where=file.where(key), expected="names of episodes")
            found[name] = [value.decode("utf-8", "replace") for value in values]
        return found

    def _choose_fields(self) -> None:
        """What a step is, from the first episode that can be read at all."""
        first: DataError | None = None
        for index in range(len(self)):
            try:
                fields, actions = self._fields_of(index)
            except DataError as error:
                first = first or error
                continue
            self._fields, self._action = fields, actions
            where = f"{self.where(index)}/obs"
            self._camera = choose_camera(fields, self._options.camera, where, (DEFAULT_CAMERA,))
            default = DEFAULT_STATE
            if not all(name in fields and fields[name].is_numbers for name in DEFAULT_STATE):
                default = float_vectors(fields, without=_NOT_PROPRIOCEPTION)
            self._state = choose_state(fields, self._options.state, where, default)
            return
        raise first

    def _fields_of(self, index: int) -> tuple[dict[str, Field], Field]:
        """Observations and action of one step."""
        file, demo = self._file, f"data/{self.names[index]}"
        if not file.has(f"{demo}/obs"):
            raise DataError(
                "is missing", where=file.where(f"{demo}/obs"), expected="observations",
                mend="render them from the simulator's states with robomimic's dataset_states_to_obs.py",
            )
        arrays = {name: file.array(f"{demo}/obs/{name}") for name in file.names(f"{demo}/obs")}
        actions = file.array(f"{demo}/actions")
        with file.reading(demo):
            fields = {name: Field(array.shape[1:], array.dtype) for name, array in arrays.items()}
            action = Field(actions.shape[1:], actions.dtype)
        if not action.is_numbers:
            raise DataError(f"is {action} a step", where=file.where(f"{demo}/actions"), expected="a vector of numbers")
        return fields, action

    def _inspect(self, index: int) -> _Demo | DataError:
        """What an episode consists of, or why it cannot be read."""
        file, demo = self._file, f"data/{self.names[index]}"
        try:
            claimed = file.count(demo, "num_samples", file.attributes(demo))
            samples = len(file.array(f"{demo}/actions"))
            has_next = all(file.has(f"{demo}/next_obs/{key}") for key in (self._camera, *self._state))
        except DataError as error:
            return error
        where = file.where(f"{demo}/actions")
        if claimed not in (None, samples):
            return DataError(f"has {samples} actions", where=where, expected=f"{claimed}, its attribute num_samples")
        if samples - (not has_next) < 1:
            return DataError(f"has {samples} samples, so no action leads from one frame to another", where=where)
        return _Demo(samples, has_next)

    def _length(self, index: int) -> int:
        """T of an episode; of a broken one as it claims."""
        demo = self._demos[index]
        if isinstance(demo, _Demo):
            return demo.samples - (not demo.has_next)
        key = f"data/{self.names[index]}"
        try:
            return self._file.count(key, "num_samples", self._file.attributes(key)) or 0
        except DataError:
            return 0

    def _demo(self, index: int) -> _Demo:
        demo = self._demos[index]
        if isinstance(demo, DataError):
            raise demo
        return demo

    def _make_contract(self, environment: dict[str, Any]) -> None:
        options, field = self._options, self._fields[self._camera]
        kwargs = environment.get("env_kwargs")
        fps = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
        if fps is not None and (isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps < np.inf):
            raise DataError(
                f"attribute env_args has control_freq {fps!r}", where=self._file.where("data"),
                expected="steps a second, above 0",
            )
        names = dim_names("action", self._action)
        states = [name for key in self._state for name in dim_names(key, self._fields[key])]
        units = [_unit(key) for key in self._state for _ in range(self._fields[key].width)]
        low, high = np.full(len(names), -1.0), np.full(len(names), 1.0)
        state_low, state_high = np.full(len(states), -1.0), np.full(len(states), 1.0)
        if options.contract is None:
            seen_low, seen_high = bounds_of_readable(self._all_actions, len(self), len(names))
            if (seen_low < low).any() or (seen_high > high).any():
                low, high = seen_low, seen_high
            state_low, state_high = bounds_of_readable(self._all_states, len(self), len(states))
        self.contract = make_contract(
            self.path, options, str(environment.get("env_name") or self.path.stem), self._camera, *field.size, fps,
            tuple(Dim(n, UNKNOWN, UNKNOWN, float(lo), float(hi)) for n, lo, hi in zip(names, low, high)),
            tuple(
                Dim(n, unit, UNKNOWN, float(lo), float(hi))
                for n, unit, lo, hi in zip(states, units, state_low, state_high)
            ),
        )

    def _all_actions(self, index: int) -> np.ndarray:
        return self._actions(index, 0, int(self.lengths[index]))

    def _all_states(self, index: int) -> np.ndarray:
        stop = int(self.lengths[index])
        return np.concatenate([self._observations(index, key, 0, stop, numbers=True) for key in self._state], axis=1)

    def _actions(self, index: int, start: int, stop: int) -> np.ndarray:
        samples = self._demo(index).samples
        key = f"data/{self.names[index]}/actions"
        return self._file.numbers(key, start, stop, samples, self._action)

    def _observations(self, index: int, key: str, start: int, stop: int, numbers: bool) -> np.ndarray:
        """Rows start to stop, both included; the one after the last action is the last of next_obs."""
        samples, has_next = self._demo(index)
        demo, field = f"data/{self.names[index]}", self._fields[key]
        read = self._file.numbers if numbers else self._file.rows
        rows = read(f"{demo}/obs/{key}", start, min(stop + 1, samples), samples, field)
        if not has_next or stop < samples:
            return rows
        final = read(f"{demo}/next_obs/{key}", samples - 1, samples, samples, field)
        return np.concatenate([rows, final])


def _unit(key: str) -> str:
    return next((unit for ending, unit in _UNITS if key.endswith(ending)), UNKNOWN)
