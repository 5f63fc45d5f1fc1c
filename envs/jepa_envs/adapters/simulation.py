"""The full state of any Gymnasium MuJoCo environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from jepa_envs.adapters import attributes
from jepa_envs.gl import mujoco
from jepa_envs.simulation import Simulation

_SPEC = mujoco.mjtState.mjSTATE_INTEGRATION
# Fields of a model that environments change from episode to episode.
_MODEL_FIELDS = (
    *("body_pos", "body_quat", "body_mass", "body_inertia", "dof_damping", "dof_frictionloss", "eq_data"),
    *("geom_pos", "geom_quat", "geom_size", "geom_friction", "geom_rgba", "site_pos", "site_quat", "site_rgba"),
    *("mat_rgba", "cam_pos", "cam_quat", "cam_fovy", "light_pos", "light_dir"),
)


class EnvSimulation(Simulation):
    """An environment's simulation, whose state is MuJoCo's, what it changed in its model, and what it remembers.

    Positions, contacts and forces are brought up to date after every step: the environments leave some of them one
    time step behind and build the next command on them, which no state would hold.

    Args:
        env: the environment, reset at least once.
        task: short name of the task.
        initial: what `attributes.read` gave before the first reset.
        model: copies of the model's fields before the first reset, by `model_fields`.
    """

    def __init__(self, env: gym.Env, task: str, initial: dict[str, Any], model: dict[str, np.ndarray]):
        super().__init__(env.unwrapped.model, task)
        self.env = env.unwrapped
        self.data = self.env.data
        self._initial, self._nominal = initial, model
        self.settle()

    def settle(self) -> None:
        """Bring everything that follows from the state up to date, without changing the state."""
        warmstart = self.data.qacc_warmstart.copy()
        mujoco.mj_forward(self.model, self.data)
        self.data.qacc_warmstart[:] = warmstart

    def state(self) -> dict[str, Any]:
        vector = np.empty(mujoco.mj_stateSize(self.model, _SPEC))
        mujoco.mj_getState(self.model, self.data, vector, _SPEC)
        remembered = attributes.read(self.env)
        changed = {name: value for name, value in remembered.items() if self._initial.get(name, _MISSING) != value}
        return {"mujoco": vector.tolist(), "model": self._changes(), "attributes": changed, "task": self.task}

    def restore(self, state: dict[str, Any]) -> None:
        vector, model, remembered = self._read(state)
        attributes.write(self.env, remembered, self._initial)
        for name, nominal in self._nominal.items():
            getattr(self.model, name)[:] = model.get(name, nominal)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, vector, _SPEC)
        self.settle()

    def forget(self) -> None:
        """Make model and attributes what they were before the first reset, so that no episode depends on another."""
        attributes.write(self.env, {}, self._initial)
        for name, nominal in self._nominal.items():
            getattr(self.model, name)[:] = nominal

    def with_attributes_of(self, state: dict[str, Any], other: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """A state with some attributes of the environment from another state.

        Raises:
            ValueError: one of them is not a state of this simulation.
        """
        own, others = (self._read(s)[2] for s in (state, other))
        kept = {name: value for name, value in own.items() if name not in names}
        return state | {"attributes": kept | {name: others[name] for name in names if name in others}}

    @contextmanager
    def looking_at(self, state: dict[str, Any]) -> Iterator[mujoco.MjData]:
        """The environment itself stands at the state, for the length of a block."""
        present = self.state()
        if state != present:
            self.restore(state)
        try:
            yield self.data
        finally:
            self.restore(present)

    def _read(self, state: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
        """MuJoCo's state, changed fields of the model and encoded attributes of a state.

        Raises:
            ValueError: it is not a state of this simulation.
        """
        self.check_task(state)
        try:
            vector, changes, remembered = np.asarray(state["mujoco"], float), state["model"], state["attributes"]
            model = {name: self._changed(name, change) for name, change in changes.items()}
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ValueError(f"not a state of {self.task} ({type(error).__name__}: {error})") from error
        size = mujoco.mj_stateSize(self.model, _SPEC)
        if vector.shape != (size,) or not np.all(np.isfinite(vector)):
            raise ValueError(f"state has mujoco of shape {vector.shape}, expected {size} finite numbers")
        if not isinstance(remembered, dict):
            raise ValueError(f"state has attributes {remembered!r}, expected them by name")
        return vector, model, remembered

    def _changes(self) -> dict[str, Any]:
        """What differs from the model as it was built: field -> indices and values of its entries."""
        changes = {}
        for name, nominal in self._nominal.items():
            field = getattr(self.model, name)
            different = np.flatnonzero(field != nominal)
            if len(different):
                changes[name] = {"index": different.tolist(), "value": field.ravel()[different].tolist()}
        return changes

    def _changed(self, name: str, change: dict[str, Any]) -> np.ndarray:
        field = self._nominal[name].copy()
        index, value = np.asarray(change["index"], int), np.asarray(change["value"], float)
        if index.shape != value.shape or not np.all(np.isfinite(value)):
            raise ValueError(f"{name} has {len(index)} entries and {len(value)} values")
        field.ravel()[index] = value
        return field


def model_fields(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """Copies of the fields that an environment may change."""
    return {name: getattr(model, name).copy() for name in _MODEL_FIELDS}


_MISSING = object()
