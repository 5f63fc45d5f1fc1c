"""What `jepa-robot import vjepa2` says and writes, and that it writes nothing where the source is not what it takes."""

import dataclasses
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from command_line import assert_refused
from safetensors.torch import load_file, save_file
from training_runs import CONTRACT, RUN, TRAIN, write
from vjepa2_layouts import (
    AC_HEADS, HEADS, PREDICTOR_HEADS, SIZE, action_conditioned, hugging_face_model, meta_encoder, meta_predictor,
    training_state, write_pt,
)

from jepa_robot.models import load
from jepa_robot.planning import Observation, build_planner
from jepa_robot.planning.settings import default_settings

pytest.importorskip("transformers")

GIVEN = ("--image-size", SIZE, "--heads", HEADS)
BOTH = (*GIVEN, "--predictor-heads", PREDICTOR_HEADS)
KERNEL, FC1 = "patch_embed.proj.weight", "blocks.1.mlp.fc1.weight"


@pytest.fixture(scope="module")
def weights():
    return hugging_face_model().state_dict()


@pytest.fixture
def content(weights):
    """A training file's outer dictionary, for a test to spoil."""
    return training_state(meta_encoder(weights), None, meta_predictor(weights))


@pytest.fixture
def bring(call):
    return lambda source, *options: call("import", "vjepa2", source, "--out", "out.safetensors", *options)


@pytest.fixture
def hub(tmp_path):
    """A Hugging Face folder in six or seven shards."""
    hugging_face_model().save_pretrained(tmp_path / "hub", max_shard_size="100KB")
    return tmp_path / "hub"


@pytest.fixture
def refused(bring, tmp_path):
    """The import fails on one line with these words, and leaves nothing."""

    def check(source, options, *words):
        before = sorted(os.listdir(tmp_path))
        assert_refused(bring(source, *options), *words)
        assert sorted(os.listdir(tmp_path)) == before

    return check


def test_what_was_taken_and_left_out_is_said(bring, content, call, tmp_path):
    result = bring(write_pt(tmp_path / "vitl.pt", content), *BOTH)
    assert result.code == 0 and "61 tensors used, encoder from encoder" in result.out
    assert "left out: opt (state of its training)" in result.out and "encoder.pos_embed" in result.out
    again = bring(tmp_path / "vitl.pt", *BOTH)
    assert again.code == 2 and "exists" in again.err and "--force" in again.err
    facts = json.loads(bring(tmp_path / "vitl.pt", *BOTH, "--force", "--json").out)
    assert facts["kind"] == "encoder" and facts["used"] == 61 and set(facts["left_out"]) == {"opt", "encoder.pos_embed"}
    printed = call("info", "out.safetensors").out
    assert "any: video of all kinds" in printed and "masked_predictor.width" in printed


# -- files that are broken ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_half_downloaded_pt_file(refused, content, tmp_path, share):
    whole = write_pt(tmp_path / "vitl.pt", content).read_bytes()
    (tmp_path / "vitl.pt").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / "vitl.pt", BOTH, "vitl.pt", "is empty" if share == 0 else "is incomplete", "download it again")


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.5, 0.99])
def test_a_half_downloaded_shard(refused, hub, share):
    shard = sorted(hub.glob("*.safetensors"))[2]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: int(share * len(whole))])
    refused(hub, (), shard.name, "download it again")


def test_a_missing_shard_index_or_config(refused, hub):
    shard = sorted(hub.glob("*.safetensors"))[1]
    shard.rename(hub / "elsewhere")
    refused(hub, (), shard.name, "No such file")
    (hub / "elsewhere").rename(shard)
    (hub / "model.safetensors.index.json").write_text("{")
    refused(hub, (), "index.json", "not JSON")
    (hub / "model.safetensors.index.json").unlink()
    refused(hub, (), "model.safetensors", "No such file")
    (hub / "config.json").unlink()
    refused(hub, (), "config.json", "No such file")


