"""Receding-horizon planning towards goal pictures, from pictures and proprioception only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_robot.errors import ConfigError, GoalError, PlanningError
from jepa_robot.planning.arrival import ArrivalRule
from jepa_robot.planning.checks import check_image, check_observation
from jepa_robot.planning.engine import Engine, Moment, Outcome
from jepa_robot.planning.goals import Goal, SubgoalSequence
from jepa_robot.planning.health import (
    Expectation,
    Health,
    Limits,
    ModelError,
    Surprise,
    on_bound,
    spread_of_range,
    warnings,
)
from jepa_robot.planning.memory import Memory
from jepa_robot.planning.protocols import Target
from jepa_robot.planning.targets import targets_of
from jepa_robot.planning.types import Diagnostics, Observation, Plan


class Planner:
    """Turns goal pictures and observations into actions: one run of one robot.

    Usage: ``reset(goal)``, then ``action = act(observation)`` in any loop until ``arrived``.

    Args:
        engine: searches; several planners can share one, see `plan_together`.
        arrival: decides from the energies whether a goal is reached.
        context_frames: number of past frames, the newest included, that the model is given.
        execute: steps of a plan that `act` executes before it makes the next one.
        seed: for `reset` calls that name none.
        max_novelty: refuse goals that are less like the training data than this, see `WorldModel.novelty`; None: never.
        deadline_ms: time for a plan, where `plan` is given no deadline; 0: no limit.
    """

    def __init__(
        self,
        engine: Engine,
        arrival: ArrivalRule,
        context_frames: int = 1,
        execute: int = 1,
        seed: int = 0,
        max_novelty: float | None = None,
        deadline_ms: float = 0.0,
    ):
        horizon = engine.search.optimizer.space.horizon
        if max_novelty is not None and not max_novelty > 0:
            raise ConfigError(f"max_novelty is {max_novelty:g}", where="planner", expected="above 0; inf takes any")
        if not 1 <= execute <= horizon:
            raise ConfigError(f"execute is {execute}", where="planner", expected=f"1 to horizon ({horizon})")
        if not 0 <= deadline_ms < float("inf"):
            raise ConfigError(f"deadline_ms is {deadline_ms:g}", where="planner", expected="above 0, or 0: no limit")
        self.engine, self.arrival, self.execute = engine, arrival, execute
        self.contract, self.seed, self.max_novelty, self.deadline_ms = engine.contract, seed, max_novelty, deadline_ms
        self.limits = Limits() if engine.space == "metric" else Limits(near=float("inf"))
        self.arrived = False
        self._memory = Memory(context_frames)
        self._error = ModelError(1.0 if engine.space == "metric" else 0.0)
        self._generator = torch.Generator(engine.device)
        self._subgoals: SubgoalSequence | None = None
        self._targets: list[Target] = []
        self._carried: Tensor | None = None  # [1, W, B, A], what the newest search found ...
        self._since = 0  # ... so many actions ago
        self._previous: Tensor | None = None  # [A], executed last
        self._now: Tensor | None = None  # [M], the newest frame
        self._expected: Tensor | None = None  # [H, M], the newest plan's frames
        self._plan: Plan | None = None
        self._age = 0  # actions executed since
        self._moved = True  # since the newest frame

    def reset(self, goal: np.ndarray | Tensor | Goal, seed: int | None = None) -> None:
        """Begin a run towards ``goal``: a uint8 [height, width, 3] RGB picture, its latents [N, D], or a `Goal`.

        Raises:
            GoalError: a picture is not what the contract's camera delivers, or latents are not the model's.
            NoveltyError: it shows nothing like what the model was trained on.
        """
        goal = goal if isinstance(goal, Goal) else Goal.of(goal)
        targets = targets_of(goal, self.engine, self.max_novelty)
        self._subgoals, self._targets = SubgoalSequence(goal), targets
        self._generator.manual_seed(self.seed if seed is None else seed)
        self._carried = self._previous = self._now = self._expected = self._plan = None
        self._age, self._since, self._moved = 0, 0, True
        self._memory.clear()
        self._error.reset()
        self.arrival.reset()
        self.arrived = False

    def novelty(self, goal: np.ndarray) -> float:
        """How unlike the training data a picture uint8 [height, width, 3] is; `reset` refuses more than `max_novelty`.

        Raises:
            GoalError: the picture is not what the contract's camera delivers.
        """
        check_image(self.contract, goal, GoalError, "goal picture")
        return float(self.engine.novelty(self.engine.encode([goal])))

    def plan(self, observation: Observation, deadline: float | None = None) -> Plan:
        """Search actions [H, A] from here, and update `arrived`.

        Args:
            deadline: on the engine's `clock`; the best plan found by then is returned, and where there was time for
                none, the last one's rest. None: ``deadline_ms`` from now.

        Raises:
            PlanningError: `reset` was not called, the observation does not fit the contract, or no
                candidate has a finite energy.
        """
        return plan_together([self], [observation], deadline)[0]

    def follow(self, observation: Observation, deadline: float | None = None) -> Plan:
        """The plan to follow now: a new one every ``execute`` steps and for a new sub-goal, else the last one's rest.

        Raises:
            PlanningError: see `plan`.
        """
        begun = self.engine.clock()
        (noticed,) = _notice([self], [observation])
        rest = self._plan  # none where the sub-goal has just changed
        if rest is None or self._age >= self.execute:
            return _search([self], [observation], [noticed], begun, deadline)[0]
        health = dataclasses.replace(
            rest.diagnostics.health, energy_now=noticed.energy, novelty=noticed.novelty, surprise=noticed.surprise
        )
        diagnostics = dataclasses.replace(
            rest.diagnostics,
            health=health,
            warnings=tuple(warnings(health, self.limits, searched=False)),
            stopped="followed",
            latency_s=self.engine.clock() - begun,
        )
        return dataclasses.replace(
            rest, actions=rest.actions[self._age :], times=rest.times[self._age :], diagnostics=diagnostics
        )

    def executed(self, action: np.ndarray) -> None:
        """Tell that ``action`` [A] was executed after the newest observation; the next plan starts there."""
        self._previous = torch.as_tensor(action, dtype=torch.float32, device=self.engine.device).clone()
        self._memory.act(self._previous)
        plan, age = self._plan, self._age
        if plan is not None and age < len(plan.actions) and np.allclose(action, plan.actions[age]):
            self._error.expect(Expectation(self._now, self._expected[age], plan.energy))
        self._age, self._since, self._moved = self._age + 1, self._since + 1, True
        if self._subgoals is not None:
            self._subgoals.acted()

    def act(self, observation: Observation, deadline: float | None = None) -> np.ndarray:
        """`follow`, and commit to the first action: float32 [A], physical units, inside the bounds."""
        action = self.follow(observation, deadline).actions[0].copy()
        self.executed(action)
        return action

    @property
    def warm_start(self) -> Tensor:
        """Plans [1, W, B, A] to begin the next search with: those of the last one as they look now, or to stay.

        To stay is 0 where that moves nothing, else the last action again, or the middle of what is possible.
        """
        space = self.engine.search.optimizer.space
        if self._carried is not None:
            return space.shift(self._carried, self._since)
        stay = (space.low + space.high) / 2 if self._previous is None else self._previous
        stay = torch.where(torch.tensor(self.contract.rests_at_zero(), device=stay.device), 0, stay)
        return space.project(stay.repeat(1, 1, space.blocks, 1))

    @property
    def target(self) -> Target:
        """The current sub-goal's."""
        return self._targets[self._subgoals.index]

    def _observe(self, observation: Observation, latents: Tensor, novelty: float) -> _Noticed:
        """Take a frame with latents [N, D]: where the run is, and what to plan from."""
        self._memory.observe(latents, torch.tensor(observation.state, device=self.engine.device))  # a copy
        past, states, actions = self._memory.tensors(len(self.contract.actions))
        previous = states.new_zeros(len(self.contract.actions)) if self._previous is None else self._previous
        moment = Moment(past, states, actions, previous[None])
        before, self._now = self._now, self.engine.measure(latents)
        step = self._moved or not torch.equal(before, self._now)
        self._moved = False
        energy = float(self.engine.energy_now(self._now[None], moment, self.target))
        surprise = self._error.observe(self._now, energy)
        arrived = self.arrival.update(energy, step)
        while self._subgoals.update(arrived):
            self._plan = self._carried = None  # they go elsewhere
            self.arrival.reset()
            energy = float(self.engine.energy_now(self._now[None], moment, self.target))
            arrived = self.arrival.update(energy)
        self.arrived = arrived and self._subgoals.last
        return _Noticed(moment, energy, novelty, surprise)

    def _take(self, noticed: _Noticed, observation: Observation, outcome: Outcome, e: int, latency: float) -> Plan:
        """The plan out of search ``e``."""
        found, space = outcome.search, self.engine.search.optimizer.space
        terms = {name: float(values[e]) for name, values in outcome.terms.items()}
        energy = sum(terms.values())
        health = Health(
            energy_now=noticed.energy,
            energy_predicted=energy,
            novelty=noticed.novelty,
            spread=spread_of_range(found.spread[e], space),
            on_bound=on_bound(found.plans[e, 0], space),
            evaluated=found.evaluated,
            dropped=outcome.dropped[e],
            violations={name: float(v[e]) for name, v in outcome.violations.items() if float(v[e]) > 0},
            surprise=noticed.surprise,
        )
        actions = found.actions[e].cpu().numpy().astype(np.float32)
        period = self.contract.action_repeat / self.contract.fps
        plan = Plan(
            actions=np.clip(actions, self.contract.action_low, self.contract.action_high),  # after rounding
            times=observation.time + period * np.arange(len(actions), dtype=np.float64),
            energy=energy,
            diagnostics=Diagnostics(
                health=health,
                warnings=tuple(warnings(health, self.limits)),
                energy_history=tuple(float(energies[e]) for energies in found.history),
                terms=terms,
                stopped=found.stopped,
                latency_s=latency,
                subgoal=self._subgoals.index,
            ),
        )
        if found.evaluated:
            self._carried, self._since = found.carried[e : e + 1], 0
        self._expected, self._plan, self._age = outcome.expected.features[e, 0], plan, 0
        return plan


