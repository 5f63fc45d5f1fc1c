"""What only all episodes together show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jepa_robot.data.totals import Totals, clipped_actions, constant_dims, unlikely_units
from jepa_robot.data.trace import Trace
from jepa_robot.spec import Camera, Contract, Dim

CONTRACT = Contract(
    task="toy",
    cameras=(Camera("front", 8, 8),),
    fps=10.0,
    actions=(
        Dim("dx", "m", "base", -0.1, 0.1, "x"),
        Dim("dyaw", "rad", "base", -1.0, 1.0, "yaw"),
        Dim("grip", "1", "base", 0.0, 1.0),
    ),
    states=(Dim("x", "m", "base", -5.0, 5.0), Dim("yaw", "rad", "base", -4.0, 4.0)),
)


def trace(seed: int = 0, steps: int = 200, limit: float = np.inf) -> Trace:
    """States are the sums of actions plus noise; velocities end at ``limit`` deviations; a gripper is 0 or 1."""
    rng = np.random.default_rng(seed)
    moves = np.clip(rng.normal(size=(steps, 2)), -limit, limit) * [0.02, 0.2]
    moves[0] = 0.0
    states = np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
    states += 1e-3 * rng.normal(size=states.shape)
    grip = rng.integers(0, 2, (steps, 1))
    return Trace(
        name=f"demo_{seed}", states=states.astype(np.float32),
        actions=np.hstack([np.clip(moves, [-0.1, -1], [0.1, 1]), grip]).astype(np.float32), times=None, kind="expert",
        blank=np.zeros(steps + 1, bool), repeated=np.zeros(steps, bool), digest=bytes([seed]),
    )


def found(*traces: Trace, contract: Contract = CONTRACT) -> list[tuple[str, str]]:
    totals = Totals(contract)
    findings = [f for t in traces for f in totals.add(t)] + totals.findings()
    return [(f.kind, f.message) for f in findings]


def test_what_is_right_is_clean():
    assert found(trace(0), trace(1), trace(2)) == []


def test_a_dimension_that_never_changes():
    traces = [trace(0), trace(1)]
    for t in traces:
        t.actions[:, 2] = 0.5
    assert found(*traces) == [("constant", "grip is 0.5 in every step of every episode")]
    traces[1].actions[:, 2] = 0.6  # constant in each, but not in both
    assert found(*traces) == []


def test_parts_of_a_quaternion_may_stay():
    dims = [Dim(name, "1", "base", -1.0, 1.0) for name in ("qx", "qy", "qz", "qw", "x")]
    findings = constant_dims("obs/proprio", dims, np.zeros(5), np.array([0, 0, 1, 1, 0]))
    assert [f.message.partition(" ")[0] for f in findings] == ["x"]


def test_nan_does_not_hide_a_constant():
    t = trace(0)
    t.actions[:, 2] = 0.5
    t.actions[3, 2] = np.nan
    assert [kind for kind, _ in found(t)] == ["constant"]
    never = constant_dims("actions", CONTRACT.actions[:1], np.array([np.inf]), np.array([-np.inf]))
    assert never == []  # never finite: another check's finding


def test_clipped_actions():
    contract = dataclasses.replace(
        CONTRACT, actions=(dataclasses.replace(CONTRACT.actions[0], low=-0.02, high=0.02), *CONTRACT.actions[1:])
    )
    cut = trace(0, limit=1.0)  # at one deviation, that is 0.02 m: 32% of a normal distribution lies outside
    kinds = found(cut, contract=contract)
    assert [kind for kind, _ in kinds] == ["clipped", "clipped"]  # dyaw, too
    assert "dx is at its bounds in" in kinds[0][1]
    assert found(trace(0, limit=2.0), contract=CONTRACT) == []


def test_actions_that_are_cut_off_before_their_bounds():
    """A later episode goes to the same extremes; one that goes further shows that there was no limit."""
    traces = trace(0, limit=0.8), trace(1, limit=0.8)
    dx = np.concatenate([t.actions[:, 0] for t in traces])
    low, high = (100 * np.mean(np.isclose(dx, end)) for end in (-0.016, 0.016))
    kinds = found(*traces)
    assert [kind for kind, _ in kinds] == ["clipped", "clipped"]
    assert f"of the steps (-0.016: {low:.0f}%, 0.016: {high:.0f}%)" in kinds[0][1] and low + high > 30
    assert found(trace(0, limit=0.5), trace(1, limit=1.5)) == []
    assert found(trace(0, limit=1.5), trace(1, limit=0.5)) == []


def test_a_home_pose_at_the_end_of_the_range_is_not_cut_off():
    t = trace(0)
    t.actions[:90, 0] = t.actions[:, 0].min()
    assert found(t) == []


@pytest.mark.parametrize(
    ("shares", "values", "low", "reported"),
    [
        ((0.2, 0.2), 4, -1.0, True),
        ((0.4, 0.0), 4, -1.0, True),  # on one side only
        ((0.1, 0.1), 4, -1.0, False),  # a demonstrator at its speed limit
        ((0.2, 0.2), 3, -1.0, False),  # keys: -1, 0, 1
        ((0.5, 0.4), 4, -1.0, False),  # a switch
        ((0.5, 0.0), 4, 0.0, False),  # a gripper at rest at its stop
    ],
)
def test_which_shares_are_clipping(shares, values, low, reported):
    dims = [Dim("a", "1", "base", low, 1.0)]
    findings = clipped_actions(dims, np.array(shares)[:, None], np.array([values]))
    assert [f.kind for f in findings] == ["clipped"] * reported


@pytest.mark.parametrize(
    ("key", "unit", "low", "high", "looks"),
    [
        ("obs/proprio", "rad", -170.0, 165.0, "degrees"),
        ("obs/proprio", "rad", -3.14, 3.14, None),
        ("obs/proprio", "rad", -7.0, 9.0, None),  # a joint of more than one turn
        ("obs/proprio", "deg", -2.9, 3.1, "radians"),
        ("obs/proprio", "deg", -2.9, 90.0, None),
        ("actions", "deg", -2.0, 2.0, None),  # small changes
        ("obs/proprio", "deg", 0.0, 0.0, None),
        ("obs/proprio", "m", 250.0, 700.0, "millimetres"),
        ("obs/proprio", "m", 0.25, 0.7, None),
        ("obs/proprio", "unknown", 250.0, 700.0, None),
        ("obs/proprio", "rad", np.inf, -np.inf, None),
    ],
)
def test_units_that_cannot_be(key, unit, low, high, looks):
    findings = unlikely_units(key, [Dim("d", unit, "base", -1.0, 1.0)], np.array([low]), np.array([high]))
    assert [f.message.endswith(f"looks like {looks}") for f in findings] == [True] * (looks is not None)


def test_an_action_in_millimetres():
    dims = [Dim("dx", "m", "base", -50.0, 50.0, "x")]
    assert len(unlikely_units("actions", dims, np.array([-20.0]), np.array([30.0]))) == 1
    assert unlikely_units("actions", dims, np.array([-0.05]), np.array([0.05])) == []


@pytest.mark.parametrize(("column", "factor", "text"), [(0, 1000, "mm and m"), (1, 180 / np.pi, "deg and rad")])
def test_an_action_that_moves_its_state_by_another_unit(column, factor, text):
    t = trace(0)
    t.actions[:, column] *= factor * 1e-2 if column == 0 else factor
    if column == 0:  # a finding of the factor alone, not of the size: 1 cm/s in a slow frame of 10 um steps
        t.states[:, 0] *= 1e-2
    wide = tuple(dataclasses.replace(d, low=-100.0, high=100.0) for d in CONTRACT.actions)
    kinds = found(t, contract=dataclasses.replace(CONTRACT, actions=wide))
    assert [kind for kind, message in kinds if text in message] == ["units"]


def test_an_action_that_is_added_to_a_state_of_another_unit():
    actions = (dataclasses.replace(CONTRACT.actions[0], unit="mm"), *CONTRACT.actions[1:])
    assert found(trace(0), contract=dataclasses.replace(CONTRACT, actions=actions)) == [
        ("units", "dx is in mm, but is added to x in m")
    ]


def test_duplicates():
    twice = dataclasses.replace(trace(0), name="demo_7")
    assert found(trace(0), trace(1), twice) == [("duplicate", "the episode has the content of demo_0")]
