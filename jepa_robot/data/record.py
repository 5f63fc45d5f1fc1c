"""Recording a robot's own loop, an episode at a time."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract

if TYPE_CHECKING:  # loading the planner takes seconds
    from jepa_robot.planning.types import Observation


class Recorder:
    """Adds the episodes of a loop to a file, which it makes when there is none.

        with Recorder("demos.h5", contract) as recorder:
            recorder.start(robot.observe())
            while not robot.done():
                action = robot.next_action()
                robot.move(action)
                recorder.step(action, robot.observe())
            recorder.end()

    An episode is permanent when `end` returns. An exception in the block drops the running episode and keeps those
    that ended. Everything is checked when it comes, and pictures are copied, so that a driver may use its buffers
    again.

    Args:
        path: the HDF5 file; an existing one has to have the same contract.
        contract: what the observations and actions are.
        kind: who chooses the actions.
        compression: as in `TrajectoryWriter`.

    Raises:
        DataError, ContractError, OutputError: as `TrajectoryWriter`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        contract: Contract,
        kind: str = "teleoperation",
        compression: str = "blosc",
    ):
        self.path = Path(path)
        self.contract = contract
        self._kind = kind
        env_args: dict[str, Any] = {"env_name": contract.task, "type": "robot", "env_kwargs": {}}
        self._writer = TrajectoryWriter(path, contract, env_args, {"made_by": "recorder"}, compression=compression)
        self._observations: list[Observation] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[float] = []

    def __len__(self) -> int:
        """Complete episodes in the file."""
        return len(self._writer)

    @property
    def recording(self) -> bool:
        """Whether an episode is running."""
        return bool(self._observations)

    def start(self, observation: Observation) -> None:
        """Begin an episode with what the robot sees before its first action.

        Raises:
            DataError: an episode is running, or the observation does not fit the contract.
        """
        if self.recording:
            raise DataError("an episode is running", where=self._where(), mend="call end() or discard() first")
        self._observations.append(self._checked(observation))

    def step(self, action: np.ndarray, observation: Observation, reward: float | None = None) -> None:
        """Add an action, float [A] in physical units, and what the robot sees after it.

        Args:
            reward: what the action earned; given with every step of an episode or with none.

        Raises:
            DataError: no episode is running, or something does not fit the contract; nothing was added.
        """
        self._require_running("step")
        after = self._checked(observation)
        step, before = len(self._actions), self._observations[-1]
        action = np.array(action, np.float32)
        # The same check as for a whole episode, on this one step.
        frames, states = (np.stack(pair) for pair in ((before.image, after.image), (before.state, after.state)))
        if action.shape != (len(self.contract.actions),):
            raise DataError(
                f"is {list(action.shape)}", where=f"{self._where()}/actions[{step}]",
                expected=f"[{len(self.contract.actions)}]",
            )
        rewards = None if reward is None else np.array([reward], np.float32)
        Episode(frames, states, action[None], rewards=rewards).check(self.contract, f"{self._where()}, action {step}")
        if not after.time > before.time:
            raise DataError(
                f"is {after.time:g} after {before.time:g}", where=f"{self._where()}/timestamps[{step + 1}]",
                expected="a later time", mend="give every Observation its time in seconds",
            )
        if step > 0 and (reward is None) != (not self._rewards):
            raise DataError(
                "is missing" if reward is None else "is given", where=f"{self._where()}/rewards[{step}]",
                expected="a reward with every step of an episode, or with none",
            )
        self._actions.append(action)
        self._observations.append(after)
        if reward is not None:
            self._rewards.append(reward)

    def end(self) -> None:
        """Write the running episode; it is permanent when this returns.

        Raises:
            DataError: no episode is running, or it has no action.
            OutputError: the file cannot be written; it holds the episodes before.
        """
        self._require_running("end")
        if not self._actions:
            raise DataError("has no action", where=self._where(), mend="call step(), or discard() the episode")
        episode = Episode(
            frames=np.stack([o.image for o in self._observations]),
            states=np.stack([o.state for o in self._observations]),
            actions=np.stack(self._actions),
            kind=self._kind,
            times=np.array([o.time for o in self._observations], np.float64),
            rewards=np.array(self._rewards, np.float32) if self._rewards else None,
        )
        self.discard()
        self._writer.append(episode)
        self._writer.flush()

    def discard(self) -> None:
        """Drop the running episode, if there is one."""
        self._observations.clear()
        self._actions.clear()
        self._rewards.clear()

    def close(self) -> None:
        """Close the file; twice does no harm.

        Raises:
            DataError: an episode is still running; it is lost, those before are kept.
        """
        running, where = self.recording, self._where()
        self.discard()
        self._writer.close()
        if running:
            raise DataError(
                "was neither ended nor discarded, and is lost", where=where,
                mend="call end() or discard() before closing",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def _where(self) -> str:
        return f"{self.path}:data/demo_{len(self)}"

    def _require_running(self, call: str) -> None:
        if not self.recording:
            raise DataError(f"{call}() without an episode", where=self._where(), mend="call start() first")

    def _checked(self, observation: Observation) -> Observation:
        """A copy of the observation whose types, shapes and numbers fit the contract."""
        camera, number = self.contract.camera, len(self._observations)
        image = np.array(observation.image)
        state = np.array(observation.state, np.float32)
        wanted = (camera.height, camera.width, 3)
        if (image.dtype, image.shape) != (np.dtype(np.uint8), wanted):
            raise DataError(
                f"is {image.dtype} {list(image.shape)}", where=f"{self._where()}/obs/{camera.name}[{number}]",
                expected=f"uint8 {list(wanted)}",
            )
        if state.shape != (len(self.contract.states),) or not np.isfinite(state).all():
            raise DataError(
                f"is {state.tolist()}", where=f"{self._where()}/obs/proprio[{number}]",
                expected=f"{len(self.contract.states)} finite numbers",
            )
        time = float(observation.time)
        if not np.isfinite(time):
            raise DataError(f"is {time}", where=f"{self._where()}/timestamps[{number}]", expected="seconds")
        return dataclasses.replace(observation, image=image, state=state, time=time)
