"""Whether a state can be: what a state file may ask for that no simulation comes to."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np

from jepa_envs.dim import Dim
from jepa_envs.gl import mujoco

# What is pressed into something gives way by a centimetre at most where the tasks are run at their bounds.
_OVERLAP = 0.02  # metres
_BEYOND = 0.02  # share of its range by which a joint may be beyond it
_TOUCH = 0.005  # metres between bodies of which one may stand on the other
_REACH = 0.05  # metres beyond the workspace where an object can still be touched


def require_possible(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """
    Args:
        data: with up-to-date positions and contacts.

    Raises:
        ValueError: a joint is beyond its range, or bodies are inside each other.
    """
    for joint in np.flatnonzero(model.jnt_limited & (model.jnt_type != mujoco.mjtJoint.mjJNT_BALL)):
        value, (low, high) = data.qpos[model.jnt_qposadr[joint]], model.jnt_range[joint]
        if not low - _BEYOND * (high - low) <= value <= high + _BEYOND * (high - low):
            raise ValueError(f"{model.joint(joint).name} is {value:.3g}, expected {low:.3g} to {high:.3g}")
    contact = min(data.contact, key=lambda c: c.dist, default=None)
    if contact is not None and contact.dist < -_OVERLAP:
        first, second = (_name(model, geom) for geom in contact.geom)
        raise ValueError(f"{first} and {second} are {-100 * contact.dist:.1f} cm inside each other")


def falling(model: mujoco.MjModel, data: mujoco.MjData) -> Iterator[str]:
    """A line for each body that is free to fall and near nothing that could hold it.

    Args:
        data: with up-to-date positions.
    """
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    with_margin = copy.copy(model)
    with_margin.opt.o_margin = _TOUCH
    with_margin.opt.enableflags |= mujoco.mjtEnableBit.mjENBL_OVERRIDE
    aside = mujoco.MjData(with_margin)
    aside.qpos[:], aside.mocap_pos[:], aside.mocap_quat[:] = data.qpos, data.mocap_pos, data.mocap_quat
    mujoco.mj_fwdPosition(with_margin, aside)
    for body in model.jnt_bodyid[free]:
        tree = model.body_rootid[model.geom_bodyid] == model.body_rootid[body]
        if not any(tree[first] != tree[second] for first, second in (contact.geom for contact in aside.contact)):
            yield f"{model.body(body).name or 'a body'} touches nothing, so that it falls and does not stay there"


def out_of_reach(places: np.ndarray, dims: Sequence[Dim]) -> Iterator[str]:
    """A line for each object that is away from where the hand can be; none where the hand's place is not known.

    Args:
        places: of objects [N, 3], metres.
        dims: of the proprioception, of which x, y and z are the hand's place in the same frame.
    """
    by_name = {dim.name: dim for dim in dims}
    axes = [by_name[axis] for axis in "xyz" if axis in by_name]
    if len(axes) < 3:
        return
    low, high = np.array([dim.low for dim in axes]), np.array([dim.high for dim in axes])
    for place in places:
        if not (np.all(place >= low - _REACH) and np.all(place <= high + _REACH)):
            yield (
                f"an object is at {np.round(place, 3).tolist()} m, out of reach of the hand, which can go to "
                f"{np.round(low, 3).tolist()}..{np.round(high, 3).tolist()}"
            )


def _name(model: mujoco.MjModel, geom: int) -> str:
    """Of a geom, or of the body that it is of."""
    return model.geom(geom).name or model.body(model.geom_bodyid[geom]).name or "a body"
