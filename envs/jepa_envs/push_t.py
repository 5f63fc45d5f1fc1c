"""PushT: push the T to where a goal picture shows it, and go there yourself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from jepa_envs.demonstrators import ColouredNoise, NoisyExpert
from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import LEAST_MOVE, Demonstrator, State
from jepa_envs.push_t_board import (
    AGENT_RADIUS,
    BOARD,
    CONTROL_PERIOD,
    SCENE,
    UNIT,
    PushTBoard,
    agent_of,
    block_of,
    clearance,
    coverage,
)
from jepa_envs.push_t_demonstrators import PushExpert, PushExplorer, RelativeActions
from jepa_envs.task import MujocoGoalTask
from jepa_envs.variation import load_model

RELATIVE_BOUND = 100.0  # units
_BLOCK_AREA = 130.0, 382.0  # of the block's place, so that the agent gets behind it on every side
_AGENT_AREA = 50.0, 462.0
_BLOCK_MOVES = 40.0, 120.0  # units from start to goal
_BLOCK_TURNS = np.pi / 3  # at most
_APART = AGENT_RADIUS + 10.0  # units between the agent's centre and the block


class PushTEnv(MujocoGoalTask):
    """A disc pushes a T on a board of 512 x 512 units (1 mm each, y down) to a pose, at 10 steps a second.

    Geometry, controller and dynamics follow the Push-T of Diffusion Policy (arXiv 2303.04137) and gym-pusht, so that
    their policies and recordings carry over: the same actions lead to the same places within about a unit.

    ``proprio``, float32 [2]: the agent's x and y, units. The block's pose is to be seen in the picture.

    Action: float32 [2], units: the place (x, y) within the board towards which a PD controller steers the agent
    (``action="absolute"``), or that place relative to the agent's, within 100 units (``action="relative"``, which is
    100 times the action of DINO-WM's version).

    Success, as in DINO-WM and JEPA-WMs: agent and block, four coordinates together, within 20 units of the goal and
    the block's angle within 20 degrees. `distance` is the larger of the two, with a degree counting as a unit.
    ``info["coverage"]`` is gym-pusht's measure: the share of the goal's T that the block covers (solved there from
    0.95 on, with the goal at (256, 256, pi/4), which is drawn in green).

    Args: ``action`` as above; the others as `jepa_envs.task.MujocoGoalTask`.
    """

    name = "push_t"
    cameras = ("top", "tilted")
    success_distance = 20 * UNIT
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}
    _simulation: PushTBoard

    def __init__(
        self,
        render_mode: str | None = None,
        image_size: int = 64,
        camera: str | None = None,
        variation: str | Sequence[str] = (),
        action: Literal["absolute", "relative"] = "absolute",
    ):
        if action not in ("absolute", "relative"):
            raise ValueError(f"action is {action!r}, expected 'absolute' or 'relative'")
        self._relative = action == "relative"
        super().__init__(render_mode, image_size, camera, variation)

    def state_at(self, pose: Sequence[float]) -> State:
        """The state standing still at ``pose`` (agent x, agent y, block x, block y, block angle), as gym-pusht has it.

        Raises:
            ValueError: it is not five finite numbers on the board.
        """
        values = np.asarray(pose, float)
        if values.shape != (5,) or not np.all(np.isfinite(values)):
            raise ValueError(f"pose is {values.tolist()}, expected agent x, agent y, block x, block y, block angle")
        state = self._simulation.state_after(lambda: self._simulation.place(values[:2], values[2:]))
        self._simulation.data_of(state)  # checks that it is on the board
        return state

    def pose_of(self, state: State) -> np.ndarray:
        """Agent x, agent y, block x, block y, block angle of a state, float64 [5]."""
        return self._judged(self._simulation.data_of(state))

    def object_pose(self, state: State) -> list[tuple[str, str, float]]:
        """The block's place, units (mm), and its angle as a point on a circle, which has no jump in it."""
        x, y, angle = (float(value) for value in block_of(np.asarray(state["qpos"], float)))
        turn = [("object_cos", "1", float(np.cos(angle))), ("object_sin", "1", float(np.sin(angle)))]
        return [("object_x", "mm", x), ("object_y", "mm", y), *turn]

    def object_moved(self, before: State, after: State) -> bool:
        """Whether the block moved by more than a unit or turned by more than a degree."""
        return _apart(*(block_of(np.asarray(state["qpos"], float)) for state in (before, after))) > LEAST_MOVE

    def _build(self, variation: str | Sequence[str]) -> tuple[PushTBoard, list[Dim], list[Dim]]:
        board = PushTBoard(load_model(SCENE, variation), self.name)
        board.place(np.array([256.0, 400.0]), np.array([256.0, 200.0, 0.0]))
        if self._relative:
            actions = [Dim(f"d{axis}", "mm", -RELATIVE_BOUND, RELATIVE_BOUND, "board") for axis in "xy"]
        else:
            actions = [Dim(f"target_{axis}", "mm", 0.0, BOARD, "board") for axis in "xy"]
        return board, actions, [Dim(axis, "mm", 0.0, BOARD, "board") for axis in "xy"]

    def _proprio_space(self) -> gym.spaces.Box:
        return gym.spaces.Box(-1.0, BOARD + 1.0, (2,), np.float32)  # a PD controller in discrete time may overshoot

    def _act(self, action: np.ndarray) -> None:
        if self._relative:
            action = np.clip(action + agent_of(self._simulation.data.qpos), 0.0, BOARD)
        self._simulation.step(action)

    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        return agent_of(data.qpos)

    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        """Agent x, agent y, block x, block y, block angle [5]."""
        return np.concatenate([agent_of(data.qpos), block_of(data.qpos)])

    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        return _apart(judged, goal)

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"coverage": coverage(block_of(self._simulation.data.qpos), self._goal[2:])}

    def _draw_start_and_goal(self, rng: np.random.Generator) -> tuple[State, State]:
        """The block's goal is 40 to 120 units and up to 60 degrees from its start; the agent is anywhere beside it."""
        while True:
            place, angle = rng.uniform(*_BLOCK_AREA, 2), rng.uniform(-np.pi, np.pi)
            way, length = rng.uniform(-np.pi, np.pi), rng.uniform(*_BLOCK_MOVES)
            goal = place + length * np.array([np.cos(way), np.sin(way)])
            if np.all((goal >= _BLOCK_AREA[0]) & (goal <= _BLOCK_AREA[1])):
                break
        states = []
        for block in (np.append(place, angle), np.append(goal, angle + rng.uniform(-_BLOCK_TURNS, _BLOCK_TURNS))):
            while True:
                agent = rng.uniform(*_AGENT_AREA, 2)
                if clearance(agent, block) >= _APART:
                    break
            self._simulation.place(agent, block)
            states.append(self._simulation.state())
        return states[0], states[1]

    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        def absolute(demonstrator: Demonstrator, noise: ColouredNoise | None = None) -> Demonstrator:
            if noise is not None:
                demonstrator = NoisyExpert(demonstrator, noise, np.zeros(2), np.full(2, BOARD))
            return RelativeActions(demonstrator, RELATIVE_BOUND) if self._relative else demonstrator

        def noisy(rng: np.random.Generator) -> Demonstrator:
            return absolute(PushExpert(), ColouredNoise(rng, np.full(2, rng.uniform(5, 25)), 0.7))

        return {
            "expert": lambda rng: absolute(PushExpert()),
            "noisy": noisy,
            "explore": lambda rng: absolute(PushExplorer(rng)),
        }


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """How far poses, each of coordinates and then an angle, are apart in either, metres; a degree counts as a unit."""
    turn = (first[-1] - second[-1] + np.pi) % (2 * np.pi) - np.pi
    return UNIT * float(max(np.linalg.norm(first[:-1] - second[:-1]), abs(np.rad2deg(turn))))
