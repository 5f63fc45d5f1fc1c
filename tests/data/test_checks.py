"""Every check finds the fault that it is for, where it is, and nothing in what is right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jepa_robot.data import checks
from jepa_robot.data.inspection import EPISODE_CHECKS
from jepa_robot.data.trace import Trace, blank_frames, repeated_frames
from jepa_robot.spec import Camera, Contract, Dim

T = 20
CONTRACT = Contract(
    task="toy",
    cameras=(Camera("front", 8, 8),),
    fps=10.0,
    actions=(Dim("dx", "m", "base", -0.05, 0.05, "x"), Dim("grip", "1", "base", 0.0, 1.0)),
    states=(
        Dim("x", "m", "base", -1.0, 1.0),
        *(Dim(f"hand_quat_{c}", "1", "base", -1.0, 1.0) for c in "xyzw"),
    ),
)


@pytest.fixture
def trace() -> Trace:
    """Nothing wrong: x from 0 to 0.8 in steps of 0.04 (2% of its range), the hand turning about z."""
    turn = np.linspace(0, 1, T + 1)
    states = np.stack(
        [0.04 * np.arange(T + 1), 0 * turn, 0 * turn, np.sin(turn / 2), np.cos(turn / 2)], axis=1
    ).astype(np.float32)
    actions = np.stack([np.full(T, 0.04), np.arange(T) % 2], axis=1).astype(np.float32)
    return Trace(
        name="demo_3", states=states, actions=actions, times=100 + 0.1 * np.arange(T + 1), kind="expert",
        blank=np.zeros(T + 1, bool), repeated=np.zeros(T, bool), digest=b"x",
    )


def only(findings):
    assert len(findings) == 1, findings
    return findings[0]


def test_what_is_right_is_clean(trace):
    for check in EPISODE_CHECKS:
        assert check(trace, CONTRACT) == []
    assert check(dataclasses.replace(trace, times=None), CONTRACT) == []
    assert checks.short(trace, median=100) == []


@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_a_number_that_is_none(trace, value, text):
    trace.actions[7, 1] = value
    finding = only(checks.not_finite(trace, CONTRACT))
    assert finding == checks.Finding("demo_3", "actions", 7, "not_finite", f"grip is {text}")
    trace.actions[9] = value
    assert only(checks.not_finite(trace, CONTRACT)).message == f"grip is {text} (and 2 more)"


def test_states_and_times_that_are_no_numbers(trace):
    trace.states[T, 0] = np.nan
    trace.times[4] = np.inf
    states, times = checks.not_finite(trace, CONTRACT)
    assert (states.key, states.step, times.key, times.step) == ("obs/proprio", T, "timestamps", 4)
    assert checks.lost_frames(trace, CONTRACT) == []  # said once


@pytest.mark.parametrize(("value", "found"), [(0.0501, True), (-0.06, True), (0.05, False), (-0.05, False)])
def test_actions_out_of_bounds(trace, value, found):
    trace.actions[5, 0] = value
    findings = checks.out_of_bounds(trace, CONTRACT)
    assert len(findings) == found
    if found:
        assert (findings[0].step, findings[0].kind) == (5, "out_of_bounds")
        assert f"dx is {value:g}, outside [-0.05, 0.05] m" in findings[0].message


@pytest.mark.parametrize(("value", "found"), [(1.015, False), (1.03, True), (-1.5, True), (np.nan, False)])
def test_states_out_of_bounds(trace, value, found):
    trace.states[6, 0] = value
    findings = checks.out_of_bounds(trace, CONTRACT)
    assert [(f.key, f.step) for f in findings] == [("obs/proprio", 6)] * found


@pytest.mark.parametrize(
    ("steps", "median", "found"), [(3, 3, True), (4, 4, False), (9, 100, True), (10, 100, False)]
)
def test_short_episodes(trace, steps, median, found):
    cut = dataclasses.replace(trace, actions=np.zeros((steps, 2), np.float32))
    assert [f.kind for f in checks.short(cut, median)] == ["short"] * found


def test_blank_frames_are_told_from_dark_ones():
    frames = np.random.default_rng(0).integers(0, 30, (5, 16, 16, 3), dtype=np.uint8)
    frames[1] = 0
    frames[3] = (0, 0, 200)  # what a lost camera may send
    assert blank_frames(frames).tolist() == [False, True, False, True, False]


def test_blank_pictures(trace):
    trace.blank[[4, 9]] = True
    finding = only(checks.blank_pictures(trace, CONTRACT))
    assert (finding.key, finding.step, finding.kind) == ("obs/front", 4, "blank")
    assert finding.message.endswith("(and 1 more)")


def test_repeated_frames_are_the_same_in_every_pixel():
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    frames[2] = frames[1]
    frames[4] = frames[3]
    frames[4, 7, 7, 2] ^= 1
    assert repeated_frames(frames).tolist() == [False, True, False, False]


def test_frozen_pictures(trace):
    trace.repeated[6:12] = True  # 6 steps, 12% of x's range
    finding = only(checks.frozen_pictures(trace, CONTRACT))
    assert (finding.step, finding.kind) == (6, "frozen") and "for 6 steps" in finding.message


def test_pictures_may_stand_still_when_the_robot_does(trace):
    trace.repeated[:] = True
    trace.states[:] = trace.states[0]
    assert checks.frozen_pictures(trace, CONTRACT) == []


def test_a_camera_of_half_the_rate(trace):
    trace.repeated[::2] = True
    finding = only(checks.frozen_pictures(trace, CONTRACT))
    assert finding.kind == "repeated" and finding.message.startswith("10 of 20 steps")


def test_a_picture_repeated_now_and_then_is_no_fault(trace):
    trace.repeated[[3, 11]] = True
    assert checks.frozen_pictures(trace, CONTRACT) == []


def test_a_gap_between_time_stamps(trace):
    trace.times[8:] += 0.3
    finding = only(checks.lost_frames(trace, CONTRACT))
    assert (finding.key, finding.step, finding.kind) == ("timestamps", 7, "gap")
    assert finding.message == "the next frame is 0.4 s later instead of 0.1: about 3 missing"


def test_time_stamps_that_jitter_are_no_fault(trace):
    trace.times[:] += np.random.default_rng(0).uniform(-0.02, 0.02, T + 1)
    assert checks.lost_frames(trace, CONTRACT) == []


def test_time_that_runs_backwards_or_stands_still(trace):
    trace.times[5] = trace.times[4] - 0.02
    kinds = {f.kind: f for f in checks.lost_frames(trace, CONTRACT)}
    assert kinds["time_order"].step == 4 and "0.02 s earlier" in kinds["time_order"].message
    trace.times[5] = trace.times[4]
    kinds = {f.kind: f for f in checks.lost_frames(trace, CONTRACT)}
    assert "same time" in kinds["time_order"].message


def test_another_rate_is_said_once_and_not_as_gaps(trace):
    trace.times[:] = np.arange(T + 1) / 5
    finding = only(checks.lost_frames(trace, CONTRACT))
    assert finding.kind == "rate" and finding.step is None
    assert finding.message == "frames are 0.2 s apart (5 a second), not 10 a second"


def test_commands_that_were_not_recorded(trace):
    trace.states[:, 0] = 0.5 * np.sin(np.arange(T + 1))
    trace.actions[:] = 0
    finding = only(checks.still_actions(trace, CONTRACT))
    assert (finding.key, finding.kind) == ("actions", "constant")


def test_a_constant_velocity_or_a_robot_at_rest_is_one_action(trace):
    trace.actions[:] = 0.04
    turning = np.copy(trace.states)
    turning[:, 1:] = 0
    assert checks.still_actions(dataclasses.replace(trace, states=turning), CONTRACT) == []
    at_rest = np.repeat(turning[:1], T + 1, axis=0)
    assert checks.still_actions(dataclasses.replace(trace, states=at_rest), CONTRACT) == []


def test_quaternions(trace):
    trace.states[9:, 1:] *= 1.1
    finding = only(checks.quaternions(trace, CONTRACT))
    assert (finding.kind, finding.step) == ("quaternion", 9)
    assert finding.message == f"quaternion hand_quat_x to hand_quat_w has norm 1.1 (and {T - 9} more)"


@pytest.mark.parametrize(
    ("names", "starts"),
    [
        (["x", "qx", "qy", "qz", "qw"], [1]),
        ([f"robot0_eef_quat_{i}" for i in range(4)], [0]),
        ([f"{hand}_quat_{i}" for hand in ("left", "right") for i in range(4)], [0, 4]),
        (["qx", "qy", "qz"], []),
        (["x", "y", "z", "w"], []),
        (["seq_x", "freqy", "q1", "q2", "q3", "q4"], []),
    ],
)
def test_names_of_quaternions(names, starts):
    assert checks.quaternion_starts([Dim(n, "1", "base", -1.0, 1.0) for n in names]) == starts


def test_runs():
    assert checks.runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert checks.runs(np.zeros(3, bool)) == [] and checks.runs(np.zeros(0, bool)) == []


def test_a_finding_is_one_line():
    assert str(checks.Finding("demo_3", "actions", 7, "k", "is wrong")) == "demo_3/actions step 7: is wrong"
    assert str(checks.Finding(None, "actions", None, "k", "is wrong")) == "actions: is wrong"
