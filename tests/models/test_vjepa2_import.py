"""Files in the public layouts, read: the networks that come out are those that were written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from vjepa2_layouts import (
    AC_DEPTH, AC_HEADS, AC_WIDTH, HEADS, PREDICTOR_HEADS, SIZE, action_conditioned, hugging_face_model, meta_encoder,
    meta_predictor, training_state, write_pt,
)

from jepa_robot.errors import ContractError
from jepa_robot.models import load, load_encoder, load_pretrained, read_metadata
from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.vjepa2 import ActionSpace, ImportOptions, plan_action_conditioned, read_vjepa2, save_vjepa2
from jepa_robot.spec import Camera, Contract, Dim

pytest.importorskip("transformers")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAID = ImportOptions(image_size=SIZE, heads=HEADS, predictor_heads=PREDICTOR_HEADS)
AC = ImportOptions(image_size=SIZE, heads=HEADS, predictor_heads=AC_HEADS)


@pytest.fixture(scope="module")
def model():
    return hugging_face_model()


def clip(model):
    """uint8 [2, 4, H, W, 3], and the pixels that the peer wants."""
    frames = torch.randint(256, (2, 4, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    pixels = (frames.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    return frames, pixels.float().permute(0, 1, 4, 2, 3)


@torch.no_grad()
def assert_same_networks(path, model, with_predictor=True):
    """Encoder and masked predictor of a checkpoint against those of Hugging Face."""
    encoder, predictor, header = load_pretrained(path)
    frames, pixels = clip(model)
    context, target = torch.arange(0, 32, 3).expand(2, -1), torch.arange(1, 32, 3).expand(2, -1)
    theirs = model(pixels, context_mask=[context], target_mask=[target])
    positions = encoder.positions(2)
    latents = encoder.run(encoder.patch_embed(encoder.tubelets(frames)), positions)
    torch.testing.assert_close(latents, theirs.last_hidden_state, atol=1e-5, rtol=0)
    assert theirs.last_hidden_state.std() > 0.1
    assert header["contract"]["task"] is None and header["recipe"][0]["stage"] == "import"
    assert (predictor is not None) == with_predictor
    if with_predictor:
        visible = latents.gather(1, context[..., None].expand(-1, -1, latents.shape[-1]))
        predicted = predictor(visible, positions[context], positions[target], mask_index=1)  # the peer's default
        torch.testing.assert_close(predicted, theirs.predictor_output.last_hidden_state, atol=1e-5, rtol=0)


def imported(source, tmp_path, options=ImportOptions(), space=ActionSpace()):
    out = tmp_path / "imported.safetensors"
    found = read_vjepa2(source, options)
    save_vjepa2(out, found, space, source.name)
    return out, found


def test_a_training_file_gives_the_target_encoder_and_the_predictor(model, tmp_path):
    weights, other = model.state_dict(), hugging_face_model(seed=1).state_dict()
    content = training_state(meta_encoder(other), meta_encoder(weights), meta_predictor(weights))
    out, found = imported(write_pt(tmp_path / "vitl.pt", content), tmp_path, SAID)
    assert_same_networks(out, model)
    assert found.left_out == {
        "encoder": "the other encoder", "opt": "state of its training",
        "target_encoder.pos_embed": "a position embedding of before the rotary ones",
    }
    assert found.used == len(meta_encoder(weights)) + len(meta_predictor(weights))


def test_the_other_encoder_when_it_is_asked_for(model, tmp_path):
    weights, other = model.state_dict(), hugging_face_model(seed=1).state_dict()
    content = training_state(meta_encoder(weights), meta_encoder(other), meta_predictor(weights))
    options = ImportOptions(SIZE, HEADS, PREDICTOR_HEADS, encoder="encoder")
    assert_same_networks(imported(write_pt(tmp_path / "vitl.pt", content), tmp_path, options)[0], model)


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone.", "backbone."])
def test_an_encoder_alone_under_any_prefix(model, tmp_path, prefix):
    encoder = {f"{prefix}{name}": tensor for name, tensor in meta_encoder(model.state_dict()).items()}
    source = write_pt(tmp_path / "encoder.pt", {"encoder": encoder})
    out, found = imported(source, tmp_path, ImportOptions(SIZE, HEADS))
    assert_same_networks(out, model, with_predictor=False)
    assert not found.left_out


@pytest.mark.parametrize("shard_size", ["1GB", "100KB"])
def test_a_hugging_face_folder_whole_or_in_shards(model, tmp_path, shard_size):
    model.save_pretrained(tmp_path / "hub", max_shard_size=shard_size)
    assert (len(list((tmp_path / "hub").glob("*.safetensors"))) > 1) == (shard_size == "100KB")
    out, found = imported(tmp_path / "hub", tmp_path)
    assert_same_networks(out, model)
    assert not found.left_out and found.used == len(model.state_dict())


def test_a_classifier_s_folder_gives_its_backbone(model, tmp_path):
    model.save_pretrained(tmp_path / "hub")
    weights = {f"vjepa2.{name}": tensor for name, tensor in load_file(tmp_path / "hub" / "model.safetensors").items()}
    save_file(weights | {"classifier.weight": torch.zeros(3, 64)}, tmp_path / "hub" / "model.safetensors")
    out, found = imported(tmp_path / "hub", tmp_path)
    assert_same_networks(out, model)
    assert found.left_out == {"classifier.weight": "a classifier's head"}


def test_half_precision_weights_become_float32(model, tmp_path):
    encoder = {name: tensor.bfloat16() for name, tensor in meta_encoder(model.state_dict()).items()}
    out, _ = imported(write_pt(tmp_path / "half.pt", {"encoder": encoder}), tmp_path, ImportOptions(SIZE, HEADS))
    weight = load_encoder(out)[0].norm.weight
    assert weight.dtype == torch.float32 and torch.equal(weight, encoder["norm.weight"].float())


@pytest.mark.parametrize("extrinsics", [False, True])
@torch.no_grad()
def test_an_action_conditioned_file_becomes_a_world_model(model, tmp_path, extrinsics):
    predictor = action_conditioned()
    source = write_pt(tmp_path / "ac.pt", training_state(meta_encoder(model.state_dict()), None, predictor))
    options = ImportOptions(SIZE, HEADS, AC_HEADS, extrinsics=extrinsics)
    out, found = imported(source, tmp_path, options)
    poses = {"predictor.extrinsics_encoder.weight", "predictor.extrinsics_encoder.bias"}
    assert poses & found.left_out.keys() == (set() if extrinsics else poses)
    world = load(out)
    assert world.config.metric is None and world.config.predictor.predicts == "latents"
    config = PredictorConfig(
        AC_WIDTH, AC_DEPTH, AC_HEADS, 7, 4.0, extrinsics=extrinsics, predicts="latents", tiled_rope=True
    )
    alone = ActionConditionedPredictor(config, 64, 4, 7, 7).eval()
    plan = plan_action_conditioned(predictor, AC_HEADS, AC_WIDTH // AC_HEADS, extrinsics)
    alone.load_state_dict(plan.tensors(predictor))
    generator = torch.Generator().manual_seed(2)
    frames = clip(model)[0]
    latents = world.encode(frames)
    theirs = model(clip(model)[1][:, :1], skip_predictor=True).last_hidden_state
    torch.testing.assert_close(latents[:, 0], torch.nn.functional.layer_norm(theirs, (64,)), atol=1e-5, rtol=0)
    inputs = [torch.randn(2, 4, n, generator=generator) for n in (7, 7, *([6] if extrinsics else []))]
    wanted = torch.nn.functional.layer_norm(alone(latents, *inputs), (64,))
    torch.testing.assert_close(world.predict(latents, *inputs), wanted, atol=1e-5, rtol=0)


def test_the_world_model_s_contract_is_the_published_one(model, tmp_path):
    source = write_pt(tmp_path / "ac.pt", training_state(meta_encoder(model.state_dict()), None, action_conditioned()))
    out, _ = imported(source, tmp_path, AC, ActionSpace("kitchen", "front"))
    contract = Contract.from_dict(read_metadata(out)["contract"])
    assert (contract.task, contract.camera.name, contract.fps) == ("kitchen", "front", 4.0)
    assert contract.camera.mean == MEAN and contract.camera.std == STD
    assert [(d.name, d.unit) for d in contract.states] == [
        *(("x", "m"), ("y", "m"), ("z", "m"), ("roll", "rad"), ("pitch", "rad"), ("yaw", "rad"), ("gripper", "1"))
    ]
    assert [d.integrates for d in contract.actions] == ["x", "y", "z", None, None, None, "gripper"]
    assert all((d.mean, d.std, d.frame) == (0.0, 1.0, "base") for d in (*contract.actions, *contract.states))
    assert contract.action_high[0] == pytest.approx(0.075) and contract.action_high[-1] == pytest.approx(0.75)


def test_another_robot_s_contract(model, tmp_path):
    source = write_pt(tmp_path / "ac.pt", training_state(meta_encoder(model.state_dict()), None, action_conditioned()))
    dims = tuple(Dim(f"d{i}", "m", "base", -1.0, 1.0) for i in range(7))
    own = Contract("mine", (Camera("wrist", SIZE, SIZE),), 4.0, dims, dims)
    out, _ = imported(source, tmp_path, AC, ActionSpace(contract=own))
    own.require(load(out).contract, "mine", "theirs", "")
    few = Contract("mine", (Camera("wrist", SIZE, SIZE),), 4.0, dims[1:], dims)
    with pytest.raises(Exception, match="number of actions is 6; expected 7"):
        imported(source, tmp_path, AC, ActionSpace(contract=few))


def test_an_encoder_of_all_kinds_of_video_only_demands_the_picture_s_size(model, contract, tmp_path):
    source = write_pt(tmp_path / "encoder.pt", {"encoder": meta_encoder(model.state_dict())})
    out, _ = imported(source, tmp_path, ImportOptions(SIZE, HEADS))
    general = Contract.from_dict(read_metadata(out)["contract"])
    same = json.loads(contract.to_json())
    same["cameras"][0] |= {"height": SIZE, "width": SIZE}
    general.require(Contract.from_dict(same), "encoder", "data", "")
    with pytest.raises(ContractError, match="names no task but has actions"):
        Contract.from_dict(same | {"task": None})
    with pytest.raises(ContractError, match="camera.height is 8 in data but 16 in encoder"):
        general.require(contract, "encoder", "data", "")
