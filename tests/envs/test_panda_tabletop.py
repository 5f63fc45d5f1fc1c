"""The arm with an object: grip and weight against closed forms, being blocked, the fence, states, what is refused."""

from __future__ import annotations

import itertools
import json

import mujoco
import numpy as np
import pytest
from jepa_envs.orientation import quaternion
from jepa_envs.panda import FINGER_TRAVEL, HOME
from jepa_envs.panda_tabletop import LEAD, MAT, SHAPES, Tabletop, object_position, object_tilt, workspace
from scipy.spatial.transform import Rotation

MASS = {"cup": 0.13, "box": 0.15}
FINGER_STIFFNESS = 2000.0  # N/m
TURNING = workspace("yaw")
LOW, HIGH, BOUND = TURNING.low, TURNING.high, TURNING.bound
UPRIGHT = np.zeros(1)  # angles of the hand


@pytest.fixture(scope="module", params=sorted(SHAPES))
def table(request: pytest.FixtureRequest) -> Tabletop:
    return Tabletop(request.param, "test", rotation="yaw")


def name_of(table: Tabletop) -> str:
    return "cup" if table.shape is SHAPES["cup"] else "box"


def standing(table: Tabletop, x: float = 0.5, y: float = 0.0) -> np.ndarray:
    return np.array([x, y, table.shape.half_height])


def beside(table: Tabletop) -> Tabletop:
    """The hand far above, the object standing."""
    table.place(np.array([0.45, 0.1, 0.25, 0.0, 0.0]), standing(table))
    return table


def forces(table: Tabletop) -> dict[str, np.ndarray]:
    """Force on the object [3], world frame, from each geom that touches it."""
    model, data = table.model, table.data
    mujoco.mj_forward(model, data)
    found: dict[str, np.ndarray] = {}
    for number in range(data.ncon):
        contact, local = data.contact[number], np.zeros(6)
        mujoco.mj_contactForce(model, data, number, local)
        names = [model.geom(geom).name or model.body(model.geom_bodyid[geom]).name for geom in contact.geom]
        force = contact.frame.reshape(3, 3).T @ local[:3]  # on the second geom
        which, other = (1, names[0]) if names[1] == name_of(table) else (0, names[1])
        found[other] = found.get(other, np.zeros(3)) + (force if which else -force)
    return found


def run(table: Tabletop, delta: list[float], steps: int) -> None:
    for _ in range(steps):
        table.step(np.array(delta))


def test_the_scene_is_as_declared(table: Tabletop) -> None:
    model, shape = table.model, table.shape
    geom = model.geom(name_of(table))
    width, height = (geom.size[0], geom.size[1]) if name_of(table) == "cup" else (geom.size[0], geom.size[2])
    assert (width, height) == (shape.half_width, shape.half_height)
    assert model.body("object").mass[0] == pytest.approx(MASS[name_of(table)])
    assert model.joint("object").qposadr[0] == 9
    fence = {name: model.geom(f"fence_{name}") for name in ("near", "far", "right", "left")}
    assert [fence["near"].pos[0], fence["right"].pos[1]] == pytest.approx(MAT[0])
    assert [fence["far"].pos[0], fence["left"].pos[1]] == pytest.approx(MAT[1])
    for name, inwards in (("near", (1, 0, 0)), ("far", (-1, 0, 0)), ("right", (0, 1, 0)), ("left", (0, -1, 0))):
        w, *xyz = fence[name].quat
        np.testing.assert_allclose(Rotation.from_quat([*xyz, w]).apply([0, 0, 1]), inwards, atol=1e-9)


def test_inverse_kinematics_converges_over_the_whole_workspace(table: Tabletop) -> None:
    for x, y, z, yaw in itertools.product(*(np.linspace(LOW[i], HIGH[i], 3) for i in range(4))):
        joints, _ = table._ik.solve(np.array([x, y, z]), quaternion(np.array([yaw])), HOME)
        data = mujoco.MjData(table.model)
        data.qpos[:7] = joints
        mujoco.mj_kinematics(table.model, data)
        assert np.linalg.norm(data.site("tcp").xpos - [x, y, z]) < 1e-4
        down = Rotation.from_euler("z", yaw).as_matrix() @ np.diag([1.0, -1.0, -1.0])
        assert np.abs(data.site("tcp").xmat.reshape(3, 3) - down).max() < 1e-3


