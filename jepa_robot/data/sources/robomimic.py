"""robomimic's HDF5 files: https://robomimic.github.io/docs/datasets/overview.html

T observations for T actions under ``data/demo_i/obs``. The frame after the last action is the last of
``next_obs``, where the file has it; where it does not, the last action is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jepa_robot.data.derive import UNKNOWN, make_contract
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
from jepa_robot.data.sources.hdf5_source import Hdf5Source, holds, in_order
from jepa_robot.data.splits import splits_from_names
from jepa_robot.errors import DataError
from jepa_robot.spec import Dim

# What robomimic's own configurations take as proprioception.
DEFAULT_STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
DEFAULT_CAMERA = "agentview_image"
# The simulator's truth about the objects, which no robot measures; and all states in one.
_NOT_PROPRIOCEPTION = ("object", "flat")
_UNITS = (("eef_pos", "m"), ("eef_quat", "1"), ("joint_pos_cos", "1"), ("joint_pos_sin", "1"))
_DEMO = re.compile(r"demo_\d+")


class _Demo(NamedTuple):
    samples: int
    has_next: bool  # whether the frame after the last action was recorded


class Robomimic(Hdf5Source):
    """Demonstrations in a file of robomimic's layout, in the order of their numbers.

    The camera is ``agentview_image``, or the first of the pictures; the state is what robomimic's own configurations
    take (`DEFAULT_STATE`), or else every vector of floats but ``object`` and ``flat``. The frame rate is the
    environment's ``control_freq``. ``recipe`` keeps the environment; filter keys (``mask``) are splits.
    """

    format = "robomimic"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        def has_demo(file: Hdf5File) -> bool:
            return file.has("data") and any(_DEMO.fullmatch(name) for name in file.names("data"))

        return holds(path, has_demo)

    def where(self, index: int) -> str:
        return self._file.where(f"data/{self.names[index]}")

    # -- internals --------------------------------------------------------------------------

    def _open(self) -> Hdf5File:
        return Hdf5File(self.path, "demonstrations in robomimic's layout (HDF5)")

    def _read_index(self, report: Progress) -> None:
        file = self._file
        if not file.has("data"):
            raise DataError("has no group 'data'", where=self.path, expected="robomimic's layout")
        self.names = in_order(file.names("data"), "demo_", file.where("data"))
        environment = self._environment()
        self.recipe = {"format": self.format, "env_args": environment}
        self.splits = splits_from_names(self._mask(), self.names, file.where("mask"))
        self._choose_fields()
        self._demos = [self._inspect(index) for index in range(len(self))]
        good = [isinstance(demo, _Demo) for demo in self._demos]
        self.lengths = plausible_lengths([self._length(index) for index in range(len(self))], good)
        self._make_contract(environment, report)

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

    def _make_contract(self, environment: dict[str, Any], report: Progress) -> None:
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
            seen, (state_low, state_high) = self._seen_bounds(len(names), len(states), report)
            if (seen[0] < low).any() or (seen[1] > high).any():
                low, high = seen
        self.contract = make_contract(
            self.path, options, str(environment.get("env_name") or self.path.stem), self._camera, *field.size, fps,
            tuple(Dim(n, UNKNOWN, UNKNOWN, float(lo), float(hi)) for n, lo, hi in zip(names, low, high)),
            tuple(
                Dim(n, unit, UNKNOWN, float(lo), float(hi))
                for n, unit, lo, hi in zip(states, units, state_low, state_high)
            ),
        )

    def _actions_of(self, index: int, start: int, stop: int) -> np.ndarray:
        samples = self._demo(index).samples
        return self._vectors([(f"data/{self.names[index]}/actions", self._action)], start, stop, samples)

    def _rewards_of(self, index: int, start: int, stop: int) -> np.ndarray | None:
        return self._scalars(f"data/{self.names[index]}/rewards", start, stop, self._demo(index).samples)

    def _states_of(self, index: int, start: int, stop: int) -> np.ndarray:
        def read(group: str, first: int, last: int, samples: int) -> np.ndarray:
            return self._vectors([(f"{group}/{key}", self._fields[key]) for key in self._state], first, last, samples)

        return self._frames(index, start, stop, read)

    def _pictures(self, index: int, start: int, stop: int) -> np.ndarray:
        key, field = self._camera, self._fields[self._camera]

        def read(group: str, first: int, last: int, samples: int) -> np.ndarray:
            return self._file.rows(f"{group}/{key}", first, last, samples, field)

        return to_rgb(self._frames(index, start, stop, read), field)

    def _frames(
        self, index: int, start: int, stop: int, read: Callable[[str, int, int, int], np.ndarray]
    ) -> np.ndarray:
        """Frames ``start`` to ``stop``, both included; the one after the last action is the last of ``next_obs``.

        Args:
            read: called with (``obs`` or ``next_obs`` of the episode, first row, row to stop before, rows in all).
        """
        samples, has_next = self._demo(index)
        demo = f"data/{self.names[index]}"
        rows = read(f"{demo}/obs", start, min(stop + 1, samples), samples)
        if not has_next or stop < samples:
            return rows
        return np.concatenate([rows, read(f"{demo}/next_obs", samples - 1, samples, samples)])


def _unit(key: str) -> str:
    return next((unit for ending, unit in _UNITS if key.endswith(ending)), UNKNOWN)
