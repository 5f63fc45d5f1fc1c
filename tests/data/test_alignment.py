"""The estimated lag of actions, on made-up robots whose lag is known and on the sample."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jepa_robot.data.alignment import LAGS, AlignmentEstimator
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.spec import Camera, Contract, Dim

SAMPLE = Path(__file__).parents[2] / "datasets" / "sample_panda_reach.h5"
STEP = 0.05


def dims(prefix: str, count: int, unit: str = "unknown") -> tuple[Dim, ...]:
    return tuple(Dim(f"{prefix}{i}", unit, "unknown", -1.0, 1.0) for i in range(count))


def contract(actions: int = 3, states: int = 5, unit: str = "unknown") -> Contract:
    return Contract("toy", (Camera("front", 8, 8),), 5.0, dims("a", actions), dims("s", states, unit))


def coloured(rng: np.random.Generator, steps: int, colour: float) -> np.ndarray:
    """Actions of unit variance [steps, 3], each ``colour`` times the one before plus noise."""
    actions = np.zeros((steps, 3))
    actions[0] = rng.normal(size=3)
    for t in range(1, steps):
        actions[t] = colour * actions[t - 1] + np.sqrt(1 - colour**2) * rng.normal(size=3)
    return actions


def robot(rng, steps, lag, colour=0.0, noise=0.0, targets=False):
    """States float32 [steps + 1, 5] and actions float32 [steps, 3]; action t moves the robot from frame t + lag on.

    The first three states follow the actions, the last two stand still but for noise.
    """
    spare = 5
    actions = coloured(rng, steps + 2 * spare, colour)
    states = np.zeros((len(actions) + 1, 5))
    for t, action in enumerate(actions):
        states[t + 1, :3] = states[t, :3] + STEP * (action + noise * rng.normal(size=3))
    states += 0.2 * noise * STEP * rng.normal(size=states.shape)
    commands = states[1:, :3] if targets else actions
    chosen = slice(spare + lag, spare + lag + steps)
    return states[spare : spare + steps + 1].astype(np.float32), commands[chosen].astype(np.float32)


def estimate(lag, seed=0, episodes=20, steps=40, of=contract(), **how):
    estimator = AlignmentEstimator(of)
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        estimator.add(*robot(rng, steps, lag, **how))
    return estimator.estimate()


@pytest.mark.parametrize("lag", range(-2, 3))
@pytest.mark.parametrize("how", [{}, {"noise": 0.5}, {"colour": 0.9, "noise": 0.3}, {"colour": 0.95, "targets": True}])
def test_a_shift_is_found(lag, how):
    result = estimate(lag, **how)
    assert result.best == lag and result.shifted == (lag != 0)
    assert set(result.r2) == set(LAGS) and max(result.r2.values()) == result.r2[lag]
    assert result.rows == 20 * (40 - 6)
    assert result.targets == (("a0", "a1", "a2") if how.get("targets") else ())


@pytest.mark.parametrize("lag", range(-2, 3))
def test_coloured_actions_whose_neighbours_explain_nearly_as_much(lag):
    """The wrong lags beside the right one have nearly its R2, and the right one is found all the same."""
    for seed in range(3):
        result = estimate(lag, seed=seed, colour=0.97, noise=0.7)
        beside = max(result.r2.get(lag - 1, 0), result.r2.get(lag + 1, 0))
        assert beside > 0.85 * result.r2[lag]  # 0.94 in the long run
        assert result.best == lag


def test_what_is_right_is_never_called_shifted():
    """Few, noisy and coloured steps: whatever comes out best, it is not claimed."""
    for seed in range(10):
        for how in ({"colour": 0.97, "noise": 1.0}, {"noise": 1.0}, {"colour": 0.9, "noise": 0.3, "targets": True}):
            assert not estimate(0, seed=seed, episodes=3, steps=25, **how).shifted


def test_a_controller_that_reacts_to_where_it_is():
    """Feedback makes actions depend on the change before: that is no shift."""
    rng = np.random.default_rng(0)
    estimator = AlignmentEstimator(contract(3, 3))
    for _ in range(20):
        goal, state = rng.normal(size=3), rng.normal(size=3)
        states, actions = [state], []
        for _ in range(40):
            actions.append(np.clip(0.3 * (goal - states[-1]), -0.2, 0.2))
            states.append(states[-1] + actions[-1] + 0.03 * rng.normal(size=3))
        estimator.add(np.array(states, np.float32), np.array(actions, np.float32))
    result = estimator.estimate()
    assert result.best == 0 and not result.shifted


@pytest.mark.parametrize("lag", [-2, -1, 1, 2])
def test_one_row_that_does_not_fit_hides_no_shift(lag):
    """Without noise it is all that is left: a robot that ran into a wall once."""
    estimator, rng = AlignmentEstimator(contract()), np.random.default_rng(3)
    for _ in range(4):
        states, actions = robot(rng, 60, lag)
        estimator.add(states, actions)
    actions[30] += 3.0
    estimator.add(states, actions)
    result = estimator.estimate()
    assert result.best == lag and result.r2[lag] > 0.9 and result.shifted


def test_r2_is_the_share_that_actions_explain():
    """Noise of the actions' size: half of the change is theirs."""
    estimator = AlignmentEstimator(contract(3, 3))
    rng = np.random.default_rng(1)
    for _ in range(50):
        actions, noise = rng.normal(size=(2, 100, 3))
        states = np.concatenate([np.zeros((1, 3)), np.cumsum(actions + noise, axis=0)])
        estimator.add(states.astype(np.float32), actions.astype(np.float32))
    result = estimator.estimate()
    assert result.r2[0] == pytest.approx(0.5, abs=0.03)
    assert all(abs(result.r2[lag]) < 0.02 for lag in LAGS if lag != 0)


