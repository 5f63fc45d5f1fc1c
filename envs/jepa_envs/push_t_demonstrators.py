"""Demonstrators for Push-T: an expert that walks around the block and pushes it, and an explorer that bumps into it."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import shortest_path

from jepa_envs.goal_image import Demonstrator, State
from jepa_envs.push_t_board import (
    AGENT_RADIUS,
    BOARD,
    CENTRE_OF_MASS,
    agent_of,
    block_of,
    clearance,
    nearest_of_block,
    rotation,
)

_INERTIA = 3000.0  # of the block, for a mass of 1
_ARM = 57.0  # units that count as much as a radian: 20 degrees as much as 20 units
_AT_ORIGIN = np.zeros(3)
_SAFE = AGENT_RADIUS + 5.0  # units from the block at which the agent passes it
_STRIDE = 22.0  # units that the expert walks in a step
_GOOD_ENOUGH = 5.0  # units (and degrees) from its goal at which the expert leaves the block alone
_AT_BLOCK = 0.7  # share of an explorer's places that are on the block or near it

# Where to push, in the block's frame: points [C, 2] on its outline and normals [C, 2] that point into it.
_FACES = (
    ((-52, 0), (52, 0), (0, 1)),
    ((60, 5), (60, 25), (-1, 0)),
    ((-60, 5), (-60, 25), (1, 0)),
    ((34, 30), (52, 30), (0, -1)),
    ((-34, 30), (-52, 30), (0, -1)),
    ((15, 50), (15, 115), (-1, 0)),
    ((-15, 50), (-15, 115), (1, 0)),
    ((-10, 120), (10, 120), (0, -1)),
)
_POINTS = np.concatenate([np.linspace(a, b, 7) for a, b, _ in _FACES])
_NORMALS = np.concatenate([np.tile(np.array(n, float), (7, 1)) for *_, n in _FACES])
_ARMS = _POINTS - CENTRE_OF_MASS
_TURNS = (_ARMS[:, 0] * _NORMALS[:, 1] - _ARMS[:, 1] * _NORMALS[:, 0]) / _INERTIA
_TWISTS = np.column_stack([_NORMALS, _TURNS])
"""How the block moves, for a unit of pushing at a point: dx, dy of its centre of mass and its turn, [C, 3]. Without
friction the force is along the normal, and what moves at once stands still at once moves along the force."""

# Waypoints around the block, in its frame.
_CORNERS = np.array(
    [(-85, -25), (0, -30), (85, -25), (90, 15), (85, 55), (42, 60), (42, 145), (0, 150), (-42, 145), (-42, 60)]
    + [(-85, 55), (-90, 15)],
    float,
)


def _free(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether straight ways from [N, 2] to [M, 2] keep clear of a block at the origin, bool [N, M]."""
    share = np.linspace(0, 1, 25)[:, None]
    ways = starts[:, None, None] * (1 - share) + ends[None, :, None] * share
    return clearance(ways, _AT_ORIGIN).min(-1) >= _SAFE - 1.0


