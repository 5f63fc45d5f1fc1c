"""The tasks with an object: their criteria at their limits, starts and goals, sub-goals, pictures, demonstrators."""

from __future__ import annotations

import functools
import json
import sys

import gymnasium as gym
import jepa_envs
import numpy as np
import pytest
from jepa_envs.panda_grasp import PandaGraspEnv
from jepa_envs.panda_object_task import PandaObjectTask
from jepa_envs.panda_pick_place import PandaPickPlaceEnv
from jepa_envs.panda_push import PandaPushEnv
from jepa_envs.panda_reach_with_object import PandaReachWithObjectEnv
from jepa_envs.workspace import RotationName
from scipy.spatial.transform import Rotation
from script import load_script

TASKS = ("panda_grasp", "panda_reach_with_object", "panda_pick_place", "panda_push")
OTHERS = ("panda_grasp_box", "panda_reach_with_object_box", "panda_pick_place_box", "panda_push_cup")
VARIANTS = [
    *((name, "none") for name in TASKS + OTHERS),
    *(("panda_pick_place_box", "yaw"), ("panda_grasp", "yaw")),
    *((name, "xyz") for name in ("panda_grasp", "panda_reach_with_object_box", "panda_pick_place_box", "panda_push")),
]


@functools.cache
def task(name: str, rotation: RotationName = "none") -> PandaObjectTask:
    return gym.make(jepa_envs.TASKS[name], rotation=rotation).unwrapped


def pair(env: PandaObjectTask, seed: int = 0) -> tuple[dict, dict]:
    return env.sample_start_and_goal(np.random.default_rng(seed))


def with_object(state: dict, position: list[float] | None = None, euler: tuple[float, ...] | None = None) -> dict:
    """The state with its object put elsewhere, or turned (Euler xyz, degrees)."""
    state = json.loads(json.dumps(state))
    if position is not None:
        state["qpos"][9:12] = [float(value) for value in position]
    if euler is not None:
        x, y, z, w = Rotation.from_euler("xyz", euler, degrees=True).as_quat()
        state["qpos"][12:16] = [w, x, y, z]
    return state


def place(state: dict) -> np.ndarray:
    return np.array(state["qpos"][9:12])


def test_objects_are_chosen_by_name_or_option() -> None:
    assert task("panda_grasp").object == "cup" and task("panda_grasp_box").object == "box"
    assert task("panda_push").object == "box" and task("panda_push_cup").object == "cup"
    env = gym.make("jepa_robot/PandaGrasp-v0", object="box").unwrapped
    assert env.contract()["task"] == "panda_grasp_box" == gym.make("jepa_robot/PandaGraspBox-v0").unwrapped.name
    cup = pair(task("panda_grasp"))[0]
    with pytest.raises(ValueError, match="is a state of task 'panda_grasp', expected one of 'panda_grasp_box'"):
        env.restore(cup)
    with pytest.raises(ValueError, match="object is 'sword', expected one of cup, box"):
        gym.make("jepa_robot/PandaGrasp-v0", object="sword")


def test_actions_and_proprioception_have_a_yaw_only_with_rotation() -> None:
    plain, turning = task("panda_grasp"), task("panda_grasp", rotation="yaw")
    names = [dim["name"] for dim in plain.contract()["actions"]]
    assert names == ["dx", "dy", "dz", "gripper"]
    assert [dim["name"] for dim in turning.contract()["actions"]] == ["dx", "dy", "dz", "dyaw", "gripper"]
    turning.reset(seed=0)
    before = turning.observe()["proprio"]
    after = turning.step(np.array([0.01, -0.02, -0.03, 0.1, 0.25]))[0]["proprio"]
    np.testing.assert_allclose(after - before, [0.01, -0.02, -0.03, 0.1, 0.25], atol=5e-3)
    plain.reset(seed=0)
    before = plain.observe()["proprio"]
    after = plain.step(np.array([0.01, -0.02, -0.03, 0.25]))[0]["proprio"]
    np.testing.assert_allclose(after - before, [0.01, -0.02, -0.03, 0.25], atol=5e-3)


