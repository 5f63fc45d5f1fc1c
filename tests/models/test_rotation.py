"""Turned poses against scipy's rotations."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from jepa_robot.errors import ContractError
from jepa_robot.models.rotation import compose
from jepa_robot.models.world_model import WorldModel
from jepa_robot.spec import Contract, Dim


def test_composed_angles_are_those_of_the_product():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-1, 1, (200, 3)) * [np.pi, np.pi / 2, np.pi]
    turns = rng.uniform(-1, 1, (200, 3)) * 0.5
    expected = (Rotation.from_euler("xyz", turns) * Rotation.from_euler("xyz", angles)).as_euler("xyz")
    found = compose(torch.tensor(turns, dtype=torch.float32), torch.tensor(angles, dtype=torch.float32))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_autocast_does_not_round_angles():
    turn, angles = torch.tensor([0.01, -0.02, 0.03]), torch.tensor([0.1, 0.2, 0.3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = compose(turn, angles)
    assert torch.equal(rounded, compose(turn, angles))


@pytest.fixture
def turning(contract: Contract) -> Contract:
    """Actions dx and a rotation; states x and three angles."""
    angles = ("roll", "pitch", "yaw")
    return dataclasses.replace(
        contract,
        actions=(
            Dim("dx", "m", "base", -0.05, 0.05, "x", mean=0.0, std=0.02),
            *(Dim(f"d{name}", "rad", "base", -0.2, 0.2, composes=name, mean=0.0, std=0.1) for name in angles),
        ),
        states=(
            *(Dim(name, "rad", "base", -0.5, 0.5, mean=0.0, std=0.2) for name in angles),
            Dim("x", "m", "base", -0.2, 0.2, mean=0.0, std=0.1),
            Dim("light", "1", "base", 0.0, 1.0, mean=0.0, std=0.1),
        ),
    )


@torch.no_grad()
def test_a_rollout_turns_the_pose_by_rotations_inside_its_bounds(turning, config):
    model = WorldModel(turning, config)
    state = torch.tensor([[0.3, -0.2, 0.1, 0.05, 0.7], [0.45, 0.0, 0.0, 0.0, 0.0]])
    action = torch.tensor([[0.02, 0.1, 0.15, -0.2], [0.0, 0.2, 0.0, 0.0]])
    turned = Rotation.from_euler("xyz", [[0.1, 0.15, -0.2], [0.2, 0, 0]]) * Rotation.from_euler("xyz", state[:, :3])
    expected = np.clip(turned.as_euler("xyz"), -0.5, 0.5)
    found = model.advance(state, action)
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-5)
    assert found[0, :3].sub(state[0, :3] + action[0, 1:]).abs().max() > 0.005  # which is no sum of angles
    assert expected[1, 0] == 0.5
    torch.testing.assert_close(found[:, 3], torch.tensor([0.07, 0.0]))
    torch.testing.assert_close(found[:, 4], state[:, 4])


def test_what_is_turned_is_measured(turning):
    assert turning.measured_states().tolist() == [True, True, True, True, False]


@pytest.mark.parametrize("names", [("roll",), ("roll", "pitch"), ("roll", "pitch", "pitch"), ("roll", "pitch", "z")])
def test_a_rotation_of_other_than_three_states_is_refused(turning, names):
    actions = tuple(Dim(f"a{i}", "rad", "base", -1, 1, composes=name) for i, name in enumerate(names))
    with pytest.raises(ContractError, match="expected three different ones of"):
        dataclasses.replace(turning, actions=actions)
