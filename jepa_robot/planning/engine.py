"""One search for plans, for E robots or starts at once: rollouts, energies, and the optimizer between them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.constraints import Constrained
from jepa_robot.planning.goal_latents import latent_shape
from jepa_robot.planning.pace import Pace
from jepa_robot.planning.protocols import Prediction, Target, WorldModel
from jepa_robot.planning.search import Search, SearchResult
from jepa_robot.runtime import autocast


@dataclass(frozen=True)
class Moment:
    """Where E plans start from.

    Attributes:
        latents: [E, T, N, D], the newest frames.
        states: [E, T, P], physical units.
        actions: [E, T - 1, A], executed between them.
        previous: [E, A], the actions executed last; zeros where there is none.
    """

    latents: Tensor
    states: Tensor
    actions: Tensor
    previous: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The tensors, to put several together."""
        return self.latents, self.states, self.actions, self.previous


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes:
        search: see `SearchResult`.
        expected: of the plans found, as candidates of which there is one (S = 1).
        terms: weighted parts of their energies, each [E, 1].
        violations: of constraints, each [E, 1].
        dropped: for each search, how many candidates had no finite energy, by the name of the term.
    """

    search: SearchResult
    expected: Prediction
    terms: dict[str, Tensor]
    violations: dict[str, Tensor]
    dropped: list[dict[str, int]]


class Engine:
    """What all planners of one model and configuration share.

    Args:
        model: predicts what the camera will see.
        search: over plans on the model's device.
        energy: what is searched for, and kept to.
        space: where energies are measured: ``metric``, the model's own metric space, or ``latent``, all
            patch latents of a frame, flattened.
        dtype: number format of the model: fp32, bf16 (autocast) or auto (bf16 where it is fast).

    Raises:
        ConfigError: an unknown space or dtype.
    """

    def __init__(self, model: WorldModel, search: Search, energy: Constrained, space: str, dtype: str = "fp32"):
        autocast(model.device, dtype)  # raises for an unknown dtype
        if space not in ("metric", "latent"):
            raise ConfigError(f"energy space is {space!r}", where="planner", expected="metric or latent")
        self.model, self.search, self.energy, self.space, self.dtype = model, search, energy, space, dtype
        self.contract, self.device = model.contract, model.device
        self.finishing = Pace()  # of what comes after a search, by the number of planners
        # Tensors of inference mode cannot be differentiated through later.
        self.mode = torch.no_grad if search.optimizer.uses_gradients else torch.inference_mode

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds; deadlines and latencies are measured on it."""
        return self.search.clock

    def encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """n pictures uint8 [height, width, 3] -> latents [n, N, D]."""
        frames = torch.from_numpy(np.stack(images)).to(self.device)
        with self.mode(), autocast(self.device, self.dtype):
            return self.model.encode(frames[:, None])[:, 0]

    def measure(self, latents: Tensor) -> Tensor:
        """Latents [..., N, D] -> [..., M], the space in which energies are measured."""
        with self.mode(), autocast(self.device, self.dtype):
            return self._measure(latents)

    @functools.cached_property
    def latent_shape(self) -> tuple[int, int]:
        """(N, D) of a frame's latents."""
        return latent_shape(self.model)

    def novelty(self, latents: Tensor) -> Tensor:
        """Latents [n, N, D] -> [n], see `WorldModel.novelty`."""
        with self.mode(), autocast(self.device, self.dtype):
            return self.model.novelty(latents)

    def energy_now(self, features: Tensor, moment: Moment, target: Target) -> Tensor:
        """Energies [E] of the newest frames, measured as [E, M], as if they were the outcome of standing still.

        What energies cost of actions alone is left out, and so is a user's that is no finite number without motion.

        Raises:
            PlanningError: one of the planner's own is not a finite number.
        """
        with self.mode(), autocast(self.device, self.dtype):
            latents, states = moment.latents[:, None, -1:], moment.states[:, None, -1:]
            still = moment.previous.new_zeros(len(latents), 1, 1, moment.previous.shape[-1])
            now = Prediction(features[:, None, None], latents, states, still, moment.previous)
            return self.energy.energy.standing(now, target)[:, 0].float()

    def run(
        self,
        moment: Moment,
        target: Target,
        generators: Sequence[torch.Generator],
        warm_start: Tensor | None = None,
        deadline: float | None = None,
    ) -> Outcome:
        """Search from here; ``warm_start`` [E, W, B, A], ``deadline`` on `clock`.

        Raises:
            PlanningError: no candidate has a finite energy.
        """
        self.energy.energy.reset()
        with self.mode(), autocast(self.device, self.dtype):
            context = self.model.context(moment.latents, moment.states, moment.actions)

            def predict(actions: Tensor) -> Prediction:
                latents = self.model.rollout(context, actions)
                states = self._states(moment.states[:, -1], actions)
                return Prediction(self._measure(latents), latents, states, actions, moment.previous)

            def objective(actions: Tensor) -> Tensor:
                return self.energy(predict(actions), target)

            try:
                found = self.search.run(objective, generators, warm_start, deadline, self._at_once(len(generators)))
            except PlanningError:
                self.energy.energy.require_finite()  # names the term
                raise
            dropped = self.energy.energy.dropped or [{} for _ in generators]
            expected = predict(found.actions[:, None])
            return Outcome(
                found, expected, self.energy.energy.values(expected, target), self.energy.violations(expected), dropped
            )

    def _at_once(self, searches: int) -> int:
        """Candidates of each search that are evaluated as one batch; 0: all."""
        candidates = self.model.candidates_at_once(self.search.optimizer.space.horizon)
        return max(1, candidates // searches) if candidates else 0

    def _measure(self, latents: Tensor) -> Tensor:
        return self.model.metric(latents) if self.space == "metric" else latents.flatten(-2)

    def _states(self, state: Tensor, actions: Tensor) -> Tensor:
        """States [E, P] and actions [E, S, H, A] -> states after each, [E, S, H, P]."""
        state, states = state[:, None].expand(-1, actions.shape[1], -1), []
        for action in actions.unbind(2):
            state = self.model.advance(state, action)
            states.append(state)
        return torch.stack(states, 2)