def test_an_index_that_is_not_its_shards(refused, hub):
    index = json.loads((hub / "model.safetensors.index.json").read_text())
    shard = index["weight_map"].pop("encoder.layernorm.bias")
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(hub, (), shard, "has encoder.layernorm.bias", "does not name")
    index["weight_map"] |= {"encoder.layernorm.bias": shard, "encoder.more": shard}
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(hub, (), shard, "lacks encoder.more")
    index["weight_map"]["encoder.more"] = "../outside.safetensors"
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(hub, (), "no weight_map of file names")


def test_a_git_lfs_pointer(refused, hub, tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / "vitl.pt").write_text(pointer)
    refused(tmp_path / "vitl.pt", BOTH, "git-lfs pointer", "git lfs pull")
    sorted(hub.glob("*.safetensors"))[0].write_text(pointer)
    refused(hub, (), "git-lfs pointer", "00001-of")


class Code:
    def __reduce__(self):
        return (os.mkdir, ("run_by_the_file",))


def test_a_pickle_with_code_in_it_is_not_run(refused, content, tmp_path):
    refused(write_pt(tmp_path / "evil.pt", content | {"epoch": Code()}), BOTH, "more than weights in it, posix.mkdir")
    assert not (tmp_path / "run_by_the_file").exists()


def test_numpy_s_numbers_among_a_training_s_figures_are_no_code(bring, content, tmp_path):
    source = write_pt(tmp_path / "vitl.pt", content | {"lr": np.float64(4e-4), "epoch": np.int64(3)})
    assert bring(source, *BOTH).code == 0


