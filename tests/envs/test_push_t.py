"""PushT: geometry, dynamics and criterion against gym-pusht and closed forms; its demonstrators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import jepa_envs
import numpy as np
import pytest
from jepa_envs.push_t import PushTEnv
from jepa_envs.push_t_board import PushTBoard, agent_of, block_of, clearance, coverage

# Poses and coverage that gym-pusht 0.1.8 on pymunk 6.11.1 gave for the same starts and actions, from rest.
REFERENCE = json.loads((Path(__file__).parent / "samples" / "gym_pusht.json").read_text())
GOAL = np.array([256.0, 256.0, np.pi / 4])


@pytest.fixture(scope="module")
def env() -> Iterator[PushTEnv]:
    env = jepa_envs.make("push_t")
    yield env.unwrapped
    env.close()


@pytest.fixture(scope="module")
def board() -> PushTBoard:
    return PushTBoard()


def turned(a: float, b: float) -> float:
    """Degrees from angle a to angle b."""
    return float(np.rad2deg((b - a + np.pi) % (2 * np.pi) - np.pi))


@pytest.mark.parametrize("number", range(len(REFERENCE)))
def test_moves_as_in_gym_pusht(board: PushTBoard, number: int) -> None:
    case = REFERENCE[number]
    board.place(np.array(case["agent"]), np.array(case["block"]))
    poses = []
    for action in case["actions"]:
        board.step(np.array(action))
        poses.append([*agent_of(board.data.qpos), *block_of(board.data.qpos)])
    ours, theirs = np.array(poses), np.array(case["poses"])
    np.testing.assert_allclose(ours[:, :2], theirs[:, :2], atol=0.01)
    assert np.linalg.norm(ours[:, 2:4] - theirs[:, 2:4], axis=1).max() < 3.0
    assert np.linalg.norm(ours[-1, 2:4] - theirs[-1, 2:4]) < 1.0
    assert abs(turned(ours[-1, 4], theirs[-1, 4])) < 1.0
    assert np.linalg.norm(theirs[-1, 2:4] - case["block"][:2]) > 6.0  # it was moved at all


def test_coverage_is_gym_pushts() -> None:
    seen = [(coverage(np.array(p[2:]), GOAL), c) for r in REFERENCE for p, c in zip(r["poses"], r["coverage"])]
    ours, theirs = np.array(seen).T
    assert theirs.max() > 0.2
    np.testing.assert_allclose(ours, theirs, atol=1e-4)  # what is stored is rounded


def test_coverage_of_known_overlaps() -> None:
    assert coverage(GOAL, GOAL) == pytest.approx(1.0)
    assert coverage(np.array([100.0, 100.0, 0.0]), np.array([400.0, 400.0, 0.0])) == 0.0
    # Shifted by 10 along the bar: 110 of 120 times 30 and 20 of 30 times 90 are left, of 6300.
    shifted = np.array([210.0, 200.0, 0.0])
    assert coverage(shifted, np.array([200.0, 200.0, 0.0])) == pytest.approx((110 * 30 + 20 * 90) / 6300)
    # Turned by half a turn about the middle of the bar: the bars coincide, the stems are on either side.
    upside_down = np.array([200.0, 230.0, np.pi])
    assert coverage(upside_down, np.array([200.0, 200.0, 0.0])) == pytest.approx(3600 / 6300)


def test_clearance_is_the_distance_from_the_t() -> None:
    pose = np.array([200.0, 200.0, 0.0])
    points = np.array([(200.0, 190.0), (200.0, 210.0), (263.0, 226.0), (220.0, 300.0), (200.0, 330.0), (264.0, 197.0)])
    np.testing.assert_allclose(clearance(points, pose), [10, 0, 3, 5, 10, 5])
    quarter = np.array([200.0, 200.0, np.pi / 2])  # clockwise in the picture: the stem points to the left
    assert clearance(np.array([60.0, 200.0]), quarter) == pytest.approx(20.0)


def test_the_t_lies_in_the_picture_where_its_pose_says(env: PushTEnv) -> None:
    """y runs down, and angles turn clockwise: the points of the T, and only those, have its colour."""
    large = jepa_envs.make("push_t", image_size=256).unwrapped
    for pose in (np.array([150.0, 300.0, 0.6]), np.array([350.0, 150.0, -2.0])):
        picture = large.render_goal(large.state_at([60, 60, *pose])).astype(int)
        x, y = np.meshgrid(np.arange(256) * 2 + 1.0, np.arange(256) * 2 + 1.0)
        distance = clearance(np.stack([x, y], -1), pose)
        slate = np.abs(picture - np.array([0.56, 0.64, 0.72]) * 255).max(-1) < 45
        assert slate[distance == 0].mean() > 0.97
        assert slate[distance > 5].mean() < 0.01
        blue = (picture[..., 2] > 200) & (picture[..., 0] < 120)
        agent = np.hypot(x - 60, y - 60)
        assert blue[agent < 13].all() and not blue[agent > 18].any()
    large.close()


def test_the_agent_follows_the_controllers_closed_form(board: PushTBoard) -> None:
    """Critically damped (k_p = 100, k_v = 20): x(t) = goal - d (1 + 10 t) exp(-10 t)."""
    board.place(np.array([100.0, 400.0]), np.array([400.0, 100.0, 0.0]))
    for step in range(1, 6):
        board.step(np.array([200.0, 300.0]))
        left = 100 * (1 + step) * np.exp(-step)
        np.testing.assert_allclose(agent_of(board.data.qpos), [200 - left, 300 + left], atol=6.0)  # its step is finite


def test_the_block_stands_still_when_nothing_touches_it(board: PushTBoard) -> None:
    board.place(np.array([100.0, 250.0]), np.array([256.0, 200.0, 0.3]))
    for _ in range(6):
        board.step(np.array([256.0, 250.0]))
    moved = block_of(board.data.qpos)
    assert np.linalg.norm(moved[:2] - [256, 200]) > 5
    for _ in range(10):
        board.step(np.array([60.0, 450.0]))
    np.testing.assert_allclose(block_of(board.data.qpos), moved, atol=3.0)
    still = board.state()["qpos"][:3]
    board.step(np.array([60.0, 450.0]))
    assert board.state()["qpos"][:3] == still


def test_walls_hold_the_block(board: PushTBoard) -> None:
    rng = np.random.default_rng(0)
    board.place(np.array([256.0, 400.0]), np.array([256.0, 200.0, 0.0]))
    for step in range(1500):
        if step % 7 == 0:
            there = block_of(board.data.qpos)[:2] + rng.normal(0, 80, 2)
            target = np.clip(there, 0, 512) if rng.random() < 0.5 else rng.choice([0.0, 512.0], 2)
        board.step(target)
        centre = board.data.qpos[:2] * 1000
        assert np.all(centre > 29.9) and np.all(centre < 482.1)
        board.check_values({"qpos": board.data.qpos})
    assert board.warnings() == {}


def test_success_is_twenty_units_and_twenty_degrees(env: PushTEnv) -> None:
    goal = env.state_at([100, 400, 256, 200, 3.1])
    for change, success in (
        ([0, 0, 0, 0, 0], True),
        ([19.9, 0, 0, 0, 0], True),
        ([20.1, 0, 0, 0, 0], False),
        ([0, 0, 0, -19.9, 0], True),
        ([12, 0, 12, 12, 0], False),  # four coordinates together
        ([10, 10, 9, 9, 0], True),
        ([0, 0, 0, 0, np.deg2rad(19.9)], True),  # across half a turn
        ([0, 0, 0, 0, np.deg2rad(-20.1)], False),
        ([0, 0, 0, 0, 2 * np.pi], True),
    ):
        state = env.state_at(np.array([100, 400, 256, 200, 3.1]) + change)
        assert env.is_success(state, goal) is success, change
    assert env.distance(env.state_at([103, 404, 256, 200, 3.1]), goal) == pytest.approx(0.005)
    assert env.distance(env.state_at([100, 400, 256, 200, 3.1 - 0.2]), goal) == pytest.approx(0.001 * np.rad2deg(0.2))


def test_poses_are_those_of_gym_pushts_state(env: PushTEnv) -> None:
    pose = [111.0, 222.0, 333.0, 150.0, 5.5]
    np.testing.assert_allclose(env.pose_of(env.state_at(pose)), pose, atol=1e-9)
    env.restore(env.state_at(pose))
    np.testing.assert_allclose(env.observe()["proprio"], pose[:2])
    assert env.reset(options={"goal_state": env.state_at([50, 50, *GOAL])})[1]["coverage"] < 1
    state = env.state_at([50, 50, *GOAL])
    assert env.reset(options={"state": state, "goal_state": state})[1]["coverage"] == pytest.approx(1.0)
    for wrong, message in (
        ([0, 0, 0], "expected agent x"),
        ([np.nan] * 5, "expected agent x"),
        ([600, 100, 256, 256, 0], r"the agent is at \(600, 100\), expected on the board"),
        ([100, 100, 256, -200, 0], "the block is at"),
    ):
        with pytest.raises(ValueError, match=message):
            env.state_at(wrong)


def test_relative_actions_are_from_the_agent(env: PushTEnv) -> None:
    relative = gym.make(jepa_envs.TASKS["push_t"], action="relative").unwrapped
    start = env.state_at([100, 400, 256, 200, 0])
    env.restore(start)
    relative.restore(start)
    env.step(np.array([160, 340]))
    relative.step(np.array([60, -60]))
    assert env.state() == relative.state()
    np.testing.assert_array_equal(relative.action_space.high, [100, 100])
    assert [d["name"] for d in relative.contract()["actions"]] == ["dx", "dy"]
    for _ in range(5):
        relative.step(np.array([-100, 100]))  # towards beyond the board
    assert np.all(relative.observe()["proprio"] >= 0) and np.all(relative.observe()["proprio"] <= 512)
    with pytest.raises(ValueError, match="action is 'sideways'"):
        gym.make(jepa_envs.TASKS["push_t"], action="sideways")


def run(env: PushTEnv, kind: str, seed: int, steps: int) -> tuple[int, np.ndarray]:
    """Steps until the goal is met (or ``steps``), and poses [steps + 1, 5], without pictures."""
    board = PushTBoard()
    rng = np.random.default_rng(seed)
    start, goal = env.sample_start_and_goal(rng)
    demonstrator = env.make_demonstrator(kind, rng)
    board.restore(start)
    poses = [env.pose_of(start)]
    while len(poses) <= steps and not env.is_success(board.state(), goal):
        action = demonstrator.act(board.state(), goal)
        if env.contract()["actions"][0]["name"] == "dx":
            action = np.clip(action + agent_of(board.data.qpos), 0, 512)
        board.step(action.astype(float))
        poses.append(env.pose_of(board.state()))
    return len(poses) - 1, np.array(poses)


@pytest.mark.parametrize("seeds", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_the_expert_gets_there(env: PushTEnv, seeds: int) -> None:
    steps = np.array([run(env, "expert", seed, 150)[0] for seed in range(seeds)])
    assert (steps < 150).mean() >= 0.95
    assert 30 < np.median(steps) < 90


def test_the_expert_gets_there_with_relative_actions() -> None:
    relative = gym.make(jepa_envs.TASKS["push_t"], action="relative").unwrapped
    assert sum(run(relative, "expert", seed, 150)[0] < 150 for seed in range(6)) == 6


@pytest.mark.parametrize(("kind", "least"), [("explore", 0.25), ("noisy", 0.15)])
def test_recorded_demonstrators_move_the_block(env: PushTEnv, kind: str, least: float) -> None:
    moved = []
    for seed in range(12):
        _, poses = run(env, kind, seed, 40)
        moved.append(np.linalg.norm(np.diff(poses[:, 2:4], axis=0), axis=1) > 0.5)
    assert np.concatenate(moved).mean() > least