@pytest.mark.parametrize(("name", "rotation"), VARIANTS)
def test_goals_stand_still_where_they_are(name: str, rotation: RotationName) -> None:
    """Nothing happens to a start or a goal in which the robot does nothing for a second."""
    env = task(name, rotation)
    for seed in range(3):
        start, goal = pair(env, seed)
        for state in (start, goal):
            env.restore(state)
            for _ in range(5):
                env.step(np.zeros(env.action_space.shape))
            assert np.linalg.norm(place(env.state()) - place(state)) < 0.002, f"seed {seed}"
        assert env.is_success(env.state(), goal), f"seed {seed}"


def test_grasped_is_touched_by_both_fingers_and_two_centimetres_up() -> None:
    env: PandaGraspEnv = task("panda_grasp")
    _, goal = pair(env)
    rest = 0.036  # the cup's centre on the table
    grip = 0.012

    def held(lift: float) -> dict:
        return env.state_holding([0.5, 0.1, rest + grip + lift])

    assert env.is_success(held(0.022), goal) and not env.is_success(held(0.018), goal)
    high = held(0.05)
    centre = place(high)
    assert env.is_success(high, goal)
    assert not env.is_success(with_object(high, centre + [0, 0.004, 0]), goal), "one finger does not touch it"
    assert not env.is_success(with_object(high, centre - [0, 0, 0.06]), goal), "below the fingers"
    assert env.distance(high, goal) == pytest.approx(np.linalg.norm(centre - place(goal)))


def test_reached_with_the_object_is_held_within_two_and_a_half_centimetres() -> None:
    env: PandaReachWithObjectEnv = task("panda_reach_with_object")
    goal = env.state_holding([0.5, 0.0, 0.2])
    near, far = env.state_holding([0.5247, 0.0, 0.2]), env.state_holding([0.5253, 0.0, 0.2])
    assert env.distance(near, goal) == pytest.approx(0.0247, abs=1e-4)
    assert env.is_success(near, goal) and not env.is_success(far, goal)
    held = env.state_holding([0.51, 0.0, 0.2])
    loose = with_object(held, place(held) + [0, 0.004, 0])
    assert env.is_success(held, goal)
    assert env.distance(loose, goal) < 0.025 and not env.is_success(loose, goal)


def test_placed_is_within_three_centimetres_upright_and_let_go() -> None:
    env: PandaPickPlaceEnv = task("panda_pick_place")
    goal = env.state_with([0.5, 0.1, 0.15, 0, 0], [0.5, 0.1])
    away = [0.5, -0.1, 0.2, 0, 0]
    assert env.is_success(env.state_with(away, [0.5, 0.1297]), goal), "wherever the hand is"
    assert not env.is_success(env.state_with(away, [0.5, 0.1303]), goal)
    stands = env.state_with(away, [0.5, 0.11])
    assert env.is_success(with_object(stands, euler=(10, 10, 50)), goal)  # 14.1 degrees off the vertical
    assert not env.is_success(with_object(stands, euler=(11, 11, 50)), goal)  # 15.5 degrees
    held = env.state_holding([0.5, 0.1, 0.036 + 0.012 + 0.01])
    assert env.distance(held, goal) < 0.03 and not env.is_success(held, goal)


def test_pushed_is_within_three_centimetres_and_upright() -> None:
    env: PandaPushEnv = task("panda_push")
    hand = [0.42, -0.1, 0.1, 0, 1.0]
    goal = env.state_with(hand, [0.5, 0.0])
    assert env.is_success(env.state_with(hand, [0.5297, 0.0], 1.0), goal), "however it is turned"
    assert not env.is_success(env.state_with(hand, [0.5303, 0.0]), goal)
    assert not env.is_success(with_object(goal, euler=(20, 0, 0)), goal)


