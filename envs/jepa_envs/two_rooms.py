"""TwoRooms: go to where a goal picture shows the agent, most often through the door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np

from jepa_envs.demonstrators import ColouredNoise, NoisyExpert
from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import Demonstrator, State
from jepa_envs.simulation import Simulation
from jepa_envs.task import MujocoGoalTask
from jepa_envs.two_rooms_demonstrators import DoorExpert, RoomsExplorer
from jepa_envs.two_rooms_layout import BOARD, GRAZE, INSIDE, MAX_STEP, RADIUS, UNIT, WALL, is_free
from jepa_envs.variation import load_model

SCENE = Path(__file__).parent / "assets" / "two_rooms.xml"
CONTROL_PERIOD = 0.1  # seconds

_OTHER_ROOM = 0.75  # share of episodes whose goal is in the other room
_LEAST_START_DISTANCE = 10.0  # units


class Rooms(Simulation):
    """The agent between its walls.

    It has no momentum: each time step begins with the velocity that was asked for, and MuJoCo's contacts take away
    what would lead into a wall.
    """

    def __init__(self, model: mujoco.MjModel | None = None, task: str = "two_rooms"):
        super().__init__(load_model(SCENE) if model is None else model, task)
        self._substeps = round(CONTROL_PERIOD / self.model.opt.timestep)

    def place(self, position: np.ndarray) -> None:
        """Stand still at (x, y), units, at once."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = np.asarray(position, float) * UNIT
        self.update_positions(self.data)

    def step(self, displacement: np.ndarray) -> None:
        """Move by [2], units, as far as walls allow, in one control period."""
        for _ in range(self._substeps):
            self.data.qvel[:] = displacement * UNIT / CONTROL_PERIOD
            mujoco.mj_step(self.model, self.data)
        self.data.qvel[:] = 0.0
        self.update_positions(self.data)

    def position_of(self, data: mujoco.MjData) -> np.ndarray:
        """The agent's (x, y) float64 [2], units."""
        return data.qpos / UNIT

    def check_values(self, values: dict[str, np.ndarray]) -> None:
        """
        Raises:
            ValueError: the agent is in a wall.
        """
        x, y = values["qpos"] / UNIT
        if not is_free(np.array([x, y]), RADIUS - GRAZE):
            raise ValueError(f"the agent at ({x:.1f}, {y:.1f}) is in a wall, expected inside a room")


class TwoRoomsEnv(MujocoGoalTask):
    """A disc in two rooms with one door, at 10 steps a second: the straight way to most goals is blocked.

    The geometry is that of PLDM's two rooms and DINO-WM's Wall (arXiv 2411.04983), in their units: a board of 65 x 65
    (1 cm each here, y down), a wall 6 thick in its middle, a door 8 wide.

    ``proprio``, float32 [2]: x and y of the agent, units.

    Action: float32 [2], a displacement (dx, dy) within 3.6 units on each axis. Who runs into a wall slides along it.

    Success: within 4.5 units of the goal. The goal is in the other room in three of four episodes.

    Args: as `jepa_envs.task.MujocoGoalTask`.
    """

    name = "two_rooms"
    cameras = ("top", "tilted")
    success_distance = 4.5 * UNIT
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}
    _simulation: Rooms

    def state_at(self, position: Sequence[float]) -> State:
        """The state with the agent at (x, y), units.

        Raises:
            ValueError: it is not two finite numbers inside a room.
        """
        values = np.asarray(position, float)
        if values.shape != (2,) or not np.all(np.isfinite(values)):
            raise ValueError(f"position is {values.tolist()}, expected x, y")
        state = self._simulation.state_after(lambda: self._simulation.place(values))
        self._simulation.data_of(state)  # checks that it is free
        return state

    def _build(self, variation: str | Sequence[str]) -> tuple[Rooms, list[Dim], list[Dim]]:
        rooms = Rooms(load_model(SCENE, variation), self.name)
        rooms.place(np.array([17.0, 30.0]))
        actions = [Dim(f"d{axis}", "cm", -MAX_STEP, MAX_STEP, "board", integrates=axis) for axis in "xy"]
        return rooms, actions, [Dim(axis, "cm", INSIDE[0] + RADIUS, INSIDE[1] - RADIUS, "board") for axis in "xy"]

    def _proprio_space(self) -> gym.spaces.Box:
        return gym.spaces.Box(0.0, BOARD, (2,), np.float32)

    def _act(self, action: np.ndarray) -> None:
        self._simulation.step(action)

    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        return self._simulation.position_of(data)

    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        """The agent's position [2], units."""
        return self._simulation.position_of(data).copy()

    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        return UNIT * float(np.linalg.norm(judged - goal))

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """Two places drawn evenly from the rooms, at least 10 units apart."""
        other = rng.random() < _OTHER_ROOM
        middle = WALL.mean()
        while True:
            start, goal = rng.uniform(*INSIDE, (2, 2))
            if ((start[0] < middle) != (goal[0] < middle)) != other:
                continue
            if is_free(start) and is_free(goal) and np.linalg.norm(start - goal) >= _LEAST_START_DISTANCE:
                return self.state_at(start), self.state_at(goal)

    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        bound = np.full(2, MAX_STEP)

        def noisy(rng: np.random.Generator) -> Demonstrator:
            return NoisyExpert(DoorExpert(rng.uniform(0.3, 1.0)), ColouredNoise(rng, 0.5 * bound, 0.7), -bound, bound)

        return {"expert": lambda rng: DoorExpert(), "noisy": noisy, "explore": lambda rng: RoomsExplorer(rng)}
