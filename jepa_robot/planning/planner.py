"""Receding-horizon planning towards a goal picture, from pictures and proprioception only."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jepa_robot.errors import ConfigError, GoalError, NoveltyError, PlanningError
from jepa_robot.planning.arrival import ArrivalRule
from jepa_robot.planning.memory import Memory
from jepa_robot.planning.optimizers.base import TrajectoryOptimizer, search
from jepa_robot.planning.protocols import Energy, WorldModel
from jepa_robot.planning.types import Diagnostics, Observation, Plan
from jepa_robot.runtime import autocast


class Planner:
    """Turns a goal picture and observations into actions.

    Usage: ``reset(goal)``, then ``action = act(observation)`` in any loop until ``arrived``.

    Args:
        model: predicts what the camera will see.
        optimizer: searches action sequences, on the model's device.
        energy: what it searches for.
        arrival: decides from the energies whether the goal is reached.
        iterations: optimizer iterations a plan.
        context_frames: number of past frames, the newest included, that the model is given.
        seed: for `reset` calls that name none.
        space: where energies are measured: ``metric``, the model's own metric space, or ``latent``, all
            patch latents of a frame, flattened.
        max_novelty: refuse goals that are less like the training data than this, see `WorldModel.novelty`; None: never.
        dtype: number format of the model: fp32, bf16 (autocast) or auto (bf16 where it is fast).
        clock: seconds; deadlines and latencies are measured on it.
    """

    def __init__(
        self,
        model: WorldModel,
        optimizer: TrajectoryOptimizer,
        energy: Energy,
        arrival: ArrivalRule,
        iterations: int,
        context_frames: int = 1,
        seed: int = 0,
        space: str = "metric",
        max_novelty: float | None = None,
        dtype: str = "fp32",
        clock: Callable[[], float] = time.perf_counter,
    ):
        autocast(model.device, dtype)  # raises for an unknown dtype
        if space not in ("metric", "latent"):
            raise ConfigError(f"energy space is {space!r}", where="planner", expected="metric or latent")
        if iterations < 1:
            raise ConfigError(f"iterations is {iterations}", where="planner", expected="at least 1")
        if max_novelty is not None and not max_novelty > 0:
            raise ConfigError(f"max_novelty is {max_novelty:g}", where="planner", expected="above 0; inf takes any")
        self.model, self.optimizer, self.energy, self.arrival = model, optimizer, energy, arrival
        self.contract, self.space = model.contract, space
        self.iterations, self.seed, self.clock = iterations, seed, clock
        self.device, self.dtype = model.device, dtype
        self.max_novelty = max_novelty
        self.arrived = False
        self._memory = Memory(context_frames)
        self._generator = torch.Generator(self.device)
        self._goal: Tensor | None = None  # [M]
        self._warm_start: Tensor | None = None  # [H, A]

    def reset(self, goal: np.ndarray | Tensor, seed: int | None = None) -> None:
        """Begin a run towards ``goal``: a uint8 [height, width, 3] RGB picture, or its latents [N, D].

        Raises:
            GoalError: the picture is not what the contract's camera delivers.
            NoveltyError: it shows nothing like what the model was trained on.
        """
        if isinstance(goal, np.ndarray):
            self._check_image(goal, GoalError, "goal picture")
        elif not isinstance(goal, Tensor) or goal.ndim != 2:
            raise GoalError(f"goal is {_describe(goal)}", expected="a uint8 picture, or latents: a tensor [N, D]")
        with torch.inference_mode(), autocast(self.device, self.dtype):
            latents = self._encode(goal) if isinstance(goal, np.ndarray) else goal.to(self.device)
            self._check_novelty(latents)
            self._goal = self._measure(latents)
        self._generator.manual_seed(self.seed if seed is None else seed)
        self._warm_start = None
        self._memory.clear()
        self.arrival.reset()
        self.arrived = False

    def novelty(self, goal: np.ndarray) -> float:
        """How unlike the training data a picture uint8 [height, width, 3] is; `reset` refuses more than `max_novelty`.

        Raises:
            GoalError: the picture is not what the contract's camera delivers.
        """
        self._check_image(goal, GoalError, "goal picture")
        with torch.inference_mode(), autocast(self.device, self.dtype):
            return float(self.model.novelty(self._encode(goal)))

    def plan(self, observation: Observation, deadline: float | None = None) -> Plan:
        """Search actions [H, A] from here, and update `arrived`.

        Args:
            deadline: on `clock`; the best plan found by then is returned. One iteration always runs.

        Raises:
            PlanningError: `reset` was not called, the observation does not fit the contract, or no
                candidate has a finite energy.
        """
        begun = self.clock()
        if self._goal is None:
            raise PlanningError("the planner has no goal", mend="call reset(goal) first")
        self._check_observation(observation)
        with torch.inference_mode(), autocast(self.device, self.dtype):
            latents = self._encode(observation.image)
            self._memory.observe(latents, torch.from_numpy(observation.state).to(self.device))
            energy_now = self._energy_now(latents)
            novelty = float(self.model.novelty(latents))
            self.arrived = self.arrival.update(energy_now)
            context = self.model.context(*self._memory.tensors(len(self.contract.actions)))

            def objective(actions: Tensor) -> Tensor:
                """[S, H, A] -> [S]."""
                predicted = self._measure(self.model.rollout(context, actions))
                return self.energy(predicted, self._goal, actions)

            found = search(
                self.optimizer, objective, self._generator, self.iterations, self.clock, self._warm_start, deadline
            )
        self._warm_start = found.actions
        actions = found.actions.cpu().numpy().astype(np.float32)
        period = self.contract.action_repeat / self.contract.fps
        return Plan(
            actions=np.clip(actions, self.contract.action_low, self.contract.action_high),  # after rounding
            times=observation.time + period * np.arange(len(actions), dtype=np.float64),
            energy=found.energy,
            diagnostics=Diagnostics(
                energy_now=energy_now,
                novelty=novelty,
                energy_history=found.history,
                elite_std=found.spread.mean(0).cpu().numpy().astype(np.float32),
                iterations=len(found.history),
                latency_s=self.clock() - begun,
            ),
        )

    def executed(self, action: np.ndarray) -> None:
        """Tell that ``action`` [A] was executed after the newest observation; the next plan starts there."""
        self._memory.act(torch.as_tensor(action, dtype=torch.float32, device=self.device))
        if self._warm_start is not None:
            self._warm_start = torch.cat((self._warm_start[1:], self._warm_start[-1:]))

    def act(self, observation: Observation, deadline: float | None = None) -> np.ndarray:
        """Plan, and commit to the first action: float32 [A], physical units, inside the bounds."""
        action = self.plan(observation, deadline).actions[0]
        self.executed(action)
        return action

    def _encode(self, image: np.ndarray) -> Tensor:
        """uint8 [height, width, 3] -> latents [N, D]."""
        frame = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        return self.model.encode(frame[None, None])[0, 0]

    def _measure(self, latents: Tensor) -> Tensor:
        """Latents [..., N, D] -> [..., M], the space in which energies are measured."""
        return self.model.metric(latents) if self.space == "metric" else latents.flatten(-2)

    def _energy_now(self, latents: Tensor) -> float:
        """Energy of the newest frame [N, D] as if it were the outcome of standing still."""
        current = self._measure(latents)[None, None]  # [1, 1, M]
        energy = float(self.energy(current, self._goal, current.new_zeros(1, 1, len(self.contract.actions))))
        if not np.isfinite(energy):
            raise PlanningError("the energy of the current frame is not a finite number", mend="check the checkpoint")
        return energy

    def _check_novelty(self, goal: Tensor) -> None:
        """A model gives every picture a place in its latent space, also one that it knows nothing about."""
        novelty = float(self.model.novelty(goal))
        if self.max_novelty is not None and not novelty <= self.max_novelty:
            raise NoveltyError(
                f"is unlike everything that the model was trained on (novelty {novelty:.1f})",
                where="goal picture",
                expected=f"at most {self.max_novelty:g}; training pictures have about 1",
                mend="take it with the camera, scene and light of the training data, or set planner.max_novelty=inf",
            )

    def _check_observation(self, observation: Observation) -> None:
        self._check_image(observation.image, PlanningError, "observed picture")
        state, dims = observation.state, self.contract.states
        if not isinstance(state, np.ndarray) or state.dtype != np.float32 or state.shape != (len(dims),):
            raise PlanningError(
                f"observed state is {_describe(state)}",
                expected=f"float32 [{len(dims)}]: {', '.join(f'{d.name} ({d.unit})' for d in dims)}",
            )
        if not np.isfinite(state).all():
            raise PlanningError(f"observed state is {state.tolist()}", expected="finite numbers")

    def _check_image(self, image: np.ndarray, error: type[GoalError] | type[PlanningError], what: str) -> None:
        camera = self.contract.camera
        shape = (camera.height, camera.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != shape:
            raise error(
                f"{what} is {_describe(image)}",
                expected=f"uint8 {list(shape)} RGB from camera {camera.name!r}",
                mend="take the picture with the camera that the model was trained on",
            )


def _describe(array: object) -> str:
    if isinstance(array, (np.ndarray, Tensor)):
        return f"{array.dtype} {list(array.shape)}"
    return type(array).__name__
