"""Differences between poses, against matrices written out."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
import pytest

from jepa_robot.data.pose import composed, pose_differences


def rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll): turns about fixed axes, x first."""
    x = np.array([[1, 0, 0], [0, cos(roll), -sin(roll)], [0, sin(roll), cos(roll)]])
    y = np.array([[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]])
    z = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    return z @ y @ x


def test_difference_leads_to_the_next_pose():
    rng = np.random.default_rng(0)
    poses = rng.uniform(-1, 1, (50, 6)) * [1, 1, 1, pi, 1.5, pi]
    differences = pose_differences(poses)
    assert differences.shape == (49, 6)
    for pose, after, difference in zip(poses, poses[1:], differences):
        np.testing.assert_allclose(pose[:3] + difference[:3], after[:3], atol=1e-12)
        np.testing.assert_allclose(rotation(*difference[3:]) @ rotation(*pose[3:]), rotation(*after[3:]), atol=1e-12)


def test_turns_are_about_the_axes_of_the_base():
    """A hand that was turned by a quarter about z leans over the base's x axis: only the first angle changes."""
    start = rotation(0, 0, pi / 2)
    leaning = rotation(0.2, 0, 0) @ start
    yaw, pitch, roll = (
        np.arctan2(leaning[1, 0], leaning[0, 0]), -np.arcsin(leaning[2, 0]), np.arctan2(leaning[2, 1], leaning[2, 2])
    )
    difference = pose_differences(np.array([[0, 0, 0, 0, 0, pi / 2], [0, 0, 0, roll, pitch, yaw]]))
    np.testing.assert_allclose(difference, [[0, 0, 0, 0.2, 0, 0]], atol=1e-12)
    assert abs(roll - 0) < 1e-9 and pitch == pytest.approx(-0.2)  # while the pose's own angles tell of pitch


@pytest.mark.parametrize("angle", [3, 4, 5])
def test_no_jump_at_half_a_turn(angle):
    poses = np.zeros((2, 6))
    poses[:, angle] = pi - 0.01, -pi + 0.01
    expected = np.zeros(6)
    expected[angle] = 0.02
    np.testing.assert_allclose(pose_differences(poses)[0], expected, atol=1e-9)
    np.testing.assert_allclose(pose_differences(poses[::-1])[0], -expected, atol=1e-9)


def test_not_a_number_stays_where_it_is():
    poses = np.zeros((5, 6))
    poses[2, 4] = np.nan
    differences = pose_differences(poses)
    assert np.isnan(differences).any(axis=1).tolist() == [False, True, True, False]


def test_one_pose_has_no_difference():
    assert pose_differences(np.zeros((1, 6))).shape == (0, 6)


def test_turns_in_a_row_are_one_product():
    turns = np.random.default_rng(1).uniform(-1, 1, (4, 2, 3, 3))  # 4 x 2 rows of three turns
    whole = composed(turns)
    assert whole.shape == (4, 2, 3)
    for i in range(4):
        for j in range(2):
            first, second, third = (rotation(*turn) for turn in turns[i, j])
            np.testing.assert_allclose(rotation(*whole[i, j]), third @ second @ first, atol=1e-12)