def test_states_that_no_action_moves_do_not_count():
    assert estimate(0, noise=0.3).states == ("s0", "s1", "s2")


def test_the_order_of_episodes_and_their_number_do_not_matter_to_memory():
    estimator = AlignmentEstimator(contract())
    before = estimator._sums.nbytes
    rng = np.random.default_rng(0)
    for _ in range(30):
        estimator.add(*robot(rng, 40, 0))
    assert estimator._sums.nbytes == before


def test_angles_that_turn_around():
    """The same robot with angles wrapped to [-pi, pi): only a contract that says rad knows."""
    wrapped = AlignmentEstimator(contract(3, 3, unit="rad"))
    plain = AlignmentEstimator(contract(3, 3))
    rng = np.random.default_rng(2)
    for _ in range(10):
        actions = coloured(rng, 60, 0.5)
        states = np.concatenate([np.zeros((1, 3)), np.cumsum(actions, axis=0)])
        states = (states + np.pi) % (2 * np.pi) - np.pi
        wrapped.add(states.astype(np.float32), actions.astype(np.float32))
        plain.add(states.astype(np.float32), actions.astype(np.float32))
    assert wrapped.estimate().r2[0] > 0.9 and wrapped.estimate().best == 0
    assert plain.estimate().r2.get(0, 0.0) < 0.6


@pytest.mark.parametrize(
    ("episode", "reason"),
    [
        (lambda rng: robot(rng, 12, 0), "too few steps"),
        (lambda rng: (np.zeros((101, 5), np.float32), rng.normal(size=(100, 3)).astype(np.float32)), "ever changes"),
        (lambda rng: (robot(rng, 100, 0)[0], rng.normal(size=(100, 3)).astype(np.float32)), "explain the changes"),
        (lambda rng: (robot(rng, 100, 0)[0], np.full((100, 3), np.nan, np.float32)), "too few steps"),
        (lambda rng: (robot(rng, 100, 0)[0], np.ones((100, 3), np.float32)), "explain the changes of no"),
        (lambda rng: robot(rng, 3, 0), "too few steps"),
    ],
)
def test_what_cannot_be_estimated(episode, reason):
    estimator = AlignmentEstimator(contract())
    estimator.add(*episode(np.random.default_rng(0)))
    result = estimator.estimate()
    assert (result.best, result.shifted, result.r2) == (None, False, {}) and reason in result.reason


def test_nothing_added():
    assert AlignmentEstimator(contract()).estimate().reason == "too few steps"


def test_rows_with_nan_are_left_out():
    estimator, rng = AlignmentEstimator(contract()), np.random.default_rng(0)
    for _ in range(10):
        states, actions = robot(rng, 40, 1)
        actions[20, 1] = np.nan
        estimator.add(states, actions)
    result = estimator.estimate()
    assert result.best == 1 and result.shifted and result.rows == 10 * (40 - 6 - 1)


@pytest.mark.parametrize("lag", [-1, 0, 1])
def test_the_sample(lag):
    with TrajectoryReader(SAMPLE) as reader:
        estimator = AlignmentEstimator(reader.contract)
        for index in range(len(reader)):
            episode = reader.read(index)
            actions = np.roll(episode.actions, -lag, axis=0)
            estimator.add(episode.states, actions)
        result = estimator.estimate()
    assert result.best == lag and result.shifted == (lag != 0)
    assert result.r2[lag] > 0.9


def test_an_action_that_is_added_is_no_target():
    """It may follow the state closely by chance; the contract says what it is."""
    of = contract(3, 5)
    added = tuple(dataclasses.replace(d, integrates=f"s{i}") for i, d in enumerate(of.actions))
    assert estimate(0, of=dataclasses.replace(of, actions=added), targets=True).targets == ()
