"""The arm: kinematics against the Denavit-Hartenberg product, inverse kinematics, control."""

from __future__ import annotations

import itertools
import json

import mujoco
import numpy as np
import pytest
from jepa_envs.orientation import DOWN
from jepa_envs.panda import BOUND, HIGH, HOME, JOINTS, LOW, Panda

# a, d, alpha of the public data sheet (modified Denavit-Hartenberg): seven joints, then the flange.
DH = [
    (0, 0.333, 0),
    (0, 0, -np.pi / 2),
    (0, 0.316, np.pi / 2),
    (0.0825, 0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0, 0, np.pi / 2),
    (0.088, 0, np.pi / 2),
    (0, 0.107, 0),
]
LIMITS = np.array(
    [
        (-2.8973, 2.8973),
        (-1.7628, 1.7628),
        (-2.8973, 2.8973),
        (-3.0718, -0.0698),
        (-2.8973, 2.8973),
        (-0.0175, 3.7525),
        (-2.8973, 2.8973),
    ]
)


def dh_tcp(q: np.ndarray) -> np.ndarray:
    """Pose [4, 4] of the point between the fingertips for joint angles q [7]."""
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(DH, [*q, 0.0], strict=True):
        ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
        pose = pose @ np.array(
            [[ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca], [0, 0, 0, 1]]
        )
    c, s = np.cos(-np.pi / 4), np.sin(-np.pi / 4)
    return pose @ np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0.1034], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def panda() -> Panda:
    return Panda()


def centre(panda: Panda) -> Panda:
    panda.place((LOW + HIGH) / 2)
    return panda


def test_forward_kinematics_is_that_of_the_data_sheet(panda: Panda) -> None:
    data = mujoco.MjData(panda.model)
    for q in np.random.default_rng(0).uniform(*LIMITS.T, size=(50, 7)):
        data.qpos[:7] = q
        mujoco.mj_kinematics(panda.model, data)
        expected = dh_tcp(q)
        np.testing.assert_allclose(data.site("tcp").xpos, expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3), expected[:3, :3], atol=1e-9)


def test_joint_limits_are_those_of_the_data_sheet(panda: Panda) -> None:
    np.testing.assert_array_equal([panda.model.joint(name).range for name in JOINTS], LIMITS)


def test_inverse_kinematics_converges_over_the_whole_workspace(panda: Panda) -> None:
    down = np.diag([1.0, -1.0, -1.0])
    for position in itertools.product(*(np.linspace(LOW[i], HIGH[i], 5) for i in range(3))):
        q, _ = panda._ik.solve(np.array(position), DOWN, HOME)
        pose = dh_tcp(q)
        assert np.linalg.norm(pose[:3, 3] - position) < 1e-4, position
        assert np.abs(pose[:3, :3] - down).max() < 1e-3, position
        assert np.all((q > LIMITS[:, 0]) & (q < LIMITS[:, 1])), position


def test_inverse_kinematics_does_not_depend_on_where_it_starts(panda: Panda) -> None:
    goal = np.array([0.6, 0.2, 0.2])
    far, _ = panda._ik.solve(np.array([0.36, -0.24, 0.4]), DOWN, HOME)
    np.testing.assert_allclose(panda._ik.solve(goal, DOWN, far)[0], panda._ik.solve(goal, DOWN, HOME)[0], atol=0.01)


def test_inverse_kinematics_says_how_much_error_remains(panda: Panda) -> None:
    q, residual = panda._ik.solve(np.array([2.0, 0.0, 0.3]), DOWN, HOME)  # out of reach
    assert residual > 0.5
    assert np.all((q >= LIMITS[:, 0]) & (q <= LIMITS[:, 1]))


def test_standing_still_does_not_drift(panda: Panda) -> None:
    before = centre(panda).pose
    for _ in range(100):
        panda.step(np.zeros(4))
    assert np.linalg.norm(panda.pose[:3] - before[:3]) < 1e-3


def test_a_commanded_step_is_achieved_within_two_millimetres(panda: Panda) -> None:
    centre(panda)
    rng, errors = np.random.default_rng(0), []
    for _ in range(100):
        before = panda.pose
        delta = rng.uniform(-BOUND, BOUND)
        wanted = np.clip(before + delta, LOW, HIGH)
        panda.step(delta)
        errors.append(panda.pose - wanted)
    assert np.sqrt(np.mean(np.sum(np.square(errors)[:, :3], axis=1))) < 0.002
    assert np.abs(np.array(errors)[:, 3]).max() < 0.02


@pytest.mark.parametrize("steps", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_wild_actions_keep_joint_limits_and_raise_no_warning(panda: Panda, steps: int) -> None:
    centre(panda)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        panda.step(rng.choice([-1.0, 1.0], 4) * BOUND)
        q = panda.data.qpos[:7]
        assert np.all((q > LIMITS[:, 0]) & (q < LIMITS[:, 1]))
        assert np.all(panda.pose >= LOW - 0.002) and np.all(panda.pose <= HIGH + 0.002)
    assert sum(panda.data.warning.number) == 0


def test_the_moving_arm_keeps_clear_of_table_and_objects(panda: Panda) -> None:
    model, data = panda.model, panda.data
    static = [g for g in range(model.ngeom) if model.geom_bodyid[g] == 0 and model.geom(g).name != "hand_shadow"]
    moving = [g for g in range(model.ngeom) if model.geom_bodyid[g] >= model.body("link3").id]
    for position in itertools.product(*(np.linspace(LOW[i], HIGH[i], 3) for i in range(3))):
        panda.place(np.append(position, 0.0))
        nearest = min(mujoco.mj_geomDistance(model, data, a, b, 1.0, None) for a in moving for b in static)
        assert nearest > 0.03, position


def test_a_place_outside_the_workspace_is_refused(panda: Panda) -> None:
    with pytest.raises(ValueError, match="workspace"):
        panda.place(HIGH + 0.01)


def test_state_is_json_and_restores_exactly(panda: Panda) -> None:
    centre(panda).step(BOUND)
    state = json.loads(json.dumps(panda.state()))
    actions = np.random.default_rng(2).uniform(-BOUND, BOUND, (5, 4))

    def run() -> list[list[float]]:
        panda.restore(state)
        poses = [panda.pose.tolist()]
        for action in actions:
            panda.step(action)
            poses.append([*panda.pose, *panda.data.qpos, *panda.data.qvel])
        return poses

    assert run() == run()


@pytest.mark.parametrize(
    "broken", [{}, {"qpos": [0.0]}, {"qvel": [float("nan")] * 9}, {"target": None}, {"time": "soon"}], ids=str
)
def test_a_foreign_state_is_refused_and_changes_nothing(panda: Panda, broken: dict) -> None:
    good = centre(panda).state()
    with pytest.raises(ValueError, match="state"):
        panda.restore(good | broken if broken else {})
    assert panda.state() == good
