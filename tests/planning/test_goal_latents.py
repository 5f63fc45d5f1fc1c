"""Goal latents in files: read as written, and refused by models that they are not of."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from jepa_robot.errors import ContractError, GoalError
from jepa_robot.planning.goal_latents import HEADER, encoder_digest, load_goal_latents, save_goal_latents
from jepa_robot.spec import Camera, Contract, Dim

CONTRACT = Contract(
    task="toy",
    cameras=(Camera("front", 8, 8, mean=(0.5,) * 3, std=(0.2,) * 3),),
    fps=5.0,
    actions=(Dim("dx", "m", "base", -0.1, 0.1),),
    states=(),
)


def encoder(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def encode(frames):
    assert frames.dtype == torch.uint8 and frames.shape[2:] == (8, 8, 3)
    return torch.zeros(*frames.shape[:2], 4, 6)


def model(contract=CONTRACT, seed=0):
    return SimpleNamespace(contract=contract, encoder=encoder(seed), device=torch.device("cpu"), encode=encode)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "goal.safetensors"


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)])
def test_read_as_written(path, shape):
    latents = torch.randn(shape, requires_grad=True)
    save_goal_latents(path, latents, model())
    found = load_goal_latents(path, model())
    assert found.dtype == torch.float32 and not found.requires_grad
    assert torch.equal(found, latents.detach().view(-1, 4, 6))


def test_the_digest_is_of_every_weight():
    one = encoder_digest(encoder())
    assert one == encoder_digest(encoder()) and len(one) == 64
    changed = encoder()
    with torch.no_grad():
        changed[0].weight[0, 0] += 1e-6
    renamed = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.BatchNorm1d(4)})
    renamed["a"].load_state_dict(encoder()[0].state_dict())
    turned = encoder()
    turned[0].weight = nn.Parameter(turned[0].weight.detach().view(3, 4))
    others = [encoder_digest(other) for other in (encoder(1), changed, renamed, turned)]
    assert len({one, *others}) == 5


def test_another_encoder_refuses_them(path):
    save_goal_latents(path, torch.zeros(4, 6), model())
    made_by = encoder_digest(encoder())[:12]
    with pytest.raises(GoalError, match=rf"goal.safetensors: is of another encoder \({made_by}\); expected the model"):
        load_goal_latents(path, model(seed=1))


@pytest.mark.parametrize(
    "changes, expected",
    [
        (dict(task="other"), "task is 'toy'; expected 'other' as in the model"),
        (dict(cameras=(dataclasses.replace(CONTRACT.camera, crop=(0, 0, 8, 8)),)), "crop is None"),
        (dict(cameras=(dataclasses.replace(CONTRACT.camera, name="top"),)), r"cameras.names is \['front'\]"),
    ],
)
def test_another_task_or_camera_refuses_them(path, changes, expected):
    save_goal_latents(path, torch.zeros(4, 6), model())
    with pytest.raises(ContractError, match=expected):
        load_goal_latents(path, model(dataclasses.replace(CONTRACT, **changes)))


def test_what_latents_do_not_depend_on_may_differ(path):
    save_goal_latents(path, torch.ones(4, 6), model())
    other = dataclasses.replace(CONTRACT, fps=10.0, actions=(Dim("dz", "m", "base", -0.2, 0.2),))
    assert torch.equal(load_goal_latents(path, model(other)), torch.ones(1, 4, 6))


def test_a_bare_tensor_must_have_the_models_shape(path):
    save_file({"z": torch.ones(4, 6, dtype=torch.float16)}, path)
    assert torch.equal(load_goal_latents(path, model()), torch.ones(1, 4, 6))
    save_file({"z": torch.ones(2, 5, 6)}, path)
    with pytest.raises(GoalError, match=r"has latents \[5, 6\]; expected \[4, 6\], the model's"):
        load_goal_latents(path, model())


@pytest.mark.parametrize(
    "tensors, expected",
    [
        ({"a": torch.ones(4, 6), "b": torch.ones(4, 6)}, "holds 2 tensors; expected one"),
        ({"a": torch.ones(4)}, r"is torch.float32 \[4\]; expected latents"),
        ({"a": torch.ones(4, 6, dtype=torch.uint8)}, r"is torch.uint8 \[4, 6\]"),
        ({"a": torch.ones(0, 6)}, r"is torch.float32 \[0, 6\]"),
        ({"a": torch.full((4, 6), torch.nan)}, "not finite"),
    ],
)
def test_files_without_latents(path, tensors, expected):
    save_file(tensors, path)
    with pytest.raises(GoalError, match=expected):
        load_goal_latents(path, model())


def test_files_that_cannot_be_read(path):
    with pytest.raises(GoalError, match="there is no such file"):
        load_goal_latents(path, model())
    path.write_bytes(b"\x89PNG and so on")
    with pytest.raises(GoalError, match="cannot be read"):
        load_goal_latents(path, model())


@pytest.mark.parametrize(
    "header, expected",
    [
        ("{", "malformed"),
        ("[]", "malformed"),
        (json.dumps({"format": "other/1"}), "wrong or missing format"),
        (json.dumps({"format": "jepa_robot.goal_latents/1", "encoder": "0"}), "missing contract"),
    ],
)
def test_damaged_headers(path, header, expected):
    save_file({"latents": torch.ones(4, 6)}, path, metadata={HEADER: header})
    with pytest.raises(GoalError, match=expected):
        load_goal_latents(path, model())


def test_what_is_no_latents_is_not_written(path):
    with pytest.raises(GoalError, match=r"latents to save: is torch.float32 \[4\]"):
        save_goal_latents(path, torch.ones(4), model())
    assert not path.exists()


def test_the_header_can_be_read_by_others(path):
    """The file is an ordinary safetensors file with one tensor."""
    save_goal_latents(path, torch.ones(4, 6), model())
    assert list(load_file(path)) == ["latents"]
    size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    header = json.loads(metadata["jepa_robot.goal_latents"])
    assert header["contract"]["task"] == "toy" and header["encoder"] == encoder_digest(encoder())