@dataclass(frozen=True)
class _Noticed:
    """What a planner makes of a frame."""

    moment: Moment
    energy: float
    novelty: float
    surprise: Surprise | None


def plan_together(
    planners: Sequence[Planner], observations: Sequence[Observation], deadline: float | None = None
) -> list[Plan]:
    """`Planner.plan` of several planners with one engine, as one batch: what each finds is what it finds alone.

    Those with as many past frames, goals and plans to begin with are one batch; several such share the time.

    Raises:
        PlanningError: see `Planner.plan`; or planners of different engines.
    """
    engine = planners[0].engine
    if any(planner.engine is not engine for planner in planners) or len(planners) != len(observations):
        raise PlanningError("planners do not belong together", expected="one engine, and an observation for each")
    begun = engine.clock()
    return _search(planners, observations, _notice(planners, observations), begun, deadline)


def _search(
    planners: Sequence[Planner],
    observations: Sequence[Observation],
    noticed: Sequence[_Noticed],
    begun: float,
    deadline: float | None,
) -> list[Plan]:
    """A plan of each from what it noticed."""
    engine = planners[0].engine
    if deadline is None and planners[0].deadline_ms:
        deadline = begun + planners[0].deadline_ms / 1000
    elif deadline is not None and not deadline < math.inf:
        if math.isnan(deadline):
            raise PlanningError("the deadline is NaN", expected="seconds on the engine's clock, or None")
        deadline = None
    warm_starts = [planner.warm_start for planner in planners]
    groups: dict[object, list[int]] = {}
    for i, planner in enumerate(planners):
        target = planner.target
        shapes = (noticed[i].moment.latents.shape, target.features.shape, target.state is None, warm_starts[i].shape)
        groups.setdefault(shapes, []).append(i)
    plans: dict[int, Plan] = {}
    for number, members in enumerate(groups.values()):
        due = None
        if deadline is not None:
            now = engine.clock()
            due = now + (deadline - now) / (len(groups) - number) - engine.finishing.budget(len(members))
        outcome = engine.run(
            Moment(*(torch.cat(parts) for parts in zip(*(noticed[i].moment.parts for i in members)))),
            _stacked([planners[i].target for i in members]),
            [planners[i]._generator for i in members],
            torch.cat([warm_starts[i] for i in members]),
            due,
        )
        for e, i in enumerate(members):
            plans[i] = planners[i]._take(noticed[i], observations[i], outcome, e, engine.clock() - begun)
        engine.finishing.learn(len(members), engine.clock() - outcome.search.ended)
    return [plans[i] for i in range(len(planners))]


def _stacked(targets: Sequence[Target]) -> Target:
    state = None if targets[0].state is None else torch.cat([target.state for target in targets])
    return Target(torch.cat([target.features for target in targets]), state)


def _notice(planners: Sequence[Planner], observations: Sequence[Observation]) -> list[_Noticed]:
    """What each planner makes of its frame; all frames are encoded as one batch."""
    for planner, observation in zip(planners, observations):
        if planner._subgoals is None:
            raise PlanningError("the planner has no goal", mend="call reset(goal) first")
        check_observation(planner.contract, observation)
    engine = planners[0].engine
    latents = engine.encode([observation.image for observation in observations])
    novelty = engine.novelty(latents).tolist()
    return [p._observe(o, one, n) for p, o, one, n in zip(planners, observations, latents, novelty)]
