"""Figures of representations whose targets are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.data.objects import Objects
from jepa_robot.training.probes import figures, pixel_figures, prefixed, representation_figures, untrained

TRAIN, VALID = np.arange(5), np.array([5])


def with_objects(arrays, values, units=("m", "m", "rad")):
    names = ("object_x", "object_z", "object_turn")
    return dataclasses.replace(arrays, objects=Objects(names, units, values.astype(np.float32)))


@pytest.fixture
def scene(arrays):
    """An object whose x is the robot's y, which lies still but for a tremble in z, and turns at random."""
    rng = np.random.default_rng(1)
    tremble, turn = rng.normal(0, 1e-4, len(arrays.states)), rng.normal(size=len(arrays.states))
    return with_objects(arrays, np.stack([arrays.states[:, 1], tremble, turn], axis=1))


def known(arrays, rows):
    """Latents [n, 2, 3] that are the state, the same in both patches, and a constant."""
    states = torch.from_numpy(arrays.states[rows])
    return torch.cat([states, torch.ones(len(rows), 1)], dim=1)[:, None].repeat(1, 2, 1)


def test_probes_of_robot_and_objects(scene):
    rows = [np.arange(40), np.arange(40, 48)]
    found = figures(*(known(scene, r) for r in rows), scene, rows)
    assert min(found["r2_x"], found["r2_y"], found["r2_object_x"]) > 0.99 > 0.5 > found["r2_object_turn"]
    assert found["rmse_object_x"] == pytest.approx(found["rmse_y"], rel=0.5) and found["rmse_object_z"] < 1e-3
    assert found["mean_r2_effector"] == pytest.approx((found["r2_x"] + found["r2_y"]) / 2)
    assert found["mean_r2_object"] == found["r2_object_x"]  # what lies still, or is no length, is no place to know
    assert found["dead_dims"] == pytest.approx(1 / 3)


def test_millimetres_move_from_one_on(scene):
    values = scene.objects.values.copy()
    values[:, 1] *= 1e3  # a tremble of 0.1 mm
    in_mm = with_objects(scene, values, ("mm", "mm", "rad"))
    rows = [np.arange(40), np.arange(40, 48)]
    found = figures(*(known(in_mm, r) for r in rows), in_mm, rows)
    assert "mean_r2_object" not in found and "r2_object_z" in found


def test_the_robot_s_figures_are_the_same_with_and_without_objects(scene, arrays, pretrain_stage):
    encoder = pretrain_stage().teacher
    without = representation_figures(encoder, arrays, TRAIN, VALID)
    found = representation_figures(encoder, scene, TRAIN, VALID)
    assert {name: found[name] for name in without} == pytest.approx(without)
    assert found.keys() - without.keys() == {
        "mean_r2_object", *(f"{kind}_object_{name}" for kind in ("r2", "rmse") for name in ("x", "z", "turn"))
    }


def test_pixels_see_what_is_drawn(scene):
    found = pixel_figures(scene, TRAIN, VALID)
    assert found.keys() == representation_figures_keys(scene)
    assert found["latent_std"] > 0 and found["dead_dims"] == 0 and found["r2_object_turn"] < 0.3


def representation_figures_keys(scene):
    rows = [np.arange(40), np.arange(40, 48)]
    return figures(*(known(scene, r) for r in rows), scene, rows).keys()


def test_untrained_weights_belong_to_the_seed_and_leave_other_random_numbers_alone(pretrain_stage):
    encoder = pretrain_stage().teacher
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    made = [untrained(encoder, seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    weights = [state["patch_embed.weight"] for state in made]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert made[0].keys() == encoder.state_dict().keys()


def test_prefixed():
    assert prefixed("pixels", {"r2_x": 0.5}) == {"pixels_r2_x": 0.5}