def test_free_steps_are_achieved_within_a_millimetre(table: Tabletop) -> None:
    beside(table)
    rng = np.random.default_rng(0)
    for _ in range(40):
        before = table.pose_of(table.data)
        delta = rng.uniform(-BOUND, BOUND)
        wanted = np.clip(before + delta, [*LOW[:2], 0.15, *LOW[3:]], HIGH)
        table.step(wanted - before)
        error = table.pose_of(table.data) - wanted
        assert np.linalg.norm(error[:3]) < 0.001 and abs(error[3]) < 0.005 and abs(error[4]) < 0.02


def test_a_turn_is_the_euler_angle_of_the_relative_rotation(table: Tabletop) -> None:
    beside(table)
    before = table.data.site("tcp").xmat.reshape(3, 3).copy()
    table.step(np.array([0.02, 0.0, 0.0, 0.15, 0.0]))
    relative = table.data.site("tcp").xmat.reshape(3, 3) @ before.T
    np.testing.assert_allclose(Rotation.from_matrix(relative).as_euler("xyz"), [0, 0, 0.15], atol=2e-3)


def test_a_standing_object_bears_its_weight_and_stays(table: Tabletop) -> None:
    beside(table)
    run(table, [0.0] * 5, 25)
    np.testing.assert_allclose(object_position(table.data.qpos), standing(table), atol=5e-4)
    found = forces(table)
    assert set(found) == {"table_top"}
    np.testing.assert_allclose(found["table_top"], [0, 0, 9.81 * MASS[name_of(table)]], atol=0.02)


def test_a_held_object_hangs_in_the_grip_for_twenty_seconds(table: Tabletop) -> None:
    table.hold(np.array([0.5, 0.0, 0.2]), np.array([0.4]))
    before = object_position(table.data.qpos)
    run(table, [0.0] * 5, 100)
    assert np.linalg.norm(object_position(table.data.qpos) - before) < 0.002
    assert object_tilt(table.data.qpos) < 0.02 and table.is_held(table.data)
    found = forces(table)
    assert set(found) == {"left_finger", "right_finger"}
    squeeze = 0.25 * FINGER_TRAVEL * FINGER_STIFFNESS  # by how much more than measured they are commanded to close
    np.testing.assert_allclose(sum(found.values()), [0, 0, 9.81 * MASS[name_of(table)]], atol=0.01 * squeeze)
    across = np.array([-np.sin(0.4), np.cos(0.4), 0.0])  # from the left finger to the right
    assert found["left_finger"] @ across == pytest.approx(squeeze, rel=0.1)
    assert found["right_finger"] @ across == pytest.approx(-squeeze, rel=0.1)


def test_a_fast_hand_does_not_lose_the_object(table: Tabletop) -> None:
    table.hold(np.array([0.4, -0.1, 0.2]), UPRIGHT)
    for delta in ([0.05, 0.05, 0.0, 0, 0], [-0.05, -0.05, 0.05, 0, 0], [0.0, 0.0, -0.05, 0.2, 0]) * 2:
        run(table, delta, 1)
        assert table.is_held(table.data)
    offset = object_position(table.data.qpos) - table.pose_of(table.data)[:3] + [0, 0, table.shape.grip_height]
    assert np.linalg.norm(offset) < 0.01


def test_opening_drops_it(table: Tabletop) -> None:
    table.hold(np.array([0.5, 0.0, 0.12]), UPRIGHT)
    run(table, [0, 0, 0, 0, -0.25], 5)
    assert not table.is_held(table.data)
    assert object_position(table.data.qpos)[2] == pytest.approx(table.shape.half_height, abs=0.03)


def test_a_blocked_hand_does_not_run_away_and_comes_back_at_once(table: Tabletop) -> None:
    """Closed fingers press on a standing object for ten seconds."""
    table.place(np.array([0.5, 0.0, 0.12, 0.0, 1.0]), standing(table))
    run(table, [0, 0, -0.05, 0, 0], 50)
    pose = table.pose_of(table.data)
    assert pose[2] == pytest.approx(2 * table.shape.half_height + 0.009, abs=0.003)
    assert table.target[2] == pytest.approx(pose[2] - 0.02)
    assert forces(table)["table_top"][2] > 20.0
    table.step(np.array([0, 0, 0.05, 0, 0]))
    assert table.pose_of(table.data)[2] == pytest.approx(pose[2] + 0.05 - 0.02, abs=0.002)
    assert sum(table.data.warning.number) == 0


