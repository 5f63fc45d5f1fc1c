"""Checkpoints: what was written comes back, and what is wrong with a file is one line."""

import dataclasses
import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jepa_robot.errors import CheckpointError, ContractError, OutputError
from jepa_robot.models import checkpoint, load, load_encoder, load_pretrained, read_metadata

RECIPE = [{"stage": "pretrain", "steps": 3, "settings": {"seed": 7}}, {"stage": "frozen", "steps": 4}]


@pytest.fixture
def path(model, contract, tmp_path):
    checkpoint.save(tmp_path / "model.safetensors", model, "world_model", contract, RECIPE, {"success": 0.5})
    return tmp_path / "model.safetensors"


@pytest.fixture
def encoder_path(encoder, contract, tmp_path):
    checkpoint.save(tmp_path / "encoder.safetensors", encoder, "encoder", contract, RECIPE[:1], {})
    return tmp_path / "encoder.safetensors"


def refused(call, error=CheckpointError):
    """The one line that a call fails with."""
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 2000
    return text


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def raw(path):
    """Header and tensors as they are in the file."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["jepa_robot"]), {name: file.get_tensor(name) for name in file.keys()}


def rewrite(path, change_header=None, change_tensors=None):
    header, tensors = raw(path)
    if change_header:
        change_header(header)
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, path, metadata={"jepa_robot": json.dumps(header)})


def test_world_model_round_trip(model, contract, config, path):
    loaded = load(path)
    assert_same_weights(loaded, model)
    assert loaded.contract == contract and loaded.config == config
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    frames = torch.randint(0, 256, (1, 2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded.encode(frames), model.encode(frames))
        assert torch.equal(loaded.metric(loaded.encode(frames)), model.metric(model.encode(frames)))


def test_encoder_round_trip(encoder, encoder_path):
    loaded, header = load_encoder(encoder_path)
    assert_same_weights(loaded, encoder)
    assert header["kind"] == "encoder" and header["recipe"] == RECIPE[:1]
    frames = torch.randint(0, 256, (1, 2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(frames), encoder(frames))


def test_the_encoder_of_a_world_model(model, path):
    loaded, header = load_encoder(path)
    assert_same_weights(loaded, model.encoder)
    assert header["kind"] == "world_model"


def test_loading_initialises_no_weights_and_needs_the_file_no_more(model, path):
    before = torch.get_rng_state()
    loaded = load(path)
    assert torch.equal(torch.get_rng_state(), before)  # initialising would have drawn random numbers
    path.write_bytes(bytes(path.stat().st_size))
    assert_same_weights(loaded, model)
    for name, buffer in model.named_buffers():
        assert torch.equal(dict(loaded.named_buffers())[name], buffer), name


def test_a_pretrained_encoder_without_its_predictor(encoder, encoder_path, path):
    loaded, predictor, header = load_pretrained(encoder_path)
    assert_same_weights(loaded, encoder)
    assert predictor is None and header["kind"] == "encoder"
    assert "kind 'world_model'; expected an encoder" in refused(lambda: load_pretrained(path))


def test_metadata_is_read_without_weights(contract, config, path):
    header = read_metadata(path)
    assert set(header) == {"kind", "contract", "model", "recipe", "results"}
    assert header["kind"] == "world_model" and header["recipe"] == RECIPE and header["results"] == {"success": 0.5}
    assert type(contract).from_dict(header["contract"]) == contract
    assert checkpoint.model_config(header["model"]) == config


def test_recorded_results_leave_the_weights_alone(model, path):
    before = raw(path)
    checkpoint.record_results(path, {"episodes": 100, "success": 0.97})
    header, tensors = raw(path)
    assert header == {**before[0], "results": {"episodes": 100, "success": 0.97}}
    assert tensors.keys() == before[1].keys()
    assert all(torch.equal(tensors[name], before[1][name]) for name in tensors)
    assert_same_weights(load(path), model)
    checkpoint.record_results(path, {"latency_ms": 12.5})
    assert read_metadata(path)["results"] == {"episodes": 100, "success": 0.97, "latency_ms": 12.5}


def test_saving_replaces_the_file_whole(encoder, contract, path):
    checkpoint.save(path, encoder, "encoder", contract, [], {})
    assert read_metadata(path)["kind"] == "encoder"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_weights_that_cannot_be_written_leave_the_old_file(model, contract, path, monkeypatch):
    before = path.read_bytes()

    def full(*_, **__):
        from safetensors import SafetensorError

        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    line = refused(lambda: checkpoint.save(path, model, "world_model", contract, [], {}), OutputError)
    assert "No space left" in line and str(path) in line
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]


def test_half_precision_rounds_matrices_and_nothing_else(model, contract, tmp_path):
    for weights in ("fp32", "fp16"):
        checkpoint.save(tmp_path / f"{weights}.safetensors", model, "world_model", contract, [], {}, weights)
    back = load(tmp_path / "fp16.safetensors")
    for (name, found), wanted in zip(back.state_dict().items(), model.state_dict().values()):
        assert found.dtype == wanted.dtype
        exact = wanted.half().to(wanted.dtype) if name.endswith("weight") and wanted.ndim >= 2 else wanted
        assert torch.equal(found, exact), name
    sizes = [(tmp_path / f"{weights}.safetensors").stat().st_size for weights in ("fp32", "fp16")]
    assert sizes[1] < sizes[0]


def test_weights_beyond_half_precision_are_refused(model, contract, tmp_path):
    with torch.no_grad():
        model.predictor.proj.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match="predictor.proj.weight is too large for fp16.*weights=fp32"):
        checkpoint.save(tmp_path / "x.safetensors", model, "world_model", contract, [], {}, "fp16")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_name_that_is_not_shipped_lists_those_that_are(monkeypatch, model, contract, tmp_path):
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "shipped")
    assert "no such checkpoint" in refused(lambda: load("panda_fly"))
    for name in ("panda_reach", "panda_push"):
        checkpoint.save(tmp_path / "shipped" / f"{name}.safetensors", model, "world_model", contract, [], {})
    line = refused(lambda: load("panda_fly"))
    assert "panda_fly" in line and "expected a .safetensors file or panda_push or panda_reach" in line
    assert_same_weights(load("panda_push"), model)
    assert "no such checkpoint" in refused(lambda: load(tmp_path / "other" / "panda_push"))


@pytest.mark.parametrize("read", [load, load_encoder, read_metadata])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 0.3, 0.6, 0.9, -1])
def test_truncated(path, read, size):
    whole = path.read_bytes()
    kept = int(size * len(whole)) if isinstance(size, float) else size
    path.write_bytes(whole[:kept])
    line = refused(lambda: read(path))
    assert str(path) in line and "cannot be read" in line


@pytest.mark.parametrize(
    "content",
    [
        b"not a checkpoint at all", struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 8) + b"not json", b"\x00" * 64,
    ],
)
def test_not_safetensors(tmp_path, content):
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    assert "cannot be read" in refused(lambda: load(path))


def test_missing_file_and_folder(tmp_path):
    assert "no such checkpoint" in refused(lambda: load(tmp_path / "nothing.safetensors"))
    assert "is a folder" in refused(lambda: load(tmp_path))


def test_safetensors_of_others(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors", metadata=metadata)
        line = refused(lambda: load(tmp_path / "other.safetensors"))
        assert "header lacks 'jepa_robot'" in line and "jepa-robot pretrain" in line


@pytest.mark.parametrize("field", ["kind", "contract", "model", "recipe", "results"])
def test_header_without_a_field(path, field):
    rewrite(path, lambda header: header.pop(field))
    assert f"header lacks '{field}'" in refused(lambda: load(path))


def test_header_that_is_not_an_object(path):
    _, tensors = raw(path)
    for text in ("{", "[]", "3"):
        save_file(tensors, path, metadata={"jepa_robot": text})
        assert "cannot be read" in refused(lambda: load(path))


def test_an_encoder_is_not_a_world_model(encoder_path):
    line = refused(lambda: load(encoder_path))
    assert "kind 'encoder'" in line and "jepa-robot train" in line


def test_weights_that_do_not_fit(path):
    name = "predictor.proj.weight"
    rewrite(path, change_tensors=lambda t: t.update({name: t[name][:, 1:].contiguous()}))
    assert name in refused(lambda: load(path))
    rewrite(path, change_tensors=lambda t: t.pop(name))
    assert name in refused(lambda: load(path))
    rewrite(path, change_tensors=lambda t: t.update({name: torch.zeros(12, 16), "extra": torch.zeros(1)}))
    assert "extra" in refused(lambda: load(path))


@pytest.mark.parametrize(
    ("part", "sizes", "word"),
    [
        ("encoder", {"colour": 3}, "colour"),
        ("encoder", {"patch_size": 5}, "patch_size 5"),
        ("encoder", {"patch_size": 0}, "patch_size is 0"),
        ("encoder", {"depth": -1}, "depth is -1"),
        ("encoder", {"width": 2 * 10**9}, "model sizes do not fit"),
        ("encoder", {"heads": 5}, "not divisible by 5 heads"),
        ("predictor", {"heads": 16}, "head_dim is 1"),
        ("predictor", {"width": "wide"}, "model sizes do not fit"),
    ],
)
def test_sizes_that_make_no_model(path, part, sizes, word):
    rewrite(path, lambda header: header["model"][part].update(sizes))
    line = refused(lambda: load(path))
    assert word in line and str(path) in line


def test_sizes_without_a_part(path):
    rewrite(path, lambda header: header["model"].pop("predictor"))
    assert "model sizes lack 'predictor'" in refused(lambda: load(path))


@pytest.mark.parametrize(
    ("field", "value"), [("kind", 3), ("model", "large"), ("recipe", "eggs"), ("recipe", ["eggs"]), ("results", [1])]
)
def test_header_with_a_field_of_another_type(path, field, value):
    rewrite(path, lambda header: header.update({field: value}))
    assert f"header has a malformed '{field}'" in refused(lambda: read_metadata(path))


def test_encoder_sizes_that_make_no_model(encoder_path):
    rewrite(encoder_path, lambda header: header["model"].update(heads=5))
    assert "not divisible by 5 heads" in refused(lambda: load_encoder(encoder_path))


def test_contract_of_another_version(path):
    rewrite(path, lambda header: header["contract"].update(format="jepa_robot.contract/9"))
    line = refused(lambda: load(path), ContractError)
    assert "jepa_robot.contract/9" in line and str(path) in line


def test_contract_and_sizes_disagree(path):
    rewrite(path, lambda header: header["contract"]["cameras"][0].update(height=16, width=16))
    line = refused(lambda: load(path), ContractError)
    assert "16x16" in line and str(path) in line


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c.update(cameras=[]), "no camera"),
        (lambda c: c.update(fps=0), "fps 0"),
        (lambda c: c.update(fps=float("nan")), "fps nan"),
        (lambda c: c["cameras"][0].update(std=[0.2, 0.2, 0.0]), "camera front has standard deviations"),
        (lambda c: c["actions"][0].update(std=0.0), "action dx has standard deviation 0"),
        (lambda c: c["states"][0].update(low=float("nan")), "bounds [nan"),
        (lambda c: c["states"][0].update(low="left"), "malformed"),
    ],
)
def test_contract_with_impossible_values(path, change, word):
    rewrite(path, lambda header: change(header["contract"]))
    for read in (load, load_encoder):
        line = refused(lambda: read(path), ContractError)
        assert word in line and str(path) in line


def test_models_of_other_contracts_differ_in_shape(random_model, contract, tmp_path):
    """One action more: the weights of one contract cannot be loaded as the other's."""
    another = dataclasses.replace(contract.actions[0], name="dx2")
    more = dataclasses.replace(contract, actions=(*contract.actions, another))
    checkpoint.save(tmp_path / "more.safetensors", random_model(more), "world_model", more, [], {})
    rewrite(tmp_path / "more.safetensors", lambda header: header["contract"]["actions"].pop())
    assert "predictor.action_embed.weight" in refused(lambda: load(tmp_path / "more.safetensors"))
