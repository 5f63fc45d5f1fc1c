"""Scripted demonstrators: the expert arrives, the explorer goes everywhere."""

from __future__ import annotations

import functools

import jepa_envs
import numpy as np
import pytest
from jepa_envs.panda import BOUND, HIGH, LOW, Panda
from jepa_envs.panda_reach import PandaReachEnv

KINDS = ("expert", "noisy", "explore")


@functools.cache
def task() -> PandaReachEnv:
    return jepa_envs.make("panda_reach").unwrapped


def test_expert_arrives_within_twenty_steps_from_fifty_starts() -> None:
    env = task()
    panda = Panda()  # the same simulation without pictures
    expert = task().make_demonstrator("expert", np.random.default_rng(0))
    for seed in range(50):
        start, goal = env.sample_start_and_goal(np.random.default_rng(seed))
        panda.restore(start)
        for _ in range(20):
            panda.step(expert.act(panda.state(), goal))
        assert env.is_success(panda.state(), goal), f"seed {seed}: {env.distance(panda.state(), goal):.3f} m"


def test_expert_goes_straight() -> None:
    start = np.array([0.36, -0.2, 0.15, 0.0])
    way = np.array([0.24, 0.4, 0.1, 0.0])
    expert = task().make_demonstrator("expert", np.random.default_rng(0))
    action = expert.act({"target": start}, {"target": start + way})
    np.testing.assert_allclose(action / np.linalg.norm(action), way / np.linalg.norm(way), atol=1e-6)
    assert action.max() == pytest.approx(0.05)


def trajectory(kind: str, seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and actions [steps, 4], as the environment would clamp them."""
    rng = np.random.default_rng(seed)
    target, goal = rng.uniform(LOW, HIGH), {"target": rng.uniform(LOW, HIGH)}
    demonstrator, targets, actions = task().make_demonstrator(kind, rng), [], []
    for _ in range(steps):
        actions.append(demonstrator.act({"target": target}, goal))
        target = np.clip(target + actions[-1], LOW, HIGH)
        targets.append(target)
    return np.array(targets), np.array(actions)


def test_explorer_covers_the_workspace_and_the_gripper_evenly() -> None:
    targets = np.concatenate([trajectory("explore", seed, 50)[0] for seed in range(60)])
    share = (targets - LOW) / (HIGH - LOW)
    cells, _ = np.histogramdd(share[:, :3], bins=3, range=[(0, 1)] * 3)
    assert cells.min() > len(targets) / 27 / 3
    assert np.histogram(share[:, 3], bins=4, range=(0, 1))[0].min() > len(targets) / 4 / 2


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_inside_the_bounds_and_repeat_with_the_seed(kind: str) -> None:
    _, actions = trajectory(kind, 0, 40)
    assert actions.dtype == np.float32 and np.all(np.abs(actions) <= BOUND)
    np.testing.assert_array_equal(actions, trajectory(kind, 0, 40)[1])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'dance' is unknown.*expert"):
        task().make_demonstrator("dance", np.random.default_rng(0))
