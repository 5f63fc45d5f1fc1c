"""Hands that turn: composed orientations against SciPy's, their limits, reach, criterion, and what stays as it was."""

from __future__ import annotations

import itertools
import json

import gymnasium as gym
import jepa_envs
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from jepa_envs import orientation
from jepa_envs.panda import HOME, Panda
from jepa_envs.panda_tabletop import Tabletop
from jepa_envs.panda_tabletop import workspace as tabletop_workspace
from jepa_envs.workspace import MOST_TILT
from scipy.spatial.transform import Rotation

from jepa_robot.data.pose import pose_differences
from jepa_robot.spec import Contract

POINTING_DOWN = np.diag([1.0, -1.0, -1.0])  # axes of the hand, as columns
TASKS = ["panda_reach", "panda_grasp", "panda_push"]


def hand(env: gym.Env) -> np.ndarray:
    """The hand's axes, as columns [3, 3]."""
    return env.unwrapped._simulation.data.site("tcp").xmat.reshape(3, 3).copy()


@pytest.mark.parametrize("task", TASKS)
def test_actions_and_states_are_vjepa2_acs(task: str) -> None:
    env = jepa_envs.make(task, options={"rotation": "xyz"}).unwrapped
    contract = Contract.from_dict(env.contract())
    angles = ["roll", "pitch", "yaw"]
    assert [dim.name for dim in contract.states] == [*"xyz", *angles, "gripper"]
    actions = [(dim.name, dim.unit, dim.frame, dim.integrates) for dim in contract.actions]
    assert actions == [
        *((f"d{name}", "m", "base", name) for name in "xyz"),
        *((f"d{name}", "rad", "base", None) for name in angles),  # they are composed, not added up
        ("gripper", "1", "base", "gripper"),
    ]
    np.testing.assert_allclose(contract.action_high, [0.05, 0.05, 0.05, 0.2, 0.2, 0.2, 0.25], rtol=1e-6)
    np.testing.assert_allclose(contract.state_high[3:6], [0.3, 0.3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(contract.state_low[3:6], [-0.3, -0.3, -1.0], rtol=1e-6)
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_passes_gymnasiums_checker(task: str) -> None:
    env = jepa_envs.make(task, image_size=16, options={"rotation": "xyz"}).unwrapped
    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_turns_are_composed_in_the_base_frame(task: str) -> None:
    """The action's angles are those of R(t+1) R(t)^T, and those of the state are R's, as recorded poses have them."""
    env = jepa_envs.make(task, image_size=16, options={"rotation": "xyz"}).unwrapped
    env.reset(seed=0)
    simulation = env._simulation
    pose = np.array([0.5, 0.0, 0.2, 0.1, -0.15, 0.7, 1.0])
    simulation.place(pose) if task == "panda_reach" else simulation.place(pose, [0.43, -0.15, 0.04])
    turns = np.array([(0.05, 0.1, -0.2), (-0.15, 0.05, 0.1), (0.1, -0.1, -0.2), (0.0, 0.2, 0.15)])
    states = [env.observe()["proprio"]]
    for turn in turns:
        before = hand(env)
        states.append(env.step(np.array([0.01, 0, 0.01, *turn, 0]))[0]["proprio"])
        np.testing.assert_allclose(Rotation.from_matrix(hand(env) @ before.T).as_euler("xyz"), turn, atol=5e-3)
        meant = Rotation.from_euler("xyz", states[-1][3:6]).as_matrix() @ POINTING_DOWN
        np.testing.assert_allclose(hand(env), meant, atol=1e-5)
    np.testing.assert_allclose(pose_differences(np.array(states)[:, :6])[:, 3:], turns, atol=5e-3)
    sums = np.diff(np.array(states)[:, 3:6], axis=0)
    assert np.abs(sums - turns).max() > 0.02, "adding up would have done, too"
    env.close()


def test_droids_angles_are_these_with_half_a_turn_of_roll() -> None:
    for angles in np.random.default_rng(0).uniform(-0.3, 0.3, (20, 3)):
        w, *xyz = orientation.quaternion(angles)
        droid = Rotation.from_euler("xyz", angles + [np.pi, 0, 0])
        assert (Rotation.from_quat([*xyz, w]) * droid.inv()).magnitude() < 1e-9


def test_angles_are_limited_as_rotations() -> None:
    space = Panda(rotation="xyz").workspace
    rng = np.random.default_rng(1)
    up = np.array([0.0, 0.0, 1.0])
    for _ in range(200):
        pose = space.draw(rng)
        change = rng.uniform(-1, 1, 7) * [0.05, 0.05, 0.05, 0.5, 0.5, 0.5, 0.25]
        after = space.moved(pose, change)
        assert space.holds(after)
        free = Rotation.from_euler("xyz", change[3:6]) * Rotation.from_euler("xyz", pose[3:6])
        limited = Rotation.from_euler("xyz", after[3:6])
        tilt = np.arccos(free.apply(up)[2])
        assert np.arccos(limited.apply(up)[2]) == pytest.approx(min(tilt, MOST_TILT), abs=1e-6)
        if abs(after[5]) < 1.0:  # by the least turn that there is
            assert (limited * free.inv()).magnitude() == pytest.approx(max(0.0, tilt - MOST_TILT), abs=1e-6)
        np.testing.assert_array_equal(after[[0, 1, 2, 6]], np.clip(pose + change, space.low, space.high)[[0, 1, 2, 6]])
        np.testing.assert_allclose(space.moved(pose, space.change(pose, after))[3:6], after[3:6], atol=1e-9)


@pytest.mark.parametrize("where", ["air", "table"])
def test_inverse_kinematics_holds_for_tilted_hands_over_the_workspace(where: str) -> None:
    arm = Panda(rotation="xyz") if where == "air" else Tabletop("box", "test", "xyz")
    space, data = arm.workspace, mujoco.MjData(arm.model)
    places = itertools.product(*(np.linspace(space.low[i], space.high[i], 3) for i in range(3)))
    for place, direction, yaw in itertools.product(places, np.arange(0, 2 * np.pi, np.pi / 2), (-1.0, 1.0)):
        tilt = Rotation.from_rotvec(MOST_TILT * np.array([np.cos(direction), np.sin(direction), 0.0]))
        turned = tilt * Rotation.from_euler("z", yaw)
        joints, _ = arm._ik.solve(np.array(place), orientation.quaternion(turned.as_euler("xyz")), HOME)
        data.qpos[:7] = joints
        mujoco.mj_kinematics(arm.model, data)
        assert np.linalg.norm(data.site("tcp").xpos - place) < 1e-3, (place, direction, yaw)
        np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3), turned.as_matrix() @ POINTING_DOWN, atol=5e-3)
        assert np.all((joints >= arm._ik._low) & (joints <= arm._ik._high))


