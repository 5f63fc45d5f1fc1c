"""The reach task as Gymnasium and the planner see it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import gymnasium as gym
import jepa_envs
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from jepa_envs.panda import HIGH, LOW
from jepa_envs.panda_reach import PandaReachEnv

from jepa_robot.spec import Contract


@pytest.fixture(scope="module")
def env() -> Iterator[PandaReachEnv]:
    env = jepa_envs.make("panda_reach")
    yield env.unwrapped
    env.close()


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_passes_gymnasiums_checker() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("jepa_robot/PandaReach-v0", render_mode="rgb_array").unwrapped)


def test_make_knows_short_names_ids_and_sizes() -> None:
    env = jepa_envs.make("jepa_robot/PandaReach-v0", image_size=96)
    assert env.reset(seed=0)[0]["front"].shape == (96, 96, 3)
    assert env.unwrapped.contract()["cameras"][0]["height"] == 96
    env.close()
    with pytest.raises(ValueError, match="panda_reach"):
        jepa_envs.make("panda_dance")
    with pytest.raises(ValueError, match="image_size"):
        jepa_envs.make("panda_reach", image_size=0)


def test_episode_is_truncated_after_fifty_steps_and_never_terminated() -> None:
    env = jepa_envs.make("panda_reach")
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(50)]
    assert ends == [(False, False)] * 49 + [(False, True)]
    env.close()


def test_same_seed_same_episode_to_the_bit(env: PandaReachEnv) -> None:
    other = jepa_envs.make("panda_reach").unwrapped
    (a, info_a), (b, info_b) = env.reset(seed=7), other.reset(seed=7)
    assert same(a, b) and info_a == info_b
    action = np.array([0.05, -0.03, 0.02, 0.2], np.float32)
    assert same(env.step(action)[0], other.step(action)[0])
    assert not same(a, other.reset(seed=8)[0])
    other.close()


def test_restored_state_gives_the_same_observations_to_the_bit(env: PandaReachEnv) -> None:
    env.reset(seed=1)
    env.step(env.action_space.high)
    state = env.state()
    actions = np.random.default_rng(0).uniform(env.action_space.low, env.action_space.high, (5, 4))
    first = [env.observe()] + [env.step(a)[0] for a in actions]
    env.restore(state)
    second = [env.observe()] + [env.step(a)[0] for a in actions]
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


def test_goal_picture_shows_the_state_and_leaves_the_simulation(env: PandaReachEnv) -> None:
    env.reset(seed=2)
    env.step(env.action_space.high)
    start, goal = env.sample_start_and_goal(np.random.default_rng(3))
    before, state = env.observe(), env.state()
    picture = env.render_goal(goal)
    assert env.state() == state and same(env.observe(), before)
    env.restore(goal)
    np.testing.assert_array_equal(env.observe()["front"], picture)
    assert not np.array_equal(env.render_goal(start), picture)


def test_starts_and_goals_fill_the_workspace_apart_from_each_other(env: PandaReachEnv) -> None:
    rng = np.random.default_rng(4)
    present = env.state()
    pairs = [env.sample_start_and_goal(rng) for _ in range(60)]
    assert env.state() == present
    assert min(env.distance(*pair) for pair in pairs) >= 0.0999
    poses = np.array([state["target"] for pair in pairs for state in pair])
    assert np.all(poses >= LOW) and np.all(poses <= HIGH)
    assert np.all(poses.min(0) < LOW + 0.1 * (HIGH - LOW)) and np.all(poses.max(0) > HIGH - 0.1 * (HIGH - LOW))


def test_success_is_two_and_a_half_centimetres(env: PandaReachEnv) -> None:
    def state_at(x: float) -> dict:
        env._simulation.place(np.array([x, 0.0, 0.25, 0.5]))
        return env.state()

    goal, near, far = state_at(0.5), state_at(0.5249), state_at(0.5251)
    assert env.distance(near, goal) == pytest.approx(0.0249, abs=2e-5)
    assert env.is_success(near, goal) and not env.is_success(far, goal)
    _, info = env.reset(seed=0, options={"state": far, "goal_state": goal})
    assert info["success"] is False and info["distance_m"] == pytest.approx(0.0251, abs=2e-5)
    _, reward, _, _, info = env.step(np.array([-0.01, 0, 0, 0]))
    assert info["success"] is True and reward == 1.0


def test_wrong_actions_and_options_are_refused(env: PandaReachEnv) -> None:
    env.reset(seed=0)
    before = env.state()
    for action in (np.array([np.nan, 0, 0, 0]), np.array([0, 0, np.inf, 0]), np.zeros(3)):
        with pytest.raises(ValueError, match="action"):
            env.step(action)
    with pytest.raises(ValueError, match="goal_image"):
        env.reset(options={"goal_image": None})
    with pytest.raises(ValueError, match="state"):
        env.reset(options={"goal_state": {"qpos": []}})
    assert env.state() == before


def test_contract_is_one_and_fits_the_spaces(env: PandaReachEnv) -> None:
    contract = Contract.from_dict(env.contract())
    assert contract.to_dict()["task"] == "panda_reach" and contract.fps == 5.0
    np.testing.assert_array_equal(contract.action_high, env.action_space.high)
    np.testing.assert_array_equal(contract.action_low, env.action_space.low)
    np.testing.assert_allclose(contract.state_low, LOW, atol=1e-6)
    np.testing.assert_array_equal(contract.integration_matrix(), np.eye(4))
    assert env.observation_space[contract.camera.name].shape == (contract.camera.height, contract.camera.width, 3)


def test_offers_the_goal_image_protocol(env: PandaReachEnv) -> None:
    assert isinstance(env, jepa_envs.GoalImageTask)


def test_the_camera_sees_hand_and_shadow_from_all_corners_and_every_motion(env: PandaReachEnv) -> None:
    """2.5 cm along any axis changes many pixels, at each corner of the workspace."""
    for corner in itertools.product((0.0, 1.0), repeat=3):
        pose = np.append(LOW[:3] + np.array(corner) * (HIGH - LOW)[:3], 0.5)
        env._simulation.place(pose)
        picture = env.observe()["front"].astype(int)
        red, green, blue = np.moveaxis(picture, -1, 0)
        assert ((red > 120) & (green < 0.62 * red) & (blue < 40)).sum() >= 25, f"hand at {pose}"
        assert (picture.max(-1) < 32).sum() >= 15, f"shadow at {pose}"
        for axis in range(3):
            moved = pose.copy()
            moved[axis] += 0.025 * (1 - 2 * corner[axis])
            env._simulation.place(moved)
            change = np.abs(env.observe()["front"].astype(int) - picture).max(-1) > 30
            assert change.sum() >= 25, f"axis {axis} at {pose}"
