"""Demonstrators for tasks in which a Panda handles an object.

Each looks at where hand and object are and does what comes next: above it, down, close, lift, carry, lower, open. So
an expert that is disturbed goes on from where it finds itself. Inside this module actions [P] and hands [P] are changes
of poses and poses of a `jepa_envs.workspace.Workspace`, which have a yaw where the task's actions have none, too. Hands
handle objects from above: an expert takes the hand's tilt back.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np

from jepa_envs.demonstrators import ColouredNoise
from jepa_envs.goal_image import Demonstrator, State
from jepa_envs.orientation import size_of, turn_between
from jepa_envs.panda import FINGER_TRAVEL
from jepa_envs.panda_tabletop import LOWEST, MAT, ObjectShape, object_position, object_yaw
from jepa_envs.workspace import Workspace, angles_in

FINGER_HALF = np.array([0.017, 0.028])  # of the two closed fingers together, x and y
_OPEN, _SHUT = 0.0, 1.0  # closedness
_SQUEEZE = 0.2  # by which the commanded closedness of a held object exceeds the measured one
_PALM = 0.0414  # how high the hand's lower side is above the point between the fingertips
_CARRY_HEIGHT = 0.06  # of a carried object's lower end
_CLEARANCE = 0.02  # metres between fingertips and an object that they pass over
_TIP = 0.009  # how far the fingers reach below the point between them
_PLACED, _PUSHED = 0.012, 0.01  # metres from its goal at which the object is left there


@dataclass(frozen=True)
class Scene:
    """What a demonstrator looks at.

    Attributes:
        hand: commanded pose [P].
        closedness: measured.
        centre: of the object [3].
        yaw: of the object.
    """

    hand: np.ndarray
    closedness: float
    centre: np.ndarray
    yaw: float

    @classmethod
    def of(cls, state: State) -> Scene:
        qpos = np.asarray(state["qpos"], float)
        closedness = 1.0 - qpos[7:9].mean() / FINGER_TRAVEL
        return cls(np.asarray(state["target"], float), closedness, object_position(qpos), object_yaw(qpos))


class Skills:
    """The steps of which handling is made.

    Args:
        shape: of the object.
        gain: share of the remaining way that a step goes, as far as the bounds allow.
        workspace: where the hand may go.
    """

    def __init__(self, shape: ObjectShape, gain: float, workspace: Workspace):
        self.shape, self._gain, self._workspace = shape, gain, workspace
        self._low, self._high = workspace.low[:3], workspace.high[:3]

    def is_held(self, scene: Scene) -> bool:
        """Whether the fingers squeeze something where the object is."""
        offset = scene.centre - scene.hand[:3]
        there = np.linalg.norm(offset[:2]) < 0.02 and abs(offset[2] + self.shape.grip_height) < 0.03
        return bool(there and scene.hand[-1] - scene.closedness > 0.1)

    def go(self, scene: Scene, place: np.ndarray, angles: np.ndarray, closedness: float) -> np.ndarray:
        """Towards ``place`` [3], straight, and the hand's ``angles`` [1 or 3] and a commanded closedness."""
        bound = self._workspace.bound
        way = self._workspace.change(scene.hand, np.array([*place, *angles, closedness]))
        way[:-1] *= self._gain
        way[:3] /= max(1.0, np.abs(way[:3] / bound[:3]).max())
        return np.clip(way, -bound, bound)

    def over(
        self, scene: Scene, place: np.ndarray, angles: np.ndarray, closedness: float, lowest: float
    ) -> np.ndarray:
        """Towards ``place`` [3] at no less than the height ``lowest``, until above it and not tilted; then down."""
        far, low = np.linalg.norm(place[:2] - scene.hand[:2]), scene.hand[2] < lowest - 0.01
        if low and far > 0.025:
            return self.go(scene, np.append(scene.hand[:2], max(lowest, place[2])), angles, closedness)
        tilted = self._workspace.tilts and size_of(turn_between(angles_in(scene.hand), angles)) > 0.05
        if not low and (far > 0.01 or tilted):
            place = np.append(place[:2], max(lowest, place[2]))
        return self.go(scene, place, angles, closedness)

    def grasp(self, scene: Scene) -> np.ndarray:
        """Towards holding the object."""
        angles = self._workspace.upright(self._grip_yaw(scene))
        place = scene.centre + np.array([0.0, 0.0, self.shape.grip_height])
        place[2] = max(place[2], self._low[2])
        offset = scene.hand[:3] - place
        aligned = size_of(turn_between(angles_in(scene.hand), angles)) < 0.1
        if np.linalg.norm(offset[:2]) < 0.012 and abs(offset[2]) < 0.008 and aligned:
            return self.go(scene, scene.hand[:3], angles_in(scene.hand), _SHUT)
        if np.linalg.norm(offset[:2]) < 0.02 and offset[2] < 0.04:  # the fingers are around the object
            return self.go(scene, place, angles, _OPEN)
        if scene.closedness > 0.1:  # the fingers have to be open before they go down
            place[2] = max(scene.hand[2], self._above(scene))
        return self.over(scene, place, angles, _OPEN, self._above(scene))

    def carry(self, scene: Scene, centre: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Towards having the held object's centre at ``centre`` [3]."""
        place = np.clip(centre + scene.hand[:3] - scene.centre, self._low, self._high)
        return self.go(scene, place, angles, scene.closedness + _SQUEEZE)

    def put(self, scene: Scene, place: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Towards having the held object above ``place`` [2], and then on it."""
        offset = scene.hand[:3] - scene.centre
        down = np.append(place, self.shape.half_height - 0.001) + offset
        lowest = min(_CARRY_HEIGHT + self.shape.half_height + offset[2], self._high[2])
        down = np.clip(down, self._low, self._high)
        return self.over(scene, down, angles, scene.closedness + _SQUEEZE, lowest)

    def release(self, scene: Scene, retreat: np.ndarray) -> np.ndarray:
        """Open the fingers, then up and to the pose ``retreat`` [P]."""
        if scene.closedness > 0.15 and np.linalg.norm(scene.hand[:2] - scene.centre[:2]) < 0.03:
            return self.go(scene, scene.hand[:3], angles_in(scene.hand), _OPEN)
        return self.leave(scene, retreat)

    def leave(self, scene: Scene, retreat: np.ndarray) -> np.ndarray:
        """Up from the object, which the hand does not hold, and to the pose ``retreat`` [P]."""
        lowest = min(self._above(scene), retreat[2])
        return self.over(scene, retreat[:3], angles_in(retreat), retreat[-1], lowest)

    def push(self, scene: Scene, place: np.ndarray) -> np.ndarray:
        """Towards having pushed the object to ``place`` [2] with closed fingers."""
        height, angles = push_height(self.shape), self._workspace.upright(0.0)
        way = place - scene.centre[:2]
        left = float(np.linalg.norm(way))
        along = way / max(left, 1e-9)
        aside = np.array([-along[1], along[0]])
        offset = scene.hand[:2] - scene.centre[:2]
        behind, off = -float(offset @ along), float(offset @ aside)
        if scene.hand[2] < height + 0.015 and behind > 0.02 and abs(off) < 0.012 and scene.closedness > 0.9:
            advance = self._gain * min(0.6 * left, 0.025) * along - 0.5 * off * aside
            return self.go(scene, np.append(scene.hand[:2] + advance / self._gain, height), angles, _SHUT)
        start = scene.centre[:2] - along * (reach(self.shape, scene.yaw, along) + 0.012)
        start = np.clip(start, self._low[:2], self._high[:2])
        return self.over(scene, np.append(start, height), angles, _SHUT, self._above(scene))

    def _above(self, scene: Scene) -> float:
        """Height of the hand at which the fingers pass over the object."""
        return min(scene.centre[2] + self.shape.half_height + _TIP + _CLEARANCE, self._high[2])

    def _grip_yaw(self, scene: Scene) -> float:
        """Yaw of the hand in which the fingers close on two faces."""
        if not (self._workspace.turns and self.shape.turns):
            return 0.0
        return (scene.yaw + self.shape.turns / 2) % self.shape.turns - self.shape.turns / 2


def push_height(shape: ObjectShape) -> float:
    """Height of the fingertips' point at which the fingers push a standing object and the hand passes above it."""
    return max(2 * shape.half_height + 0.006 - _PALM, LOWEST + 0.005)


def reach(shape: ObjectShape, yaw: float, along: np.ndarray) -> float:
    """Distance of the hand's from the object's centre at which closed fingers surely do not touch it yet, behind it."""
    direction = np.arctan2(along[1], along[0]) - yaw
    corner = abs(np.cos(direction)) + abs(np.sin(direction)) if shape.turns else 1.0
    return shape.half_width * corner + float(FINGER_HALF @ np.abs(along))


class ObjectExpert(abc.ABC):
    """Base of the experts, which know how to get from any scene to that of the goal.

    Args: as `Skills`.
    """

    def __init__(self, shape: ObjectShape, gain: float, workspace: Workspace):
        self._skills = Skills(shape, gain, workspace)

    def act(self, state: State, goal_state: State) -> np.ndarray:
        return self._step(Scene.of(state), Scene.of(goal_state))

    @abc.abstractmethod
    def _step(self, scene: Scene, goal: Scene) -> np.ndarray:
        """The next action [P]."""


class HoldExpert(ObjectExpert):
    """Grasps the object and brings it to the goal's place, in the hand."""

    def _step(self, scene: Scene, goal: Scene) -> np.ndarray:
        if not self._skills.is_held(scene):
            return self._skills.grasp(scene)
        return self._skills.carry(scene, goal.centre, angles_in(goal.hand))


class PlaceExpert(ObjectExpert):
    """Picks the object up, puts it down at its goal and takes the hand to its own."""

    def _step(self, scene: Scene, goal: Scene) -> np.ndarray:
        there = np.linalg.norm(scene.centre[:2] - goal.centre[:2]) < _PLACED
        if there and scene.centre[2] < self._skills.shape.half_height + 0.004:
            return self._skills.release(scene, goal.hand)
        if self._skills.is_held(scene):
            return self._skills.put(scene, goal.centre[:2], angles_in(goal.hand))
        return self._skills.grasp(scene)


class PushExpert(ObjectExpert):
    """Pushes the object to its goal with closed fingers and takes the hand to its own."""

    def _step(self, scene: Scene, goal: Scene) -> np.ndarray:
        if np.linalg.norm(scene.centre[:2] - goal.centre[:2]) < _PUSHED:
            return self._skills.leave(scene, goal.hand)
        return self._skills.push(scene, goal.centre[:2])


class ObjectExplorer:
    """Does one thing after another, whatever the goal: carries the object about, pushes it, or wanders.

    Args:
        rng: source of randomness.
        shape: of the object.
        workspace: where the hand may go.
    """

    _CARRY, _PUSH, _WANDER = range(3)

    def __init__(self, rng: np.random.Generator, shape: ObjectShape, workspace: Workspace):
        self._rng, self._workspace = rng, workspace
        self._skills = Skills(shape, rng.uniform(0.5, 1.0), workspace)
        noise = rng.uniform(0.02, 0.25) * workspace.bound
        noise[-1] *= 0.3
        self._noise = ColouredNoise(rng, noise, correlation=0.7)
        self._begin()

    def act(self, state: State, goal_state: State) -> np.ndarray:
        self._left -= 1
        if self._left <= 0:
            self._begin()
        step = self._deed(Scene.of(state)) + self._noise.next()
        return np.clip(step, -self._workspace.bound, self._workspace.bound)

    def _begin(self) -> None:
        """Draw what to do next, where to, and for how long."""
        rng = self._rng
        self._what = rng.choice([self._CARRY, self._PUSH, self._WANDER], p=[0.45, 0.35, 0.2])
        self._left = int(rng.integers(12, 35))
        self._hand = self._workspace.draw(rng)
        self._place = np.append(rng.uniform(MAT[0] + 0.08, MAT[1] - 0.08), rng.uniform(0.05, 0.25))

    def _deed(self, scene: Scene) -> np.ndarray:
        if self._what == self._PUSH:
            if np.linalg.norm(scene.centre[:2] - self._place[:2]) < 0.02:
                self._left = 0
            return self._skills.push(scene, self._place[:2])
        if self._what == self._CARRY:
            if not self._skills.is_held(scene):
                return self._skills.grasp(scene)
            if self._left < 4:  # let go of it there
                return self._skills.go(scene, scene.hand[:3], angles_in(scene.hand), _OPEN)
            return self._skills.carry(scene, self._place, angles_in(self._hand))
        return self._skills.go(scene, self._hand[:3], angles_in(self._hand), self._hand[-1])


class Selected:
    """Another demonstrator, of whose actions only some dimensions are used.

    Args:
        demonstrator: its actions are [P].
        used: which of them, bool [P].
    """

    def __init__(self, demonstrator: Demonstrator, used: np.ndarray):
        self._demonstrator, self._used = demonstrator, used

    def act(self, state: State, goal_state: State) -> np.ndarray:
        return self._demonstrator.act(state, goal_state)[self._used].astype(np.float32)
