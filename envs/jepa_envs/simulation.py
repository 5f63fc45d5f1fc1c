"""A running MuJoCo model whose full state can be taken, restored and looked at aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from jepa_envs.gl import mujoco

# All that a step's result depends on. What a model has none of is left out of its states.
_FIELDS = ("qpos", "qvel", "act", "qacc_warmstart", "ctrl", "mocap_pos", "mocap_quat")
_WARNINGS = [kind for name, kind in mujoco.mjtWarning.__members__.items() if name != "mjNWARNING"]


class Simulation:
    """A model, its data, and what a controller remembers from step to step.

    Subclasses drive it: they set ``data.ctrl`` or ``data.qpos``, call `advance`, and keep everything that the future
    depends on, other than MuJoCo's own fields, in ``memory``.

    Args:
        model: the MuJoCo model.
        task: short name of the task; every state carries it, and a state of another task is refused.
        memory: name -> initial value (a scalar or an array) of what the controller remembers.

    Attributes:
        data: the simulation as it stands, with positions up to date.
        memory: name -> float64 array, saved and restored with the state.
    """

    def __init__(self, model: mujoco.MjModel, task: str, memory: dict[str, Any] | None = None):
        self.model = model
        self.data = mujoco.MjData(model)
        self._aside = mujoco.MjData(model)  # made once: that costs more than to fill it
        self.task = task
        self.memory = {name: np.array(value, float) for name, value in (memory or {}).items()}
        self._fields = [name for name in _FIELDS if getattr(self.data, name).size]

    def advance(self, steps: int) -> None:
        """Simulate a number of time steps with the present controls, and bring positions up to date."""
        mujoco.mj_step(self.model, self.data, steps)
        self.update_positions(self.data)

    def state(self) -> dict[str, Any]:
        """Everything that the simulation's future depends on, as plain data for JSON."""
        state: dict[str, Any] = {name: getattr(self.data, name).tolist() for name in self._fields}
        state |= {"time": self.data.time} | {name: value.tolist() for name, value in self.memory.items()}
        return state | {"task": self.task}

    def restore(self, state: dict[str, Any]) -> None:
        """Go to a state: from there on the simulation runs exactly as it did.

        Raises:
            ValueError: the state is not one of this simulation; nothing has changed.
        """
        self.memory = self._load(state, self.data)
        self.update_positions(self.data)

    def data_of(self, state: dict[str, Any]) -> mujoco.MjData:
        """Data that stands at a state, to look at it without touching the simulation; good until the next call.

        Only positions are computed; for contacts or forces call ``mujoco.mj_forward`` on it.

        Raises:
            ValueError: the state is not one of this simulation.
        """
        self._load(state, self._aside)
        self.update_positions(self._aside)
        return self._aside

    @contextmanager
    def looking_at(self, state: dict[str, Any]) -> Iterator[mujoco.MjData]:
        """Data that stands at a state, for the length of a block; the simulation is then as it was.

        Raises:
            ValueError: the state is not one of this simulation.
        """
        yield self.data_of(state)

    def state_after(self, place: Callable[[], object]) -> dict[str, Any]:
        """The state that ``place`` puts this simulation into; the simulation is left as it was."""
        present = self.state()
        try:
            place()
            return self.state()
        finally:
            self.restore(present)

    def warnings(self) -> dict[str, int]:
        """MuJoCo's warnings, by kind, since the simulation was last put into a state: none, unless it is unstable."""
        counts = {kind.name: int(self.data.warning[kind].number) for kind in _WARNINGS}
        return {name: count for name, count in counts.items() if count}

    def update_positions(self, data: mujoco.MjData) -> None:
        """Bring bodies, geoms, sites, cameras and lights up to ``data.qpos``: mj_step leaves them one step behind."""
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_camlight(self.model, data)

    def check_task(self, state: dict[str, Any]) -> None:
        """
        Raises:
            ValueError: the state is of another task.
        """
        # States of earlier versions carry no task; there the fields alone have to fit.
        if isinstance(state, dict) and state.get("task", self.task) != self.task:
            raise ValueError(f"is a state of task {state['task']!r}, expected one of {self.task!r}")

    def check_values(self, values: dict[str, np.ndarray]) -> None:
        """Check that a state's fields, of the right shapes, make sense in this scene; here they always do.

        Raises:
            ValueError: they do not.
        """

    def _load(self, state: dict[str, Any], data: mujoco.MjData) -> dict[str, np.ndarray]:
        """Fill data from a state, all or nothing; returns the state's memory."""
        self.check_task(state)
        try:
            values = {name: np.asarray(state[name], float) for name in (*self._fields, *self.memory)}
            time = float(state["time"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a state of {self.task} ({type(error).__name__}: {error})") from error
        for name, value in values.items():
            shape = (self.memory[name] if name in self.memory else getattr(data, name)).shape
            if value.shape != shape or not np.all(np.isfinite(value)):
                raise ValueError(f"state has {name} {value.tolist()}, expected finite numbers of shape {shape}")
        self.check_values(values)
        mujoco.mj_resetData(self.model, data)
        for name in self._fields:
            getattr(data, name)[:] = values[name]
        data.time = time
        return {name: values[name] for name in self.memory}
