"""Turns any Gymnasium MuJoCo environment into a goal-image task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from jepa_envs.adapters import attributes
from jepa_envs.adapters.demonstrators import EnvExpert, Wanderer
from jepa_envs.adapters.goals import GoalMaker, another_reset
from jepa_envs.adapters.simulation import EnvSimulation, model_fields
from jepa_envs.demonstrators import ColouredNoise, NoisyExpert
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import LEAST_MOVE, Demonstrator, NoGoalError, State
from jepa_envs.renderer import FreeCamera
from jepa_envs.task import Dim, MujocoGoalTask

_TRIES = 100  # starts drawn before giving up


class AdaptedTask(MujocoGoalTask):
    """A Gymnasium MuJoCo environment as a goal-image task.

    The functions that are given look at the environment (``env.unwrapped``, with ``model`` and ``data``) as it stands.
    A state holds MuJoCo's full state, the fields of the model that the environment changed, and its plain attributes;
    `jepa_envs.adapters.check_task` finds out whether that is all that its future depends on.

    There are demonstrators of kind ``explore`` and, with an expert, ``expert`` and ``noisy``.

    Args:
        env: the environment, as bare as possible: what wrappers remember is in no state.
        name: of the task; letters, digits and underscores.
        actions: what an action is; the bounds are stretched to those of the environment's own action.
        states: what the proprioception is.
        proprio: the environment -> proprioception [P].
        achieved: the environment -> what success is judged by, metres: the position of the gripper or of an object.
        success_distance: a state within this distance of the goal (of ``achieved``, metres) is a success.
        solved: the environment -> whether its own goal is reached; replaces ``success_distance``.
        goal_attributes: names of the environment's attributes that say where its own goal is.
        goal: how to make a goal; see `jepa_envs.adapters.goals`.
        expert: the environment -> its own action, that of someone who knows how to get to its own goal.
        object_position: the environment -> where its object is, metres [3], or its objects [3 times as many]; None
            where nothing is there to be moved.
        cameras: names of the model's cameras that may be drawn.
        free_cameras: cameras by name that the model does not have.
        hidden_sites: names of sites that are not drawn, such as a mark on the goal; ``"*"`` is all of them.
        fixed: index of a dimension of the environment's action -> its value; ``actions`` leaves it out.
        straight: success is a matter of ``proprio`` alone, and nothing is in the way.
        steps_per_action: the environment's steps in which an action is repeated.
        reset_env: starts an episode from a seed; ``env.reset(seed=seed)`` where None.
        render_mode, image_size, camera: as `jepa_envs.task.MujocoGoalTask`; the free cameras come first.

    Raises:
        ValueError: they do not fit together, or to the environment.
    """

    def __init__(
        self,
        env: gym.Env,
        *,
        name: str,
        actions: Sequence[Dim],
        states: Sequence[Dim],
        proprio: Callable[[Any], np.ndarray],
        achieved: Callable[[Any], np.ndarray],
        success_distance: float | None = None,
        solved: Callable[[Any], bool] | None = None,
        goal_attributes: Sequence[str] = (),
        goal: GoalMaker = another_reset,
        expert: Callable[[Any], np.ndarray] | None = None,
        object_position: Callable[[Any], np.ndarray] | None = None,
        cameras: Sequence[str] = (),
        free_cameras: Mapping[str, FreeCamera] | None = None,
        hidden_sites: Sequence[str] = (),
        fixed: Mapping[int, float] | None = None,
        straight: bool = False,
        steps_per_action: int = 1,
        reset_env: Callable[[gym.Env, int], object] | None = None,
        render_mode: str | None = None,
        image_size: int = 64,
        camera: str | None = None,
    ):
        if (success_distance is None) == (solved is None):
            raise ValueError(f"task {name}: expected success_distance or solved, one of them")
        if steps_per_action < 1:
            raise ValueError(f"task {name}: steps_per_action is {steps_per_action}, expected at least 1")
        self.env, self.name, self.straight = env, name, straight
        self._inner = env.unwrapped
        self._proprio_of, self._achieved_of, self._solved = proprio, achieved, solved
        self._object_of = object_position
        self.success_distance = np.inf if success_distance is None else float(success_distance)
        self._goal_attributes, self._make_goal, self._expert = tuple(goal_attributes), goal, expert
        self._steps_per_action = steps_per_action
        self._reset = reset_env or (lambda env, seed: env.reset(seed=seed))
        self.free_cameras = dict(free_cameras or {})
        self.cameras = (*self.free_cameras, *self._known(cameras, "camera", self._inner.model.ncam))
        own = {self._inner.model.camera(i).name for i in range(self._inner.model.ncam)}
        if twice := sorted(own & set(self.free_cameras)):
            raise ValueError(f"task {name}: the model has a camera {twice[0]!r} itself, expected another name")
        if not self.cameras:
            raise ValueError(f"task {name}: there is no camera, expected cameras or free_cameras")
        self._map_actions(env.action_space, actions, dict(fixed or {}))
        _draw_cheaply(self._inner.model)
        self._hide(hidden_sites)
        initial, model = attributes.read(self._inner), model_fields(self._inner.model)
        self._reset(env, 0)
        simulation = EnvSimulation(env, name, initial, model)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self._rate(simulation)}
        self._built = simulation, actions, states
        super().__init__(render_mode, image_size, camera)
        if (found := np.shape(self._proprio(simulation.data))) != (len(states),):
            raise ValueError(f"task {name}: proprio gives shape {found}, expected ({len(states)},), one for each state")
        if object_position is not None and ((found := np.size(object_position(self._inner))) == 0 or found % 3):
            raise ValueError(f"task {name}: object_position gives {found} numbers, expected 3 for each object")

    def close(self) -> None:
        super().close()
        self.env.close()

    def is_success(self, state: State, goal_state: State) -> bool:
        """Whether a state fulfils a goal: within ``success_distance`` of it, or the environment's own verdict."""
        if self._solved is None:
            return super().is_success(state, goal_state)
        with self._simulation.looking_at(self._towards(state, goal_state)):
            return bool(self._solved(self._inner))

    def object_moved(self, before: State, after: State) -> bool | None:
        """Whether an object moved by more than a millimetre; None where there is none."""
        if self._object_of is None:
            return None
        way = (self._objects_at(after) - self._objects_at(before)).reshape(-1, 3)
        return bool(np.linalg.norm(way, axis=1).max() > LEAST_MOVE)

    def object_pose(self, state: State) -> list[tuple[str, str, float]]:
        """Where its objects are, metres; of several, they are numbered from 1."""
        if self._object_of is None:
            return []
        places = self._objects_at(state).reshape(-1, 3)
        names = ["object"] if len(places) == 1 else [f"object{i}" for i in range(1, len(places) + 1)]
        return [
            (f"{name}_{axis}", "m", float(value))
            for name, place in zip(names, places)
            for axis, value in zip("xyz", place)
        ]

    # -- for goal makers ------------------------------------------------------------------------------------------

    def reset_env(self, seed: int) -> None:
        """Start an episode of the environment, which follows from the seed alone."""
        self._simulation.forget()
        self._reset(self.env, seed)
        self._simulation.settle()

    def act_as_expert(self) -> None:
        """One control period of the expert, which chooses anew in each of the environment's steps.

        Raises:
            ValueError: there is no expert.
        """
        self._follow_expert(self._steps_per_action)
        self._simulation.settle()

    # -- what the base asks for -----------------------------------------------------------------------------------

    def _build(self, variation: str | Sequence[str]) -> tuple[EnvSimulation, Sequence[Dim], Sequence[Dim]]:
        return self._built

    def _begin(self, start: State, goal_state: State) -> None:
        super()._begin(start, goal_state)
        self._simulation.restore(self._towards(start, goal_state))

    def _act(self, action: np.ndarray) -> None:
        share = np.clip((action - self._low) / (self._high - self._low), 0.0, 1.0)
        command = self._command.copy()
        command[self._free] = self._env_low + share * (self._env_high - self._env_low)
        for _ in range(self._steps_per_action):
            self.env.step(command)
        self._simulation.settle()

    def _proprio_space(self) -> gym.spaces.Box:
        return gym.spaces.Box(-np.inf, np.inf, (len(self._states),), np.float32)

    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        return np.asarray(self._proprio_of(self._inner), float)

    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        return np.array(self._achieved_of(self._inner), float)

    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        return float(np.linalg.norm(judged - goal))

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        return info if self._solved is None else info | {"success": bool(self._solved(self._inner))}

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        made = 0
        for _ in range(_TRIES):
            self.reset_env(int(rng.integers(2**31)))
            start = self.state()
            if self._make_goal(self, rng):
                made += 1
                self._simulation.settle()
                goal = self.state()
                if not self.is_success(start, goal):
                    return self._towards(start, goal), goal
        raise NoGoalError(
            f"task {self.name}: no goal away from its start in {_TRIES} tries: in {_TRIES - made} none was made, and "
            f"{made} were reached at the start, expected another goal, success_distance or solved"
        )

    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        low, high = self._low, self._high
        expert = None if self._expert is None else EnvExpert(self._expert_in)

        def noisy(rng: np.random.Generator) -> Demonstrator:
            return NoisyExpert(expert, ColouredNoise(rng, 0.2 * (high - low), correlation=0.7), low, high)

        explore = {"explore": lambda rng: Wanderer(rng, low, high, expert)}
        return explore if expert is None else {"expert": lambda rng: expert, "noisy": noisy} | explore

    # -- own ------------------------------------------------------------------------------------------------------

    def _require_possible(self, data: mujoco.MjData) -> None:
        """Other packages' models overlap, and go beyond their joints' ranges, as they are."""

    def _object_places(self, state: State) -> np.ndarray:
        return np.empty((0, 3)) if self._object_of is None else self._objects_at(state).reshape(-1, 3)

    def _objects_at(self, state: State) -> np.ndarray:
        """Where the objects are in a state: x, y, z of each."""
        with self._simulation.looking_at(state):
            return np.array(self._object_of(self._inner), float).ravel()

    def _expert_in(self, state: State, goal_state: State) -> np.ndarray:
        """The expert's action float32 [A] in a state, towards the goal that the environment has in the goal state.

        It is the mean of what the expert does in the environment's steps that the action stands for: repeating its
        first choice would overshoot.
        """
        with self._simulation.looking_at(self._towards(state, goal_state)):
            command = np.mean(self._follow_expert(self._steps_per_action), axis=0)
        share = (command - self._env_low) / (self._env_high - self._env_low)
        return (self._low + share * (self._high - self._low)).astype(np.float32)

    def _follow_expert(self, steps: int) -> list[np.ndarray]:
        """Step the environment; returns the expert's commands [A] inside the environment's bounds."""
        if self._expert is None:
            raise ValueError(f"task {self.name} has no expert, expected one")
        commands = []
        for _ in range(steps):
            command = self._command.copy()
            wanted = np.asarray(self._expert(self._inner), float)[self._free]
            command[self._free] = np.clip(wanted, self._env_low, self._env_high)
            self.env.step(command)
            commands.append(command[self._free].astype(float))
        return commands

    def _towards(self, state: State, goal_state: State) -> State:
        """A state in which the environment's own goal is that of another state."""
        return self._simulation.with_attributes_of(state, goal_state, self._goal_attributes)

    def _map_actions(self, space: gym.Space, actions: Sequence[Dim], fixed: dict[int, float]) -> None:
        if not isinstance(space, gym.spaces.Box) or space.low.ndim != 1 or not space.is_bounded():
            raise ValueError(f"task {self.name}: the environment's actions are {space}, expected a bounded vector")
        self._free = [i for i in range(len(space.low)) if i not in fixed]
        if len(self._free) != len(actions):
            raise ValueError(f"task {self.name}: {len(actions)} actions, expected {len(self._free)} for its env")
        self._command = np.zeros(len(space.low), space.dtype)
        for index, value in fixed.items():
            self._command[index] = value
        self._env_low, self._env_high = (bound.astype(float)[self._free] for bound in (space.low, space.high))
        self._low = np.array([dim.low for dim in actions], float)
        self._high = np.array([dim.high for dim in actions], float)

    def _rate(self, simulation: EnvSimulation) -> float:
        """Control periods a second, from the time that one takes in the simulation; restores what it finds."""
        present = simulation.state()
        before = simulation.data.time
        for _ in range(self._steps_per_action):
            self.env.step(self._command)
        period = simulation.data.time - before
        simulation.restore(present)
        if not period > 0:
            raise ValueError(f"task {self.name}: a step takes {period} s of the simulation, expected more")
        return round(1 / period, 6)

    def _known(self, names: Sequence[str], kind: str, count: int) -> tuple[str, ...]:
        known = [getattr(self._inner.model, kind)(i).name for i in range(count)]
        for name in names:
            if name not in known:
                raise ValueError(f"task {self.name}: the model has no {kind} {name!r}, expected of {', '.join(known)}")
        return tuple(names)

    def _hide(self, sites: Sequence[str]) -> None:
        model = self._inner.model
        if "*" in sites:
            model.site_rgba[:, 3] = 0.0
            return
        for name in self._known(sites, "site", model.nsite):
            model.site(name).rgba[3] = 0.0


def _draw_cheaply(model: mujoco.MjModel) -> None:
    """No multisampling and no shadow maps: with software OpenGL they take most of the time."""
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0
