"""From end-effector poses to the motions between them."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def pose_differences(poses: np.ndarray) -> np.ndarray:
    """What leads from each pose to the next, in the frame in which the poses are given.

    Positions are subtracted. Rotations are composed, R(t+1) R(t)^T, so that there is no jump where an
    angle passes +-pi; applying a difference means R(t+1) = R(difference) R(t).

    Args:
        poses: [T + 1, 6], position (metres) and Euler angles xyz about fixed axes (radians).

    Returns:
        float64 [T, 6], position and Euler angles xyz of the difference; not a number where a pose is not.
    """
    poses = np.asarray(poses, np.float64)
    known = np.isfinite(poses[:, 3:]).all(axis=1)
    rotations = Rotation.from_euler("xyz", np.where(known[:, None], poses[:, 3:], 0.0))
    turns = (rotations[1:] * rotations[:-1].inv()).as_euler("xyz")
    turns[~(known[1:] & known[:-1])] = np.nan
    with np.errstate(invalid="ignore"):  # infinity less infinity
        moves = poses[1:, :3] - poses[:-1, :3]
    return np.concatenate([moves, turns], axis=1)


def composed(turns: np.ndarray) -> np.ndarray:
    """Turns that follow each other, in one.

    Args:
        turns: [..., n, 3], Euler angles xyz about fixed axes (radians), the first turn first.

    Returns:
        float64 [..., 3], of R(turns[n - 1]) ... R(turns[0]).
    """
    whole = Rotation.identity(int(np.prod(turns.shape[:-2])))
    for k in range(turns.shape[-2]):
        whole = Rotation.from_euler("xyz", turns[..., k, :].reshape(-1, 3)) * whole
    return whole.as_euler("xyz").reshape(*turns.shape[:-2], 3)