def test_a_reached_pose_is_near_in_place_and_orientation() -> None:
    env = jepa_envs.make("panda_reach", image_size=16, options={"rotation": "xyz"}).unwrapped
    goal_pose = np.array([0.5, 0.0, 0.25, 0.1, 0.1, -0.5, 0.5])

    def state(x: float, turn: tuple[float, float, float]) -> dict:
        turned = (Rotation.from_rotvec(turn) * Rotation.from_euler("xyz", goal_pose[3:6])).as_euler("xyz")
        env._simulation.place(np.array([x, 0.0, 0.25, *turned, 0.5]))
        return json.loads(json.dumps(env.state()))

    goal = state(0.5, (0, 0, 0))
    assert env.is_success(state(0.52, (0.06, -0.08, 0.17)), goal)  # 0.197 radians
    assert not env.is_success(state(0.52, (0.06, -0.08, 0.18)), goal)  # 0.206
    assert not env.is_success(state(0.526, (0, 0, 0)), goal)
    assert env.distance(state(0.52, (0, 0, 0.5)), goal) == pytest.approx(0.02, abs=1e-4)
    assert not env.straight and jepa_envs.make("panda_reach").unwrapped.straight
    env.close()


@pytest.mark.parametrize("task", ["panda_reach", "panda_reach_with_object", "panda_push"])
def test_states_restore_to_the_bit_and_tilts_beyond_the_limit_are_refused(task: str) -> None:
    env = jepa_envs.make(task, image_size=16, options={"rotation": "xyz"}).unwrapped
    env.reset(seed=3)
    state = json.loads(json.dumps(env.state()))
    actions = np.random.default_rng(0).uniform(env.action_space.low, env.action_space.high, (6, 7))
    ends = []
    for _ in range(2):
        env.restore(state)
        for action in actions:
            env.step(action)
        ends.append(env.state())
    assert ends[0] == ends[1]
    with pytest.raises(ValueError, match=r"target .* of shape \(7,\)"):
        env.restore(state | {"target": state["target"][:5]})
    if task != "panda_reach":
        with pytest.raises(ValueError, match="tilted by no more than 0.3"):
            env.restore(state | {"target": [0.5, 0.0, 0.2, 0.25, 0.25, 0.0, 0.5]})
    env.close()


@pytest.mark.parametrize("rotation", ["yaw", "xyz"])
def test_experts_reach_turned_goals(rotation: str) -> None:
    env = jepa_envs.make("panda_reach", image_size=16, options={"rotation": rotation}).unwrapped
    arm = env._simulation
    turns = []
    for seed in range(8):
        start, goal = env.sample_start_and_goal(np.random.default_rng(seed))
        expert = env.make_demonstrator("expert", np.random.default_rng(seed))
        turns.append(np.abs(np.array(goal["target"][3:-1]) - start["target"][3:-1]).max())
        arm.restore(start)
        for _ in range(25):
            arm.step(expert.act(arm.state(), goal).astype(float))
        assert env.is_success(arm.state(), goal), seed
    assert max(turns) > 0.5
    env.close()


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("panda_reach", [0.5410885061964363, -0.11510664311806484, 0.1322920571808584, 0.016527635528529094]),
        ("panda_push", [0.45445805013414936, -0.005665856467284375, 0.26828300845816305, 0.0, 1.0]),
    ],
)
def test_without_rotation_starts_are_those_of_earlier_versions(task: str, target: list[float]) -> None:
    """Drawn before hands could tilt."""
    env = jepa_envs.make(task, image_size=16).unwrapped
    assert env.sample_start_and_goal(np.random.default_rng(0))[0]["target"] == target
    assert [dim["name"] for dim in env.contract()["actions"]] == ["dx", "dy", "dz", "gripper"]
    env.close()


@pytest.mark.parametrize("wrong", [True, False, None, "roll", 3])
def test_other_rotations_are_refused(wrong: object) -> None:
    for make in (lambda: gym.make("jepa_robot/PandaPush-v0", rotation=wrong), lambda: Panda(rotation=wrong),
                 lambda: tabletop_workspace(wrong)):  # fmt: skip
        with pytest.raises(ValueError, match="rotation is .*, expected one of none, yaw, xyz"):
            make()