@pytest.mark.parametrize("name", TASKS)
def test_starts_and_goals_are_as_the_task_says(name: str) -> None:
    env = task(name)
    pairs = [pair(env, seed) for seed in range(25)]
    way = np.array([np.linalg.norm(place(goal) - place(start)) for start, goal in pairs])
    heights = np.array([[place(state)[2] for state in both] for both in pairs]) - env._shape.half_height
    on_table = np.abs(heights) < 0.001
    held = np.array([[env._judged(env._simulation.data_of(state))[3] for state in both] for both in pairs], bool)
    closedness = np.array([[state["target"][4] for state in both] for both in pairs])
    if name == "panda_grasp":
        assert np.all(on_table[:, 0]) and np.all(held == [False, True]) and np.all(closedness[:, 0] == 0)
        np.testing.assert_allclose(heights[:, 1], 0.06, atol=0.003)
    if name == "panda_reach_with_object":
        assert np.all(held) and way.min() > 0.098 and heights.min() > 0.015
        assert np.ptp(heights) > 0.15
    if name == "panda_pick_place":
        assert np.all(on_table) and not held.any() and np.all(closedness == 0) and way.min() >= 0.12
    if name == "panda_push":
        assert np.all(on_table) and np.all(closedness == 1) and way.min() >= 0.08 and way.max() <= 0.18
        for start, goal in pairs:  # the hand is behind the object and higher
            assert goal["target"][2] == 0.2
            behind = np.array(goal["target"][:2]) - place(goal)[:2]
            along = (place(goal) - place(start))[:2]
            assert behind @ along < -0.99 * np.linalg.norm(behind) * np.linalg.norm(along)


@pytest.mark.parametrize(
    ("name", "rotation"), [("panda_pick_place", "none"), ("panda_pick_place_box", "yaw"), ("panda_pick_place", "xyz")]
)
def test_subgoals_are_grasped_near_and_placed(name: str, rotation: RotationName) -> None:
    env: PandaPickPlaceEnv = task(name, rotation)
    start, goal = pair(env, 3)
    present = env.state()
    grasped, near, placed = env.subgoals(start, goal)
    assert env.state() == present
    assert placed == goal and env.is_success(placed, goal)
    lift = [0, 0, 0.06]
    np.testing.assert_allclose(place(grasped), place(start) + lift, atol=0.003)
    np.testing.assert_allclose(place(near), place(goal) + lift, atol=0.003)
    for state in (grasped, near):
        assert env._judged(env._simulation.data_of(state))[3] and not env.is_success(state, goal)
    pictures = [env.render_goal(state).astype(int) for state in (start, grasped, near, placed)]
    for before, after in zip(pictures, pictures[1:]):
        assert (np.abs(after - before).max(-1) > 30).sum() > 50
    with pytest.raises(ValueError, match="expected over the mat"):
        env.subgoals(start, with_object(goal, [0.9, 0.0, 0.036]))


def test_subgoals_look_like_the_goal() -> None:
    env = jepa_envs.make("panda_pick_place", variation="all").unwrapped
    start, goal = pair(env)
    assert all(state["appearance"] == goal["appearance"] for state in env.subgoals(start, goal))
    env.close()


@pytest.mark.parametrize("name", TASKS + OTHERS)
def test_impossible_goals_are_refused(name: str) -> None:
    env = task(name)
    start, goal = pair(env)
    env.restore(start)
    for wrong in (
        with_object(goal, [0.5, 0.4, 0.036]),
        with_object(goal, [0.5, 0.0, -0.02]),
        with_object(goal, [0.5, 0.0, 0.9]),
        goal | {"target": [0.9, 0.0, 0.2, 0.0, 0.0]},
    ):
        reset, measure = lambda goal: env.reset(options={"goal_state": goal}), lambda goal: env.distance(start, goal)
        for refuse in (env.render_goal, reset, measure):
            with pytest.raises(ValueError, match=r"object's centre is at|outside the workspace") as caught:
                refuse(wrong)
            assert "\n" not in str(caught.value)
    assert env.state() == start
    for impossible in (lambda: env.state_with([0.5, 0, 0.2, 0, 0], [0.9, 0]), lambda: env.state_holding([0.5, 0, 0.9])):
        with pytest.raises(ValueError, match=r"object's centre is at|outside the workspace"):
            impossible()
    assert env.state() == start