def test_a_held_object_pressed_on_the_table_stays_in_the_hand(table: Tabletop) -> None:
    height = table.shape.half_height + table.shape.grip_height
    table.hold(np.array([0.5, 0.0, height + 0.03]), UPRIGHT)
    run(table, [0, 0, -0.05, 0, 0], 20)
    assert table.is_held(table.data) and forces(table)["table_top"][2] > 5.0
    run(table, [0, 0, 0.05, 0, 0], 3)
    assert table.is_held(table.data) and object_position(table.data.qpos)[2] > table.shape.half_height + 0.05


@pytest.mark.parametrize("way", [(1, 0), (-1, 0), (0, 1), (0, -1)], ids=str)
def test_a_pushed_object_stops_at_the_fence(table: Tabletop, way: tuple[int, int]) -> None:
    way = np.array(way)
    start = np.array([0.5, 0.0]) - 0.10 * way
    table.place(np.array([*start, table.shape.half_height, 0.0, 1.0]), standing(table))
    run(table, [*(0.04 * way), 0, 0, 0], 12)
    centre = object_position(table.data.qpos)[:2]
    assert (centre - standing(table)[:2]) @ way > 0.08, "it was not pushed"
    assert np.all(centre > MAT[0] + 0.9 * table.shape.half_width - 0.005)
    assert np.all(centre < MAT[1] - 0.9 * table.shape.half_width + 0.005)
    table.check_values({"target": table.target, "qpos": table.data.qpos})


def test_without_yaw_the_hand_stays_straight() -> None:
    table = Tabletop("box", "test", rotation="none")
    beside(table)
    run(table, [0.05, 0, 0, 0.2, 0], 3)
    assert table.target[3] == 0 and abs(table.pose_of(table.data)[3]) < 1e-3


def test_a_state_in_mid_contact_restores_to_the_bit(table: Tabletop) -> None:
    table.hold(np.array([0.5, 0.0, 0.08]), UPRIGHT)
    rng = np.random.default_rng(3)
    actions = rng.uniform(-BOUND, BOUND, (12, 5)) * [1, 1, 1, 1, 0.2] - [0, 0, 0.03, 0, 0]
    for action in actions[:5]:
        table.step(action)
    assert len(forces(table)) >= 2
    state = json.loads(json.dumps(table.state()))
    table.restore(state)
    ends = []
    for _ in range(2):
        for action in actions[5:]:
            table.step(action)
        ends.append(table.state())
        table.restore(state)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("steps", [400, pytest.param(4000, marks=pytest.mark.slow)])
def test_wild_actions_raise_no_warning_and_every_state_can_be_restored(table: Tabletop, steps: int) -> None:
    rng = np.random.default_rng(4)
    for step in range(steps):
        if step % 50 == 0:
            table.hold(np.array([0.5, 0.0, 0.1]), UPRIGHT) if step % 100 else beside(table)
        if step % 5 == 0:
            action = rng.choice([-1.0, 1.0], 5) * BOUND
        table.step(action)
        table.check_values({"target": table.target, "qpos": table.data.qpos})
        inside = np.clip(table.pose_of(table.data), LOW, HIGH)  # what it touches may push the hand out
        assert np.all(np.abs(table.target - inside) <= LEAD + 1e-9)
    assert sum(table.data.warning.number) == 0


def test_places_out_of_reach_or_in_the_way_are_refused(table: Tabletop) -> None:
    hand = np.array([0.5, 0.0, 0.2, 0.0, 0.0])
    before = beside(table).state()
    for pose, centre, message in (
        (hand + [0.2, 0, 0, 0, 0], standing(table), "outside the workspace"),
        (hand * [1, 1, np.nan, 1, 1], standing(table), "outside the workspace"),
        (hand[:4], standing(table), "outside the workspace"),
        (hand, standing(table, x=0.65), "expected over the mat"),
        (hand, standing(table, y=-0.3), "expected over the mat"),
        (hand, standing(table) - [0, 0, 0.05], "expected over the mat"),
        (hand, standing(table) + [0, 0, 0.5], "expected over the mat"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            table.place(pose, centre)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="expected over the mat"):
        table.hold(np.array([0.5, 0.0, 0.02]), UPRIGHT)
    with pytest.raises(ValueError, match="expected over the mat"):
        table.restore(before | {"qpos": [*before["qpos"][:9], 0.9, *before["qpos"][10:]]})
    assert table.state() == before


def test_an_unknown_object_is_refused() -> None:
    with pytest.raises(ValueError, match="object is 'sword', expected one of cup, box"):
        Tabletop("sword", "test", rotation="none")
