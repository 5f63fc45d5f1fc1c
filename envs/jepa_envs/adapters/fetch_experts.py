"""Experts for Fetch: the environment as it stands -> its own action [4], each in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_GAIN = 20.0  # of the full action a metre
_HALF = 0.025  # metres, half the object's edge
_BEHIND = 0.075  # metres from the object's middle at which pushing begins
_ABOVE = 0.10  # metres over the object on the way to it
_CLOSE, _OPEN = -1.0, 1.0


def reach(env: Any) -> np.ndarray:
    """Straight to the goal."""
    return _towards(_gripper(env), env.goal, 0.0)


def push(env: Any) -> np.ndarray:
    """Over the object to its far side, down, and through it towards the goal."""
    gripper, thing, goal = _gripper(env), _object(env), env.goal
    way = goal[:2] - thing[:2]
    left = np.linalg.norm(way)
    if left < 0.01:
        return _towards(gripper, gripper, 0.0)
    direction = way / left
    behind = np.append(thing[:2] - _BEHIND * direction, thing[2])
    along = float((gripper[:2] - thing[:2]) @ direction)  # negative: on the far side
    beside = np.linalg.norm(gripper[:2] - thing[:2] - along * direction)
    low = gripper[2] < thing[2] + 0.02
    if low and along < 0 and beside < 0.02:
        # Through a point a little ahead of the object; slower towards the end, as the object slides on.
        ahead = thing[:2] + min(0.5 * left, 0.06) * direction - 0.04 * direction
        return _towards(gripper, np.append(ahead, thing[2]), 0.0)
    if np.linalg.norm(gripper[:2] - behind[:2]) < 0.015:
        return _towards(gripper, behind, 0.0)
    if gripper[2] < thing[2] + 0.8 * _ABOVE and np.linalg.norm(gripper[:2] - behind[:2]) > 0.03:
        return _towards(gripper, np.append(gripper[:2], thing[2] + 1.2 * _ABOVE), 0.0)
    return _towards(gripper, behind + [0, 0, _ABOVE], 0.0)


def pick_and_place(env: Any) -> np.ndarray:
    """Over the object, down, close, and to the goal."""
    gripper, thing, goal = _gripper(env), _object(env), env.goal
    offset = thing - gripper
    aside = np.linalg.norm(offset[:2])
    held = aside < 0.02 and abs(offset[2]) < 0.02
    if held and _opening(env) < 2 * _HALF + 0.004:
        return _towards(gripper, goal - offset, _CLOSE)
    if held:
        return _towards(gripper, gripper, _CLOSE)
    if aside < 0.015:
        return _towards(gripper, thing, _OPEN)
    return _towards(gripper, thing + [0, 0, _ABOVE], _OPEN)


EXPERTS: dict[str, Callable[[Any], np.ndarray]] = {"reach": reach, "push": push, "pick_and_place": pick_and_place}


def _towards(here: np.ndarray, place: np.ndarray, gripper: float) -> np.ndarray:
    return np.append(np.clip(_GAIN * (place - here), -1.0, 1.0), gripper)


def _gripper(env: Any) -> np.ndarray:
    return env.data.site("robot0:grip").xpos.copy()


def _object(env: Any) -> np.ndarray:
    return env.data.site("object0").xpos.copy()


def _opening(env: Any) -> float:
    return sum(env.data.joint(f"robot0:{side}_gripper_finger_joint").qpos[0] for side in ("l", "r"))
