"""Sub-goals, their order, and wanted proprioception."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jepa_robot.errors import GoalError
from jepa_robot.planning.goals import Goal, SubGoal, SubgoalSequence, state_goal
from jepa_robot.spec import Dim

NAN = float("nan")
PICTURES = [np.full((8, 8, 3), i, np.uint8) for i in range(3)]
DIMS = (Dim("x", "m", "base", 0.0, 2.0), Dim("yaw", "rad", "base", -4.0, 4.0), Dim("closed", "1", "base", 0.0, 1.0))


def visited(sequence, arrivals):
    """Which sub-goal each action is for, with an arrival or none before each."""
    indices = []
    for arrived in arrivals:
        sequence.update(arrived)
        indices.append(sequence.index)
        sequence.acted()
    return indices


def test_one_picture_is_the_first_and_the_last():
    sequence = SubgoalSequence(Goal.of(PICTURES[0]))
    assert sequence.last and sequence.current.pictures[0] is PICTURES[0]
    assert visited(sequence, [False, True, True]) == [0, 0, 0]


def test_the_next_ones_turn_comes_on_arrival():
    sequence = SubgoalSequence(Goal.sequence(PICTURES))
    assert visited(sequence, [False, False, True, False, True, True]) == [0, 0, 1, 1, 2, 2]
    assert sequence.last and not sequence.over


def test_the_next_ones_turn_comes_after_as_many_actions():
    sequence = SubgoalSequence(Goal.sequence(PICTURES, [4, 10, 3]))
    assert visited(sequence, [False] * 18) == [0] * 4 + [1] * 10 + [2] * 4
    assert sequence.over


def test_an_early_arrival_leaves_the_steps_of_others_as_they_are():
    sequence = SubgoalSequence(Goal.sequence(PICTURES, [4, 3, None]))
    assert visited(sequence, [False, True] + [False] * 6) == [0, 1, 1, 1, 2, 2, 2, 2]


def test_looking_twice_at_a_moment_costs_no_step():
    sequence = SubgoalSequence(Goal.sequence(PICTURES, [1, 1, 1]))
    assert [sequence.update(False) for _ in range(3)] == [False] * 3
    sequence.acted()
    assert [sequence.update(False) for _ in range(3)] == [True, False, False]
    assert sequence.index == 1 and not sequence.over


def test_any_of_several_pictures_is_one_sub_goal():
    goal = Goal.any_of(PICTURES, np.float32([1.0, NAN, NAN]))
    (only,) = goal.subgoals
    assert only.pictures == tuple(PICTURES) and only.steps is None
    assert only.state[0] == 1.0


def test_latents_are_a_goal():
    latents = torch.randn(4, 6)
    assert Goal.of(latents).subgoals[0].pictures[0] is latents


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: Goal(()), "no sub-goal"),
        (lambda: Goal.any_of([]), "no picture"),
        (lambda: Goal.of(np.zeros((8, 8, 3), np.float32)), r"float32 \[8, 8, 3\]; expected uint8"),
        (lambda: Goal.of(np.zeros((3, 8, 8), np.uint8)), r"uint8 \[3, 8, 8\]"),
        (lambda: Goal.of(torch.zeros(8, 8, 3)), r"torch.float32 \[8, 8, 3\]"),
        (lambda: Goal.of("goal.png"), "goal picture is str"),
        (lambda: Goal.of(torch.full((4, 6), NAN)), "not finite"),
        (lambda: Goal.of(PICTURES[0], np.zeros(3)), "goal state is float64"),
        (lambda: Goal.of(PICTURES[0], np.float32([np.inf])), "finite numbers, or NaN"),
        (lambda: Goal.sequence(PICTURES, [1, 2]), "2 numbers of steps for 3 pictures"),
        (lambda: SubGoal((PICTURES[0],), steps=0), "has 0 steps; expected at least 1"),
    ],
)
def test_what_is_no_goal(make, expected):
    with pytest.raises(GoalError, match=expected):
        make()


def test_wanted_proprioception_by_name():
    state = state_goal(DIMS, {"closed": 1.0, "x": 0.25})
    assert state.dtype == np.float32
    np.testing.assert_array_equal(state, np.float32([0.25, NAN, 1.0]))
    with pytest.raises(GoalError, match="there is no state 'z'; expected one of x, yaw, closed"):
        state_goal(DIMS, {"z": 0.0})
    with pytest.raises(GoalError, match="x is 2.5; expected 0 to 2 m"):
        state_goal(DIMS, {"x": 2.5})
    with pytest.raises(GoalError, match="x is nan"):
        state_goal(DIMS, {"x": NAN})