def _lengths(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Lengths of free straight ways, [N, M]; infinite where the block is in between."""
    return np.where(_free(starts, ends), np.linalg.norm(starts[:, None] - ends[None], axis=-1), np.inf)


_AROUND = shortest_path(_lengths(_CORNERS, _CORNERS), directed=False)
_APPROACH = _POINTS - (_SAFE + 1.0) * _NORMALS
_FROM_CORNERS = _lengths(_CORNERS, _APPROACH)


def _poses(state: State) -> tuple[np.ndarray, np.ndarray]:
    """The agent's (x, y) and the block's (x, y, angle)."""
    qpos = np.asarray(state["qpos"])
    return agent_of(qpos), block_of(qpos)


class PushExpert:
    """Pushes the block to its goal, then goes to the agent's.

    It chooses where to push by how much nearer a push there brings the block in the time that it takes, with the way
    around the block; pushes until that push brings it no nearer; and so on. The model behind it is the frictionless
    quasi-static one, so that it has to look again and again.
    """

    def __init__(self):
        self._pushing: int | None = None

    def act(self, state: State, goal_state: State) -> np.ndarray:
        agent, block = _poses(state)
        goal_agent, goal_block = _poses(goal_state)
        turn = rotation(block[2])
        here = (agent - block[:2]) @ turn  # in the block's frame, like all that follows
        error = self._error(block, goal_block)
        if np.linalg.norm(error * (1, 1, _ARM)) <= _GOOD_ENOUGH:
            self._pushing = None
            there = self._walk(here, (goal_agent - block[:2]) @ turn)
        else:
            there = self._push(here, error)
        return np.clip(block[:2] + turn @ there, 0, BOARD).astype(np.float32)

    def _error(self, block: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """What the centre of mass and the angle [3] lack, in the block's frame."""
        centre, goal_centre = (pose[:2] + rotation(pose[2]) @ CENTRE_OF_MASS for pose in (block, goal))
        turn = (goal[2] - block[2] + np.pi) % (2 * np.pi) - np.pi
        return np.append((goal_centre - centre) @ rotation(block[2]), turn)

    def _push(self, here: np.ndarray, error: np.ndarray) -> np.ndarray:
        weights = np.array([1, 1, _ARM**2])
        lengths = (_TWISTS * weights) @ error / ((_TWISTS * weights) * _TWISTS).sum(1)  # [C]: the best for each push
        if self._pushing is not None and lengths[self._pushing] < 1.0:
            self._pushing = None
        if self._pushing is None:
            self._pushing = self._choose(here, error, lengths)
        point, normal = _POINTS[self._pushing], _NORMALS[self._pushing]
        offset = here - point
        aside = offset - (offset @ normal) * normal
        behind = -(offset @ normal) - AGENT_RADIUS
        if np.linalg.norm(aside) > 6.0 or not -4.0 <= behind <= 12.0:
            return self._walk(here, _APPROACH[self._pushing])
        ahead = min(lengths[self._pushing], 25.0)
        return here - 1.5 * aside + (behind + ahead) * normal

    def _choose(self, here: np.ndarray, error: np.ndarray, lengths: np.ndarray) -> int:
        """The push that brings the block nearest in its time."""
        scale = np.array([1, 1, _ARM])
        lengths = np.clip(lengths, 0, None)
        after = np.linalg.norm((error - lengths[:, None] * _TWISTS) * scale, axis=1)
        gain = np.linalg.norm(error * scale) - after
        time = self._ways(here)[0] / _STRIDE + lengths / 6 + 4
        return int(np.argmax(gain / time))

    def _ways(self, here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Length of the way to each approach [C], and its first waypoint [C, 2]."""
        straight = _lengths(here[None], _APPROACH)[0]
        first = _lengths(here[None], _CORNERS)[0]
        if not np.isfinite(first).any():  # touching the block: any corner will do after a step back
            first = np.linalg.norm(here - _CORNERS, axis=1)
        around = first[:, None, None] + _AROUND[:, :, None] + _FROM_CORNERS[None]
        corner = around.min(1).argmin(0)
        length = around.min((0, 1))
        return np.minimum(straight, length), np.where((straight <= length)[:, None], _APPROACH, _CORNERS[corner])

    def _walk(self, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Where to steer on the way to a place, without touching the block."""
        if clearance(here, _AT_ORIGIN) < _SAFE - 1.0:
            touched = nearest_of_block(here)
            back = here - (touched if np.any(touched != here) else CENTRE_OF_MASS)
            return here + back / np.linalg.norm(back) * 25.0
        if not _free(here[None], there[None])[0, 0]:
            first, last = _lengths(here[None], _CORNERS)[0], _lengths(_CORNERS, there[None])[:, 0]
            total = first[:, None] + _AROUND + last[None]
            there = _CORNERS[int(total.min(1).argmin())]
        way = there - here
        return here + way * min(2.5, 2.5 * _STRIDE / max(np.linalg.norm(way), 1e-6))


class PushExplorer:
    """Walks from place to place, most of them on the block, at a speed of its own: it touches the block often.

    Args:
        rng: source of randomness.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._stride = rng.uniform(10.0, 40.0)
        self._place: np.ndarray | None = None

    def act(self, state: State, goal_state: State) -> np.ndarray:
        agent, block = _poses(state)
        if self._place is None or np.linalg.norm(self._place - agent) < 15.0 or self._rng.random() < 0.05:
            if self._rng.random() < _AT_BLOCK:
                centre = block[:2] + rotation(block[2]) @ CENTRE_OF_MASS
                self._place = centre + self._rng.normal(0.0, 40.0, 2)
            else:
                self._place = self._rng.uniform(0.0, BOARD, 2)
            self._place = np.clip(self._place, 0.0, BOARD)
        way = self._place - agent
        stride = self._stride * self._rng.uniform(1.0, 3.0)
        action = agent + way * min(1.0, stride / max(np.linalg.norm(way), 1e-6)) + self._rng.normal(0.0, 5.0, 2)
        return np.clip(action, 0.0, BOARD).astype(np.float32)


class RelativeActions:
    """Another demonstrator's places, relative to the agent's.

    Args:
        demonstrator: its actions are places on the board.
        bound: largest action.
    """

    def __init__(self, demonstrator: Demonstrator, bound: float):
        self._demonstrator, self._bound = demonstrator, bound

    def act(self, state: State, goal_state: State) -> np.ndarray:
        action = self._demonstrator.act(state, goal_state) - _poses(state)[0]
        return np.clip(action, -self._bound, self._bound).astype(np.float32)
