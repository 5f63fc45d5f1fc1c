"""The reach task: its names, lengths, goals and criterion, and what its camera sees. See test_tasks.py, too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jepa_envs
import numpy as np
import pytest
from jepa_envs.panda import HIGH, LOW
from jepa_envs.panda_reach import PandaReachEnv

from jepa_robot.spec import Contract


@pytest.fixture(scope="module")
def env() -> Iterator[PandaReachEnv]:
    env = jepa_envs.make("panda_reach")
    yield env.unwrapped
    env.close()


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


def test_contract_is_one_and_fits_the_spaces(env: PandaReachEnv) -> None:
    contract = Contract.from_dict(env.contract())
    assert contract.to_dict()["task"] == "panda_reach" and contract.fps == 5.0
    np.testing.assert_array_equal(contract.action_high, env.action_space.high)
    np.testing.assert_array_equal(contract.action_low, env.action_space.low)
    np.testing.assert_allclose(contract.state_low, LOW, atol=1e-6)
    np.testing.assert_array_equal(contract.integration_matrix(), np.eye(4))
    assert env.observation_space[contract.camera.name].shape == (contract.camera.height, contract.camera.width, 3)


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
