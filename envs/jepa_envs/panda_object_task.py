"""What the tasks have in common in which a Panda handles one object on a mat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import gymnasium as gym
import numpy as np

from jepa_envs.demonstrators import ColouredNoise, NoisyExpert
from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import LEAST_MOVE, Demonstrator, State
from jepa_envs.panda import CONTROL_PERIOD
from jepa_envs.panda_object_demonstrators import ObjectExpert, ObjectExplorer, Selected
from jepa_envs.panda_tabletop import ObjectName, ObjectShape, Tabletop, object_position, object_tilt
from jepa_envs.task import MujocoGoalTask
from jepa_envs.workspace import RotationName

_NOISE = 0.2  # of noisy experts, as a share of the bounds; none of the gripper: they do not drop things
_PLACES = np.array([(0.43, -0.15), (0.57, 0.15)])  # where objects stand at first and in the end
_ALIGNED = 0.3  # radians by which a box may be turned for fingers that cannot turn
_ABOVE, _AWAY = 0.15, 0.12  # height of the hand at first, and how far it is from the object, metres
UPRIGHT = np.deg2rad(15.0)  # of what stands


class PandaObjectTask(MujocoGoalTask):
    """Base of the tasks with a cup or a box, at 5 steps a second. A task adds its starts, goals, criterion and expert.

    ``proprio``, float32 [4]: measured x, y, z of the point between the fingertips (metres, base frame) and the
    gripper's closedness (0 open, 1 closed); the object's place is to be seen in the picture.

    Action, as V-JEPA 2-AC's: float32 [4], (dx, dy, dz) metres within 0.05 and a change of closedness within 0.25. What
    is beyond is clipped, and so is motion out of the workspace (0.38..0.62, -0.20..0.20, 0.013..0.30). The hand points
    down throughout.

    With ``rotation="yaw"`` it may also turn about the vertical, within 1 radian: ``proprio`` and the action are
    float32 [5], with the yaw (radians) and its change, within 0.2, before the gripper's. With ``rotation="xyz"`` they
    are V-JEPA 2-AC's in full, float32 [7]: roll, pitch and yaw, Euler angles xyz about the base frame's axes, of
    R(t+1) R(t)^T in the action, each within 0.2, and of R in ``proprio``. There all angles are 0 where the hand points
    straight down (see `jepa_envs.orientation`), and it may be tilted from that by 0.3 radians at most; x is within
    0.42..0.62. Of the orientation the tilt is limited first, then the yaw. Starts then have a tilted hand, and so have
    goals with a held object, which is tilted with it. How the hand is turned in the end does not count.

    Where something is in the way, the hand stays there. The object cannot leave the mat.

    Args:
        object: ``"cup"`` or ``"box"``.
        rotation: ``"none"``, ``"yaw"`` or ``"xyz"``.
        others: as `jepa_envs.task.MujocoGoalTask`.
    """

    cameras = ("front", "left", "top")
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}
    default_object: ClassVar[ObjectName] = "cup"
    expert: ClassVar[type[ObjectExpert]]
    _simulation: Tabletop

    def __init__(
        self,
        render_mode: str | None = None,
        image_size: int = 64,
        camera: str | None = None,
        variation: str | Sequence[str] = (),
        object: ObjectName | None = None,
        rotation: RotationName = "none",
    ):
        self.object = object or self.default_object
        self.rotation = rotation
        if self.object != self.default_object:
            self.name = f"{type(self).name}_{self.object}"
        super().__init__(render_mode, image_size, camera, variation)

    def object_position(self, state: State) -> np.ndarray:
        """The object's centre [3] in a state, metres."""
        return object_position(np.asarray(state["qpos"], float))

    def object_pose(self, state: State) -> list[tuple[str, str, float]]:
        """Its centre, metres."""
        return [(f"object_{axis}", "m", float(value)) for axis, value in zip("xyz", self.object_position(state))]

    def object_moved(self, before: State, after: State) -> bool:
        """Whether the object's centre moved by more than a millimetre."""
        return bool(np.linalg.norm(self.object_position(after) - self.object_position(before)) > LEAST_MOVE)

    def state_with(self, hand: Sequence[float], place: Sequence[float], yaw: float = 0.0) -> State:
        """The state standing still with the hand at a pose and the object standing at (x, y), turned by ``yaw``.

        The pose is (x, y, z, yaw, closedness), or with ``rotation="xyz"`` (x, y, z, roll, pitch, yaw, closedness).

        Raises:
            ValueError: the hand would be outside its workspace, or the object not on the mat.
        """
        table, hand = self._simulation, np.asarray(hand, float)
        return table.state_after(lambda: table.place(hand, self._standing(place), yaw))

    def state_holding(
        self, position: Sequence[float], angles: Sequence[float] | None = None, turn: float = 0.0
    ) -> State:
        """The state standing still with the object in the hand, the fingertips' point at ``position`` [3].

        The hand is turned by ``angles``, (yaw) or with ``rotation="xyz"`` (roll, pitch, yaw), not at all where None.
        The object stands in it as in a hand that points straight down, turned by ``turn``, and is tilted with it.

        Raises:
            ValueError: the hand would be outside its workspace, or the object not above the mat.
        """
        table, position = self._simulation, np.asarray(position, float)
        angles = table.workspace.upright(0.0) if angles is None else np.asarray(angles, float)
        return table.state_after(lambda: table.hold(position, angles, turn))

    def _object_places(self, state: State) -> np.ndarray:
        return self.object_position(state)[None]

    @property
    def _shape(self) -> ObjectShape:
        return self._simulation.shape

    def _draw_object(self, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Where an object stands, (x, y) and yaw, that can be gripped from there."""
        most = np.pi if not self._shape.turns else np.pi / 4 if self._simulation.workspace.turns else _ALIGNED
        return rng.uniform(*_PLACES), rng.uniform(-most, most)

    def _draw_hand(self, rng: np.random.Generator, place: np.ndarray, closedness: float) -> np.ndarray:
        """A pose [P] of the hand above and away from an object at (x, y)."""
        while True:
            hand = self._simulation.workspace.draw(rng)
            hand[-1] = closedness
            if hand[2] >= _ABOVE and np.linalg.norm(hand[:3] - self._standing(place)) >= _AWAY:
                return hand

    def _grip_of(self, yaw: float) -> tuple[np.ndarray, float]:
        """Angles of the hand, and turn in it, of a gripped object that stood with a yaw; fingers align a box."""
        upright = self._simulation.workspace.upright
        if not self._shape.turns:
            return upright(0.0), yaw
        return upright(yaw if self._simulation.workspace.turns else 0.0), 0.0

    def _standing(self, place: Sequence[float]) -> np.ndarray:
        """Centre [3] of the object that stands at (x, y)."""
        return np.array([*place, self._shape.half_height])

    def _build(self, variation: str | Sequence[str]) -> tuple[Tabletop, list[Dim], list[Dim]]:
        table = Tabletop(self.object, self.name, self.rotation, variation)
        middle = (table.workspace.low + table.workspace.high) / 2
        middle[-1] = 0.0
        table.place(middle, [0.5, 0.1, table.shape.half_height])
        self._used = np.ones(len(middle), bool)  # of the poses' dimensions, by the actions
        self._used[3] = self.rotation != "none"
        actions, states = ([dim for dim, used in zip(dims, self._used) if used] for dims in table.workspace.dims())
        return table, actions, states

    def _proprio_space(self) -> gym.spaces.Box:
        low, high = self._simulation.workspace.measured_ends()
        return gym.spaces.Box(low[self._used], high[self._used])

    def _act(self, action: np.ndarray) -> None:
        delta = np.zeros(len(self._used))
        delta[self._used] = action
        self._simulation.step(delta)

    def _proprio(self, data: mujoco.MjData) -> np.ndarray:
        return self._simulation.pose_of(data)[self._used]

    def _judged(self, data: mujoco.MjData) -> np.ndarray:
        """The object's centre [3], whether it is held and how far it is tilted (radians)."""
        return np.array([*object_position(data.qpos), self._simulation.is_held(data), object_tilt(data.qpos)])

    def _distance(self, judged: np.ndarray, goal: np.ndarray) -> float:
        """Between the object's centres."""
        return float(np.linalg.norm(judged[:3] - goal[:3]))

    def _demonstrators(self) -> dict[str, Callable[[np.random.Generator], Demonstrator]]:
        workspace = self._simulation.workspace
        bound = workspace.bound[self._used]
        share = np.full(len(bound), _NOISE)
        share[-1] = 0.0

        def expert(gain: float) -> Demonstrator:
            return Selected(self.expert(self._shape, gain, workspace), self._used)

        def noisy(rng: np.random.Generator) -> Demonstrator:
            noise = ColouredNoise(rng, rng.uniform(0.1, 1.0) * share * bound, correlation=0.7)
            return NoisyExpert(expert(rng.uniform(0.4, 0.9)), noise, -bound, bound)

        return {
            "expert": lambda rng: expert(0.9),
            "noisy": noisy,
            "explore": lambda rng: Selected(ObjectExplorer(rng, self._shape, workspace), self._used),
        }
