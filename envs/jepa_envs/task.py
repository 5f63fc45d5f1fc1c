"""What every goal-image task in MuJoCo has in common."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from jepa_envs.dim import Dim, bounds
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import Demonstrator, State
from jepa_envs.plausibility import falling, out_of_reach, require_possible
from jepa_envs.renderer import FreeCamera, Renderer
from jepa_envs.simulation import Simulation
from jepa_envs.variation import Appearance, Variation, parse
from jepa_envs.viewer import Viewer


class MujocoGoalTask(gym.Env[dict[str, np.ndarray], np.ndarray], abc.ABC):
    """Base of the tasks: spaces, episodes, states, pictures and appearances.

    A task is a subclass that sets ``name``, ``cameras``, ``success_distance`` and ``metadata`` (with ``render_fps``,
    the steps a second) and implements the methods at the end of this class. Cameras that its model does not have are in
    ``free_cameras``.

    Observation: one camera's picture under its name, uint8 [image_size, image_size, 3] RGB, and ``proprio``,
    float32 [P]. Action: float32 [A]; what is beyond the bounds is clipped. Reward: 1 where the goal is met, else 0.
    Episodes only end by their time limit: whoever plans decides when it has arrived. ``info`` has ``success`` and
    ``distance_m``.

    Args:
        render_mode: None or ``"rgb_array"`` (`render` returns the camera's picture).
        image_size: height and width of the pictures in pixels.
        camera: name of the camera of the observation and of goal pictures; the first of ``cameras`` where None.
        variation: factors of appearance drawn at each reset, ``"all"`` or some of `jepa_envs.variation.KINDS`.
    """

    name: ClassVar[str]
    cameras: ClassVar[tuple[str, ...]]
    success_distance: ClassVar[float]
    straight: bool = False
    """Whether success is a matter of the proprioception alone, and nothing is in the way of any straight path of it."""
    metadata: ClassVar[dict[str, Any]]
    free_cameras: Mapping[str, FreeCamera] = {}

    def __init__(
        self,
        render_mode: str | None = None,
        image_size: int = 64,
        camera: str | None = None,
        variation: str | Sequence[str] = (),
    ):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}, expected None or 'rgb_array'")
        if not 16 <= image_size <= 2048:
            raise ValueError(f"image_size is {image_size}, expected 16 to 2048 pixels")
        if camera not in (None, *self.cameras):
            raise ValueError(f"camera {camera!r} is unknown, expected one of {', '.join(self.cameras)}")
        self.render_mode = render_mode
        self.image_size = int(image_size)
        self.camera = camera or self.cameras[0]
        self._simulation, actions, states = self._build(variation)
        self._actions, self._states = tuple(actions), tuple(states)
        model = self._simulation.model
        self._renderer = Renderer(model, self.camera, self.image_size, self.free_cameras)
        kinds = parse(variation)
        self._variation = Variation(model, kinds) if kinds else None
        self._appearance: Appearance | None = None
        self.action_space = gym.spaces.Box(*bounds(self._actions))
        self.observation_space = gym.spaces.Dict(
            {
                self.camera: gym.spaces.Box(0, 255, (self.image_size, self.image_size, 3), np.uint8),
                "proprio": self._proprio_space(),
            }
        )
        self._goal = self._judged(self._simulation.data)

    # -- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode at a drawn start with a drawn goal.

        Options ``state`` and ``goal_state`` (from `state` or `sample_start_and_goal`) replace either.

        Raises:
            ValueError: an unknown option, or a state that is not one of this environment.
        """
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - {"state", "goal_state"}
        if unknown:
            raise ValueError(f"reset option {sorted(unknown)[0]!r} is unknown, expected 'state' and 'goal_state'")
        if len(options) < 2:
            start, goal = self.sample_start_and_goal(self.np_random)
            options = {"state": start, "goal_state": goal} | options
        judged = self._judged_at(options["goal_state"])
        self._begin(options["state"], options["goal_state"])
        self._goal = judged
        return self.observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control period.

        Raises:
            ValueError: the action has the wrong shape or is not finite.
        """
        action = np.asarray(action, np.float32)
        if action.shape != self.action_space.shape:
            raise ValueError(f"action has shape {action.shape}, expected {self.action_space.shape}")
        if not np.all(np.isfinite(action)):
            raise ValueError(f"action is {action.tolist()}, expected finite numbers")
        self._act(np.clip(action, self.action_space.low, self.action_space.high).astype(float))
        info = self._info()
        return self.observe(), float(info["success"]), False, False, info

    def render(self) -> np.ndarray | None:
        """The camera's picture uint8 [H, W, 3], or None without a render mode."""
        return self._renderer.render(self._simulation.data) if self.render_mode else None

    def close(self) -> None:
        self._renderer.close()

    def open_viewer(self, on_key: Callable[[str], object]) -> Viewer:
        """MuJoCo's own window on the simulation, at first from this task's camera; see `jepa_envs.viewer.Viewer`.

        Raises:
            RuntimeError: no window can be opened here.
        """
        return Viewer(self._simulation.model, self._simulation.data, self._renderer.view(self.camera), on_key)

    def warnings(self) -> dict[str, int]:
        """MuJoCo's warnings, by kind, since the last `reset` or `restore`."""
        return self._simulation.warnings()

    # -- GoalImageTask --------------------------------------------------------------------------------------------

    def contract(self) -> dict[str, Any]:
        """See `jepa_envs.goal_image.GoalImageTask`; the schema is that of ``jepa_robot.spec.Contract.to_dict``."""
        camera = {"name": self.camera, "height": self.image_size, "width": self.image_size}
        return {
            "task": self.name,
            "cameras": [camera | {"crop": None, "mean": None, "std": None}],
            "fps": float(self.metadata["render_fps"]),
            "actions": [dim.to_dict() for dim in self._actions],
            "states": [dim.to_dict() for dim in self._states],
            "action_repeat": 1,
            "format": "jepa_robot.contract/1",
        }

    def observe(self) -> dict[str, np.ndarray]:
        """The present observation."""
        data = self._simulation.data
        return {self.camera: self._renderer.render(data), "proprio": self._proprio(data).astype(np.float32)}

    def views(self) -> dict[str, np.ndarray]:
        """Every camera's picture uint8 [H, W, 3] of the present state, by name."""
        return {name: self._renderer.render(self._simulation.data, name) for name in self.cameras}

    def state(self) -> State:
        """The full present state, with its appearance where that varies."""
        state = self._simulation.state()
        return state if self._appearance is None else state | {"appearance": self._appearance}

    def restore(self, state: State) -> None:
        """Go to a state, exactly.

        Raises:
            ValueError: the state is not one of this environment.
        """
        before = self._appearance
        self._show(state)
        try:
            self._simulation.restore(state)
        except ValueError:
            self._wear(before)
            raise

    def sample_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Draw a start and a goal of one appearance, both standing still; the simulation is left as it was."""
        present = self.state()
        start, goal = self._draw_start_and_goal(rng)
        self.restore(present)
        if self._variation is not None:
            appearance = {"appearance": self._variation.draw(rng)}
            start, goal = start | appearance, goal | appearance
        return start, goal

    def render_goal(self, state: State) -> np.ndarray:
        """The camera's picture uint8 [H, W, 3] of a state in its appearance; the simulation is left as it was."""
        before = self._appearance
        self._show(state)
        try:
            with self._simulation.looking_at(state) as data:
                return self._renderer.render(data)
        finally:
            self._wear(before)

    def distance(self, state: State, goal_state: State) -> float:
        """How far a state is from a goal, metres."""
        return float(self._distance(self._judged_at(state), self._judged_at(goal_state)))

    def is_success(self, state: State, goal_state: State) -> bool:
        """Whether a state fulfils a goal; see the task."""
        return bool(self._meets(self._judged_at(state), self._judged_at(goal_state)))

    def object_moved(self, before: State, after: State) -> bool | None:
        """Whether the task's object moved between two states; None where there is none."""
        return None

    def object_pose(self, state: State) -> list[tuple[str, str, float]]:
        """Name, unit and value of every coordinate of the task's objects in a state; none where there is no object."""
        return []

    def goal_doubts(self, state: State) -> tuple[str, ...]:
        """What speaks against a state as a goal, a line each: what falls does not stay, what is far is not reached.

        Raises:
            ValueError: it is not a state of this task, or none that can be: bodies are inside each other.
        """
        with self._simulation.looking_at(state) as data:
            mujoco.mj_fwdPosition(self._simulation.model, data)
            self._require_possible(data)
            doubts = tuple(falling(self._simulation.model, data))
        return (*doubts, *out_of_reach(self._object_places(state), self._states))

    def demonstrator_kinds(self) -> tuple[str, ...]:
        """Kinds of demonstrators that `make_demonstrator` knows."""
        return tuple(self._demonstrators())

    def make_demonstrator(self, kind: str, rng: np.random.Generator) -> Demonstrator:
        """A new demonstrator, for one episode.

        Raises:
            ValueError: the kind is unknown; names the known ones.
        """
        makers = self._demonstrators()
        if kind not in makers:
            raise ValueError(f"demonstrator {kind!r} is unknown, expected one of {', '.join(makers)}")
        return makers[kind](rng)

    # -- appearance -----------------------------------------------------------------------------------------------

    def _show(self, state: State) -> None:
        """Give the scene the appearance of a state."""
        self._simulation.check_task(state)
        appearance = state.get("appearance") if isinstance(state, dict) else None
        if appearance is not None and self._variation is None:
            raise ValueError(f"the state's appearance varies, expected a task made with variation={list(appearance)}")
        self._wear(appearance)

    def _wear(self, appearance: Appearance | None) -> None:
        if self._variation is not None:
            self._variation.apply(appearance)
            self._appearance = appearance
            self._simulation.update_positions(self._simulation.data)

    def _judged_at(self, state: State) -> np.ndarray:
        with self._simulation.looking_at(state) as data:
            return self._judged(data)

    # -- what a task adds -----------------------------------------------------------------------------------------

    def _begin(self, start: State, goal_state: State) -> None:
        """Stand at the start of an episode."""
        self.restore(start)

    def _info(self) -> dict[str, Any]:
        """What `reset` and `step` report."""
        judged = self._judged(self._simulation.data)
        return {
            "success": bool(self._meets(judged, self._goal)),
            "distance_m": float(self._distance(judged, self._goal)),
        }

    def _meets(self, judged: np.ndarray, goal: np.ndarray) -> bool:
        """The criterion of success, of two results of `_judged`: nearer than ``success_distance``, if no other."""
        return self._distance(judged, goal) <= self.success_distance

    def _proprio_space(self) -> gym.spaces.Box:
        """Bounds that no proprioception exceeds; those of the contract unless a task knows better."""
        return gym.spaces.Box(*bounds(self._states))

    def _require_possible(self, data: mujoco.MjData) -> None:
        """Raise ValueError for data, with up-to-date contacts, that no simulation of this task comes to."""
        require_possible(self._simulation.model, data)

    def _object_places(self, state: State) -> np.ndarray:
        """Where objects are [N, 3], metres, in the frame of the proprioception."""
        return np.empty((0, 3))

    @abc.abstractmethod
    def _build(self, variation: str | Sequence[str]) -> tuple[Simulation, Sequence[Dim], Sequence[Dim]]:
        """The physics, in a state that makes sense, the A dimensions of an action and the P of the proprioception.

        Where the look may vary, `jepa_envs.variation.load_model` makes the model.
        """

    @abc.abstractmethod
    def _act(self, action: np.ndarray) -> None:
        """Simulate one control period with an action float64 [A] inside the bounds."""

    @abc.abstractmethod
    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        """The proprioception [P] of data with up-to-date positions."""

    @abc.abstractmethod
    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        """What success is judged by, of data with up-to-date positions: numbers of its own, no views of the data."""

    @abc.abstractmethod
    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        """Distance in metres between two results of `_judged`."""

    @abc.abstractmethod
    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Draw a start and a goal; the simulation may be moved, the caller moves it back."""

    @abc.abstractmethod
    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        """Makers of demonstrators by kind."""