def test_files_of_another_kind(refused, tmp_path):
    refused(tmp_path / "nothing.pt", BOTH, "nothing.pt", "No such file")
    (tmp_path / "text.pt").write_text("hello, this is not a checkpoint")
    refused(tmp_path / "text.pt", BOTH, "is no .pt file")
    refused(write_pt(tmp_path / "list.pt", [torch.zeros(2)]), BOTH, "holds a list", "dictionary")
    other = write_pt(tmp_path / "other.pt", {"model": {"x": torch.zeros(2)}})
    refused(other, BOTH, "the entries model", "target_encoder")
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"program/{name}", "")
    refused(tmp_path / "program.pt", BOTH, "is a TorchScript program")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("picture", "")
    refused(tmp_path / "other.zip", BOTH, "a zip file of another kind")
    torch.save({"encoder": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", BOTH, "is no .pt file", "before torch 1.6")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text('{"model_type": "vit"}')
    refused(tmp_path / "folder", (), "model_type 'vit'", "'vjepa2'")


# -- tensors that are missing, too many, or of another shape -----------------------------------------------

SPOILT = {
    "missing": (lambda e: e.pop(f"module.backbone.{FC1}"), (f"lacks {FC1}",)),
    "first": (lambda e: e.pop(f"module.backbone.{KERNEL}"), (f"lacks {KERNEL}", "[width, 3, 2, patch, patch]")),
    "extra": (lambda e: e.update({"module.backbone.cls_token": torch.zeros(1)}), ("has cls_token",)),
    "twice": (lambda e: e.update({"norm.bias": torch.zeros(64)}), ("norm.bias is there twice",)),
    "picture": (
        lambda e: e.update({f"module.backbone.{KERNEL}": torch.zeros(64, 3, 4, 4)}), (f"{KERNEL} is [64, 3, 4, 4]",)
    ),
    "shape": (
        lambda e: e.update({f"module.backbone.{FC1}": torch.zeros(64, 64)}),
        (f"{FC1} is [64, 64]", "expected [192, 64]"),
    ),
    "integers": (
        lambda e: e.update({"module.backbone.norm.bias": torch.zeros(64).long()}), ("norm.bias is torch.int64",)
    ),
    "nan": (lambda e: e["module.backbone.norm.bias"].fill_(torch.nan), ("norm.bias has numbers that are not finite",)),
    "far block": (
        lambda e: e.update({"module.backbone.blocks.999999999.norm1.bias": torch.zeros(64)}),
        ("lacks blocks.2.norm1.weight",),
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_encoder(refused, content, tmp_path, how):
    change, words = SPOILT[how]
    content["encoder"] = {name: tensor.clone() for name, tensor in content["encoder"].items()}
    change(content["encoder"])
    refused(write_pt(tmp_path / "vitl.pt", content), BOTH, "vitl.pt:encoder", *words)


def test_a_spoilt_predictor(refused, content, tmp_path):
    predictor = content["predictor"]
    tokens = {name: tensor for name, tensor in predictor.items() if "mask_tokens" in name}
    for name in tokens:
        del predictor[name]
    source = write_pt(tmp_path / "a.pt", content)
    refused(source, BOTH, "a.pt:predictor", "neither mask_tokens.0 nor action_encoder.weight")
    predictor |= tokens | {"module.mask_tokens.1": torch.zeros(1, 48)}
    refused(write_pt(tmp_path / "a.pt", content), BOTH, "mask_tokens.1 is [1, 48]", "expected [1, 1, 48]")
    predictor |= tokens | {"module.predictor_proj.weight": torch.zeros(32, 48)}
    refused(write_pt(tmp_path / "a.pt", content), BOTH, "predictor_proj.weight is [32, 48]", "expected [64, 48]")
    predictor["module.predictor_embed.weight"] = torch.zeros(48, 32)
    refused(write_pt(tmp_path / "a.pt", content), BOTH, "predictor_embed.weight is [48, 32]", "expected [width, 64]")


def test_a_spoilt_hugging_face_folder(refused, tmp_path):
    hugging_face_model().save_pretrained(tmp_path / "hub")
    file, config = tmp_path / "hub" / "model.safetensors", tmp_path / "hub" / "config.json"
    whole, settings = load_file(file), json.loads(config.read_text())
    key = "encoder.layer.1.attention.key.weight"
    save_file(whole | {key: torch.zeros(64, 32)}, file)
    refused(tmp_path / "hub", (), f"{key} is [64, 32]", "expected [64, 64]")
    save_file({name: tensor for name, tensor in whole.items() if name != key}, file)
    refused(tmp_path / "hub", (), f"lacks {key}")
    save_file(whole | {"decoder.weight": torch.zeros(1)}, file)
    refused(tmp_path / "hub", (), "has decoder.weight")
    save_file(whole, file)
    for change, words in (
        ({"crop_size": 18}, ("image_size 18 is not a multiple of patch_size 4",)),
        ({"num_attention_heads": 64}, ("64 heads do not divide a width of 64",)),
        ({"num_hidden_layers": 3}, ("lacks blocks.2.", "config.json")),
        ({"tubelet_size": 1}, ("tubelet_size is 1", "expected 2")),
        ({"hidden_size": "wide"}, ("hidden_size is 'wide'",)),
        ({"mlp_ratio": None}, ("mlp_ratio is None",)),
    ):
        config.write_text(json.dumps(settings | change))
        refused(tmp_path / "hub", (), "hub", *words)


# -- what the file does not say ----------------------------------------------------------------------------


def test_nothing_is_guessed(refused, content, tmp_path):
    source = write_pt(tmp_path / "vitl.pt", content)
    refused(source, ("--heads", HEADS), "--image-size", "give it")
    refused(source, ("--image-size", 16), "--heads: ", "64 wide", "no published width")
    refused(source, GIVEN, "--predictor-heads: ", "48 wide")
    refused(source, ("--image-size", 18, *BOTH[2:]), "--image-size", "18 is not a multiple of patch_size 4")
    refused(source, ("--image-size", 16, "--heads", 5), "--heads", "divides the width, 64")
    refused(source, (*BOTH, "--encoder", "target_encoder"), "expected target_encoder")


def test_options_that_do_not_fit_the_source(refused, content, hub, tmp_path):
    source = write_pt(tmp_path / "vitl.pt", content)
    refused(source, (*BOTH, "--extrinsics"), "--extrinsics", "masked predictor")
    refused(source, (*BOTH, "--task", "kitchen"), "has no action-conditioned predictor")
    refused(hub, ("--heads", 2), "--heads", "config.json says it")
    refused(hub, ("--image-size", 32), "--image-size", "expected 16")
    refused(hub, ("--extrinsics",), "--extrinsics")


def test_other_actions_than_the_published_ones_need_a_contract(refused, bring, weights, tmp_path):
    content = training_state(meta_encoder(weights), None, action_conditioned(dims=8))
    source = write_pt(tmp_path / "own.pt", content)
    options = (*GIVEN, "--predictor-heads", AC_HEADS)
    refused(source, options, "number of actions is 7", "expected 8", "--contract FILE")
    (tmp_path / "contract.json").write_text(CONTRACT.to_json())
    refused(source, (*options, "--contract", "contract.json"), "number of actions is 2", "expected 8")
    refused(source, (*options, "--contract", "contract.json", "--task", "x"), "--contract", "--task")


# -- what it is good for -----------------------------------------------------------------------------------


def test_a_world_model_is_trained_on_an_imported_encoder(bring, content, call, tmp_path):
    assert bring(write_pt(tmp_path / "vitl.pt", content), *BOTH).code == 0
    write(tmp_path / "point.h5")
    done = call("train", "data=point.h5", "encoder=out.safetensors", "out=run", *TRAIN)
    assert done.code == 0, done.err
    world = load(tmp_path / "run" / "world_model.safetensors")
    assert (world.contract.task, world.contract.camera.name) == ("point", "front")
    assert world.contract.camera.mean == (0.485, 0.456, 0.406) and world.config.encoder.tiled_rope
    imported = load_file(tmp_path / "out.safetensors")
    assert torch.equal(world.encoder.patch_embed.weight, imported["patch_embed.weight"])
    assert call("probe", "out.safetensors", "--data", "point.h5").code == 0


def test_data_of_another_size_are_told_how_to_fit(bring, content, call, tmp_path):
    assert bring(write_pt(tmp_path / "vitl.pt", content), "--image-size", 32, *BOTH[2:]).code == 0
    write(tmp_path / "point.h5")
    start = ("train", "data=point.h5", "encoder=out.safetensors", "out=run", *TRAIN)
    assert_refused(call(*start), "camera.height is 16 in point.h5 but 32", "source.image_size=32")
    assert call(*start, "source.image_size=32").code == 0


def test_an_imported_world_model_plans_in_latent_space(bring, weights, tmp_path):
    content = training_state(meta_encoder(weights), None, action_conditioned())
    assert bring(write_pt(tmp_path / "ac.pt", content), *GIVEN, "--predictor-heads", AC_HEADS).code == 0
    model = load(tmp_path / "out.safetensors")
    usual = default_settings()
    energy = dataclasses.replace(usual.energy, space="latent")
    optimizer = {**usual.optimizer, "samples": 8, "iterations": 2, "elites": 4}
    few = dataclasses.replace(usual, optimizer=optimizer, horizon=2, energy=energy)
    planner = build_planner(model, few)
    rng = np.random.default_rng(0)
    goal, seen = rng.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    planner.reset(goal)
    action = planner.act(Observation(seen, np.array([0.4, 0, 0.3, 3.1, 0, 0, 0.5], np.float32), 0.0))
    assert action.shape == (7,) and np.abs(action[:3]).max() <= 0.075 + 1e-6 and np.abs(action[3:6]).max() <= 1e-6
    assert np.abs(action[:3]).max() > 0


def test_an_imported_world_model_has_no_metric_head_to_train_on(bring, weights, call, tmp_path):
    content = training_state(meta_encoder(weights), None, action_conditioned(dims=2))
    (tmp_path / "contract.json").write_text(CONTRACT.to_json())
    source = write_pt(tmp_path / "ac.pt", content)
    done = bring(source, *GIVEN, "--predictor-heads", AC_HEADS, "--contract", "contract.json")
    assert done.code == 0, done.err
    write(tmp_path / "point.h5")
    assert_refused(call("train", "data=point.h5", "start=out.safetensors", "out=run", *RUN), "no metric head")
