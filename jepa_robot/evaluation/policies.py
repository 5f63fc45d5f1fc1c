"""The planner, and the two baselines between which it has to be seen."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from jepa_robot.errors import GoalError
from jepa_robot.evaluation.episodes import Decision, Goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.planning.arrival import ArrivalRule
from jepa_robot.planning.build import build_search, build_space
from jepa_robot.planning.energy import LatentDistance
from jepa_robot.planning.goals import Goal as Aim
from jepa_robot.planning.planner import Planner
from jepa_robot.planning.protocols import Prediction, Target
from jepa_robot.planning.settings import PlannerSettings
from jepa_robot.planning.types import Observation
from jepa_robot.spec import Contract


class PlannerPolicy:
    """A planner; it is given the goal's pictures and nothing else.

    Args:
        aim: what it is given instead of the pictures: others, or latents.
        subgoal_steps: actions after which it goes on to the next picture, arrived or not; None: not before arrival.
    """

    def __init__(self, planner: Planner, aim: Aim | None = None, subgoal_steps: int | None = None):
        self.planner, self.aim, self.subgoal_steps = planner, aim, subgoal_steps

    def reset(self, task: Task, goal: Goal, seed: int) -> None:
        steps = [self.subgoal_steps] * len(goal.way) + [None]
        aim = Aim.sequence([*goal.way, goal.image], steps) if self.aim is None else self.aim
        self.planner.reset(aim, seed=seed)

    def decide(self, observation: Observation) -> Decision:
        plan = self.planner.follow(observation)
        self.planner.executed(plan.actions[0])
        diagnostics = plan.diagnostics
        return Decision(
            plan.actions[0],
            self.planner.arrived,
            diagnostics.health.energy_now,
            plan.energy,
            diagnostics.latency_s,
            diagnostics.warnings,
        )


class RandomPolicy:
    """Actions drawn evenly from the bounds; it never stops. The floor."""

    def reset(self, task: Task, goal: Goal, seed: int) -> None:
        self._low, self._high = task.contract.action_low, task.contract.action_high
        self._rng = np.random.default_rng([seed, 1])  # another stream than start and goal

    def decide(self, observation: Observation) -> Decision:
        return Decision(self._rng.uniform(self._low, self._high).astype(np.float32))


class ExpertPolicy:
    """The task's scripted expert, which looks at states; it never stops."""

    def reset(self, task: Task, goal: Goal, seed: int) -> None:
        if goal.state is None:
            raise GoalError("holds no true state", where="goal picture", mend="draw one with: jepa-robot goal")
        self._env, self._goal = task.env, goal.state
        self._expert = task.env.make_demonstrator("expert", np.random.default_rng([seed, 2]))

    def decide(self, observation: Observation) -> Decision:
        begun = time.perf_counter()
        action = self._expert.act(self._env.state(), self._goal)
        return Decision(action, latency_s=time.perf_counter() - begun)


class TrueStatePolicy:
    """The same optimizer and arrival rule on the true state instead of pictures. The ceiling.

    Only the rule's tolerance is left out: it is in the units of the model's energy.

    The state s [P] moves as the contract says, s' = clip(s + a M) with the integration matrix M [A, P],
    and the energy is the squared distance to the goal's state over the dimensions measured in metres.
    """

    def __init__(self, contract: Contract, settings: PlannerSettings):
        self.search = build_search(build_space(contract, settings), settings)
        self.arrival = ArrivalRule(
            settings.arrival.patience, settings.arrival.min_improvement, settings.arrival.slack
        )
        self.distance = LatentDistance("l2", settings.energy.steps, settings.energy.discount)
        self.matrix = torch.from_numpy(contract.integration_matrix())
        self.low, self.high = torch.from_numpy(contract.state_low), torch.from_numpy(contract.state_high)
        self.metres = torch.tensor([d.unit == "m" for d in contract.states])
        self._generator = torch.Generator()

    def reset(self, task: Task, goal: Goal, seed: int) -> None:
        if goal.state is None:
            raise GoalError("holds no true state", where="goal picture", mend="draw one with: jepa-robot goal")
        wanted = torch.from_numpy(task.proprioception(goal.state))[self.metres]
        self._target = Target(wanted[None, None])
        self._generator.manual_seed(seed)
        self._warm_start: Tensor | None = None
        self.arrival.reset()

    def decide(self, observation: Observation) -> Decision:
        begun = time.perf_counter()
        state = torch.from_numpy(observation.state)[None]
        actions = torch.zeros(1, 1, 1, self.matrix.shape[0])
        now = float(self.distance(self._predict(state[:, None, None], actions), self._target))
        found = self.search.run(
            lambda candidates: self.distance(self._rollout(state, candidates), self._target),
            [self._generator],
            self._warm_start,
        )
        self._warm_start = self.search.optimizer.space.shift(found.carried, 1)
        action = found.actions[0, 0].numpy()
        return Decision(action, self.arrival.update(now), now, float(found.energy), time.perf_counter() - begun)

    def _rollout(self, state: Tensor, actions: Tensor) -> Prediction:
        """State [1, P] and candidates [1, S, H, A] -> what becomes of them."""
        states, state = [], state[:, None].expand(-1, actions.shape[1], -1)
        for action in actions.unbind(2):
            state = torch.clamp(state + action @ self.matrix, self.low, self.high)
            states.append(state)
        return self._predict(torch.stack(states, 2), actions)

    def _predict(self, states: Tensor, actions: Tensor) -> Prediction:
        """States [1, S, H, P]: their positions are the frames that energies compare."""
        positions = states[..., self.metres]
        return Prediction(positions, positions[..., None, :], states, actions, actions[:, 0, 0])


def ceiling(task: Task, settings: PlannerSettings) -> ExpertPolicy | TrueStatePolicy | None:
    """What the planner is compared with from above; None for a task without an expert.

    The planner's optimizer on the true state, where all that matters is in it, and the scripted expert elsewhere.
    """
    if task.straight:
        return TrueStatePolicy(task.contract, settings)
    return ExpertPolicy() if "expert" in task.env.demonstrator_kinds() else None