@pytest.mark.parametrize("name", ["panda_pick_place", "panda_pick_place_box"])
def test_the_front_camera_sees_the_object_all_over_the_mat(name: str) -> None:
    env = task(name)
    for x in (0.40, 0.50, 0.60):
        for y in (-0.18, 0.0, 0.18):
            hand = [0.62 if x < 0.5 else 0.38, -0.2 if y > 0 else 0.2, 0.3, 0, 0]
            red, green, blue = np.moveaxis(env.render_goal(env.state_with(hand, [x, y])).astype(int), -1, 0)
            is_cup, is_box = (green > red + 60) & (green > blue + 40), (blue > red + 60) & (green > 100)
            seen = is_cup if env.object == "cup" else is_box
            assert seen.sum() >= 10, (x, y)


@pytest.mark.parametrize(("name", "rotation"), VARIANTS)
def test_experts_succeed_and_stay_there(name: str, rotation: RotationName) -> None:
    """Simulated without pictures; `scripts/demonstrator_success.py` does it for 200 starts."""
    env = task(name, rotation)
    table = env._simulation
    for seed in range(3):
        start, goal = pair(env, seed)
        expert = env.make_demonstrator("expert", np.random.default_rng(seed))
        table.restore(start)
        for _ in range(35):
            env._act(expert.act(table.state(), goal).astype(float))
        assert env.is_success(table.state(), goal), f"seed {seed}: {env.distance(table.state(), goal):.3f} m"


@pytest.mark.parametrize("name", TASKS)
def test_noisy_experts_and_explorers_move_the_object_in_ways_of_their_own(name: str) -> None:
    env = task(name)
    table = env._simulation
    for kind, least in (("noisy", 0.03), ("explore", 0.05)):
        moved, ends = [], []
        for seed in range(5):
            start, goal = pair(env, 0)
            demonstrator = env.make_demonstrator(kind, np.random.default_rng(seed))
            table.restore(start)
            before = place(start)
            for _ in range(40):
                env._act(demonstrator.act(table.state(), goal).astype(float))
                after = place(table.state())
                moved.append(np.linalg.norm(after - before) > 0.001)
                before = after
            ends.append(table.state()["target"])
        assert np.mean(moved) > least, kind
        assert np.std(ends, axis=0)[:3].max() > (0.001 if kind == "noisy" else 0.02), kind


def test_the_script_counts_successes_and_moves(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_script("demonstrator_success")
    env = jepa_envs.make("panda_reach_with_object", image_size=16).unwrapped
    run = module.run(env, "expert", seed=0, steps=12)
    assert run.success[-1] and not run.success[0] and run.first == run.success.tolist().index(True) + 1
    start, goal = pair(env)
    farthest = 0.06 * np.sqrt(3)  # metres that a held object goes in a step: the bounds' and a little of the servos'
    assert sum(run.moved) >= (np.linalg.norm(place(goal) - place(start)) - 0.025) / farthest
    nothing = module.Run(run.success, [None] * 12)
    assert module.moves([nothing]) == "" and "100% of all" in module.moves([module.Run(run.success, [True] * 12)])
    env.close()
    monkeypatch.setattr(sys, "argv", ["x", "panda_push", "--episodes", "2", "--kind", "explore", "--least", "1.0"])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 1 and "panda_push explore: 0 of 2" in capsys.readouterr().out
