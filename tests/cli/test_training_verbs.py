"""``jepa-robot pretrain`` and ``train`` from a file of recorded trajectories to a checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.models import checkpoint, load, load_encoder, read_metadata
from jepa_robot.spec import Camera, Contract, Dim

SIZE = 16
CONTRACT = Contract(
    task="point",
    cameras=(Camera("front", SIZE, SIZE),),
    fps=5.0,
    actions=tuple(Dim(f"d{name}", "m", "table", -0.1, 0.1, name) for name in "xy"),
    states=tuple(Dim(name, "m", "table", 0.0, 1.0) for name in "xy"),
)
MODEL = ("model.encoder.patch_size=4", "model.encoder.width=12", "model.encoder.depth=1", "model.encoder.heads=2")
MASKED = ("model.masked_predictor.width=12", "model.masked_predictor.depth=1", "model.masked_predictor.heads=2")
PREDICTOR = ("model.predictor.width=12", "model.predictor.depth=1", "model.predictor.heads=2", "model.metric.hidden=8")
RUN = ("train.steps=3", "train.batch_size=4", "train.evaluate_every=2", "dtype=fp32", "device=cpu")
PRETRAIN = (*MODEL, *MASKED, *RUN, "train.clip_frames=4")
TRAIN = (*PREDICTOR, *RUN)


def write(path: Path, episodes: int = 4, contract: Contract = CONTRACT) -> Path:
    rng = np.random.default_rng(0)
    size = contract.camera.height
    with TrajectoryWriter(path, contract, {"env_name": "point"}, {"made": "by hand"}) as writer:
        for seed in range(episodes):
            steps = 6
            writer.append(
                Episode(
                    frames=rng.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
                    states=rng.uniform(0.2, 0.8, (steps + 1, len(contract.states))).astype(np.float32),
                    actions=rng.uniform(-0.1, 0.1, (steps, len(contract.actions))).astype(np.float32),
                    kind="explore",
                    seed=seed,
                )
            )
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "point.h5")


@pytest.fixture(scope="module")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jepa_robot.cli.main import cli, run

    out = tmp_path_factory.mktemp("pretrained") / "run"
    assert run(cli, "jepa-robot", ["pretrain", f"data={data}", f"out={out}", "threads=1", *PRETRAIN]) == 0
    return out / "encoder.safetensors"


@pytest.fixture(scope="module")
def world(data: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jepa_robot.cli.main import cli, run

    out = tmp_path_factory.mktemp("trained") / "run"
    assert run(cli, "jepa-robot", ["train", f"data={data}", f"encoder={encoder}", f"out={out}", "threads=1", *TRAIN]) == 0
    return out / "world_model.safetensors"


def tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def assert_same(a: Path, b: Path) -> None:
    a, b = tensors(a), tensors(b)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refused(result: tuple[int, str, str], *words: str) -> None:
    code, out, err = result
    assert code == 2 and out == "", err
    assert len(err.strip().splitlines()) == 1 and err.startswith("error: "), err
    assert "unexpected" not in err and "Traceback" not in err
    for word in words:
        assert word in err, err


# -- pretrain ----------------------------------------------------------------------------------------------


def test_pretrain_writes_an_encoder_its_log_and_its_recipe(encoder):
    assert sorted(p.name for p in encoder.parent.iterdir()) == ["encoder.safetensors", "log.jsonl", "state.pt"]
    loaded, header = load_encoder(encoder)
    assert loaded.config.width == 12 and loaded.config.image_size == SIZE
    (entry,) = header["recipe"]
    assert entry["stage"] == "pretrain" and entry["steps"] == 3 and entry["seed"] == 0 and entry["seconds"] >= 0
    assert entry["data"] == {"made": "by hand", "episodes": 4, "frames": 28}
    assert entry["settings"]["data"] == "point.h5" and entry["settings"]["train"]["clip_frames"] == 4
    contract = Contract.from_dict(header["contract"])
    assert not contract.differences(CONTRACT) and contract.camera.mean is not None
    log = [json.loads(line) for line in (encoder.parent / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [2, 3] and entry["figures"]["r2_x"] == log[-1]["r2_x"]


def test_the_teacher_is_what_is_kept(encoder):
    state = torch.load(encoder.parent / "state.pt", weights_only=True)["stage"]
    found = tensors(encoder)
    assert all(torch.equal(found[name], value) for name, value in state["teacher"].items())
    assert any(not torch.equal(found[name], value) for name, value in state["encoder"].items())


def test_the_same_command_again_gives_the_same_and_trains_nothing(call, data, encoder, tmp_path):
    code, out, err = call("pretrain", f"data={data}", f"out={tmp_path / 'again'}", "threads=1", *PRETRAIN)
    assert code == 0 and out == "" and "3 steps" in err
    assert_same(tmp_path / "again" / "encoder.safetensors", encoder)
    before = (tmp_path / "again" / "log.jsonl").read_text()
    assert call("pretrain", f"data={data}", f"out={tmp_path / 'again'}", "threads=1", *PRETRAIN)[0] == 0
    assert (tmp_path / "again" / "log.jsonl").read_text() == before
    assert_same(tmp_path / "again" / "encoder.safetensors", encoder)


def test_interrupted_and_given_again_it_goes_on_to_the_same_weights(call, data, encoder, tmp_path, monkeypatch):
    from jepa_robot.training.pretrain import PretrainStage

    step = PretrainStage.step

    def interrupted(self, index, steps):
        if index == 2:
            raise KeyboardInterrupt
        return step(self, index, steps)

    args = ("pretrain", f"data={data}", "out=run", "threads=1", *PRETRAIN)
    with monkeypatch.context() as patch:
        patch.setattr(PretrainStage, "step", interrupted)
        code, out, err = call(*args)
    assert code == 130 and out == "" and err.strip().splitlines()[-1] == "interrupted"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["log.jsonl", "state.pt"]
    assert call(*args)[0] == 0
    assert_same(tmp_path / "run" / "encoder.safetensors", encoder)


def test_other_settings_in_the_same_folder_are_refused(call, data, encoder):
    before = encoder.read_bytes()
    refused(call("pretrain", f"data={data}", f"out={encoder.parent}", *PRETRAIN, "seed=5"), "seed=0, not 5", "out=FOLDER")
    assert encoder.read_bytes() == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.clip_frames=5", ("train.clip_frames: is 5", "an even number")),
        ("train.clip_frames=2", ("train.clip_frames: is 2", "4 or more")),
        ("train.clip_frames=8", ("no episode has 8 frames", "the longest")),
        ("train.steps=0", ("train.steps: is 0",)),
        ("train.batch_size=-1", ("train.batch_size: is -1",)),
        ("train.lr=0", ("train.lr: is 0",)),
        ("model.encoder.patch_size=5", ("model.encoder", "image_size 16 is not a multiple of patch_size 5")),
        ("model.encoder.heads=5", ("model.encoder: has width 12 and 5 heads", "multiple")),
        ("model.masked_predictor.heads=4", ("model.masked_predictor: has width 12 and 4 heads",)),
        ("model.encoder.patch_size=8", ("train.masks", "of 4 patches visible")),
        ("train.masks=[{blocks:1}]", ("train.masks", "aspect")),
        ("valid_fraction=0", ("valid_fraction",)),
        ("dtype=fp8", ("dtype: unknown dtype 'fp8'",)),
        ("device=tpu9", ("device", "tpu9")),
        ("train=joined", ("joined",)),
        ("train.speed=3", ("train.speed",)),
    ],
)
def test_wrong_settings_of_pretrain(call, data, tmp_path, override, words):
    refused(call("pretrain", f"data={data}", "out=run", *PRETRAIN, override), *words)
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


def test_data_is_required(call):
    refused(call("pretrain", *PRETRAIN), "data not given", "data=...")


# -- data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_data_that_cannot_be_used(call, data, encoder, verb, tmp_path):
    settings = PRETRAIN if verb == "pretrain" else (*TRAIN, f"encoder={encoder}")

    def run(path):
        return call(verb, f"data={path}", "out=run", *settings)

    refused(run("nothing.h5"), "nothing.h5", "no such file", "jepa-robot collect")
    whole = data.read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    refused(run("half.h5"), "half.h5: file cannot be read: truncated", "copy the file again")
    (tmp_path / "empty.h5").write_bytes(b"")
    refused(run("empty.h5"), "empty.h5", "0 bytes")
    (tmp_path / "text.h5").write_text("no HDF5")
    refused(run("text.h5"), "text.h5", "not an HDF5 file")
    (tmp_path / "nan.h5").write_bytes(whole)
    with h5py.File(tmp_path / "nan.h5", "r+") as file:
        file["data/demo_2/actions"][3, 1] = np.nan
    refused(run("nan.h5"), "nan.h5:data/demo_2/actions", "dy at step 3 is nan")
    refused(run(write(tmp_path / "one.h5", episodes=1)), "1 episodes", "at least 2")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_pictures_of_another_size_than_the_file_says(call, data, encoder, verb, tmp_path):
    settings = PRETRAIN if verb == "pretrain" else (*TRAIN, f"encoder={encoder}")
    (tmp_path / "size.h5").write_bytes(data.read_bytes())
    with h5py.File(tmp_path / "size.h5", "r+") as file:
        other = dataclasses.replace(CONTRACT, cameras=(Camera("front", 32, 32),))
        file["data"].attrs["contract"] = other.to_json()
    words = ("obs/front", "32, 32, 3") if verb == "pretrain" else ("size.h5",)
    refused(call(verb, "data=size.h5", *settings), *words)


# -- train -------------------------------------------------------------------------------------------------


def test_train_frozen_keeps_the_encoder_and_tells_both_stages(encoder, world):
    assert sorted(p.name for p in world.parent.iterdir()) == ["log.jsonl", "state.pt", "world_model.safetensors"]
    before, after = tensors(encoder), tensors(world)
    assert all(torch.equal(after[f"encoder.{name}"], value) for name, value in before.items())
    header = read_metadata(world)
    assert [entry["stage"] for entry in header["recipe"]] == ["pretrain", "frozen"]
    assert header["recipe"][0] == read_metadata(encoder)["recipe"][0]
    assert {"mse_1", "copy_mse_1", "mean_mse_1"} <= set(header["recipe"][1]["figures"])
    model = load(world)
    assert model.contract.camera == Contract.from_dict(read_metadata(encoder)["contract"]).camera
    assert not model.contract.differences(CONTRACT)
    assert model.config.metric.dims == 2


def test_joint_training_goes_on_from_a_world_model(call, data, world, tmp_path):
    args = ("train", "train=joint", f"data={data}", f"start={world}", "threads=1", *RUN)
    assert call(*args, "out=a")[0] == 0
    before, after = tensors(world), tensors(tmp_path / "a" / "world_model.safetensors")
    assert before.keys() == after.keys()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"encoder", "predictor", "metric_head"} <= moved
    header = read_metadata(tmp_path / "a" / "world_model.safetensors")
    assert [entry["stage"] for entry in header["recipe"]] == ["pretrain", "frozen", "joint"]
    assert load(tmp_path / "a" / "world_model.safetensors").contract == load(world).contract
    torch.manual_seed(987)  # whatever the process did before
    assert call(*args, "out=b")[0] == 0
    assert_same(tmp_path / "a" / "world_model.safetensors", tmp_path / "b" / "world_model.safetensors")


def test_frozen_training_may_go_on_too(call, data, world, tmp_path):
    assert call("train", f"data={data}", f"start={world}", "threads=1", *RUN, "out=more")[0] == 0
    before, after = tensors(world), tensors(tmp_path / "more" / "world_model.safetensors")
    same = {name.split(".")[0] for name in before if name.endswith("weight") and torch.equal(before[name], after[name])}
    moved = {name.split(".")[0] for name in before if name.endswith("weight") and not torch.equal(before[name], after[name])}
    assert same == {"encoder"} and moved == {"predictor", "metric_head"}
    statistics = [name for name in before if name.startswith("standardise.")]
    assert len(statistics) == 3 and all(torch.equal(before[name], after[name]) for name in statistics)


def test_train_takes_the_encoder_of_a_world_model(call, data, world, tmp_path):
    assert call("train", f"data={data}", f"encoder={world}", "threads=1", *TRAIN, "out=new")[0] == 0
    after = tensors(tmp_path / "new" / "world_model.safetensors")
    assert all(torch.equal(after[n], v) for n, v in tensors(world).items() if n.startswith("encoder."))


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_bf16(call, data, encoder, verb, tmp_path):
    settings = PRETRAIN if verb == "pretrain" else (*TRAIN, "train=joint", f"encoder={encoder}")
    code, _, err = call(verb, f"data={data}", "out=run", "threads=1", *settings, "dtype=bf16")
    assert code == 0, err
    found = tensors(tmp_path / "run" / ("encoder.safetensors" if verb == "pretrain" else "world_model.safetensors"))
    assert all(value.dtype == torch.float32 for name, value in found.items() if name.endswith(("weight", "bias")))
    assert all(value.isfinite().all() for value in found.values())


def test_exactly_one_source(call, data, encoder, world):
    refused(call("train", f"data={data}", *TRAIN), "exactly one of encoder=CKPT", "start=CKPT")
    refused(call("train", f"data={data}", f"encoder={encoder}", f"start={world}", *TRAIN), "exactly one of")


def test_sources_that_cannot_be_used(call, data, encoder, tmp_path):
    refused(call("train", f"data={data}", "encoder=nothing", *TRAIN), "nothing", "no such checkpoint")
    refused(call("train", f"data={data}", f"start={encoder}", *RUN), "kind 'encoder'")
    (tmp_path / "half.safetensors").write_bytes(encoder.read_bytes()[:500])
    refused(call("train", f"data={data}", "encoder=half.safetensors", *TRAIN), "half.safetensors", "cannot be read")


@pytest.mark.parametrize("override", ["model.predictor.width=24", "model=tiny", "model.metric.hidden=8"])
def test_sizes_beside_a_world_model_that_has_its_own(call, data, world, override):
    refused(call("train", f"data={data}", f"start={world}", *RUN, override), f"'{override}': has no effect", "start=CKPT")


def test_sizes_of_parts_that_another_verb_makes(call, data, encoder):
    for verb, override in (
        (("train", f"encoder={encoder}", *TRAIN), "model.encoder.width=24"),
        (("train", f"encoder={encoder}", *TRAIN), "model.masked_predictor.depth=2"),
        (("pretrain", *PRETRAIN), "model.predictor.max_frames=2"),
        (("pretrain", *PRETRAIN), "model.metric.hidden=2"),
    ):
        refused(call(*verb, f"data={data}", override), f"override '{override}': has no effect here", "leave it out")


def test_another_file_under_the_same_name_is_another_input(call, data, encoder, tmp_path):
    """A run is not resumed on data or on an encoder that were made anew in place."""
    mine, start = tmp_path / "mine.h5", tmp_path / "start.safetensors"
    mine.write_bytes(data.read_bytes())
    start.write_bytes(encoder.read_bytes())
    args = ("train", f"data={mine}", f"encoder={start}", "threads=1", *TRAIN, "out=run")
    assert call(*args)[0] == 0
    kept = read_metadata(tmp_path / "run" / "world_model.safetensors")["recipe"][-1]["settings"]
    assert kept["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert kept["checkpoint_sha256"] == hashlib.sha256(encoder.read_bytes()).hexdigest()
    before = (tmp_path / "run" / "world_model.safetensors").read_bytes()

    checkpoint.record_results(start, {"measured": 1})  # other bytes
    refused(call(*args), "run: folder holds a run with checkpoint_sha256=", "out=FOLDER")
    start.write_bytes(encoder.read_bytes())
    with h5py.File(mine, "r+") as file:
        file["data/demo_0/actions"][0, 0] += 0.001
    refused(call(*args), "run: folder holds a run with data_sha256=")
    refused(call("pretrain", f"data={mine}", f"out={encoder.parent}", *PRETRAIN), "folder holds a run with data=")
    assert (tmp_path / "run" / "world_model.safetensors").read_bytes() == before
    mine.write_bytes(data.read_bytes())
    assert call(*args)[0] == 0  # the old content again


def test_the_recipe_names_files_without_folders(world, data, encoder, call, tmp_path):
    settings = [entry["settings"] for entry in read_metadata(world)["recipe"]]
    assert [s["data"] for s in settings] == ["point.h5", "point.h5"]
    assert settings[1]["encoder"] == "encoder.safetensors" and settings[1]["start"] is None


def test_data_of_another_contract(call, encoder, world, tmp_path):
    slower = dataclasses.replace(CONTRACT, fps=4.0)
    write(tmp_path / "slower.h5", contract=slower)
    for source in ((f"encoder={encoder}", *TRAIN), (f"start={world}", *RUN)):
        refused(call("train", "data=slower.h5", *source), "fps", "5.0", "4.0", "slower.h5")
    dims = tuple(dataclasses.replace(d, unit="cm") for d in CONTRACT.actions)
    write(tmp_path / "cm.h5", contract=dataclasses.replace(CONTRACT, actions=dims))
    refused(call("train", "data=cm.h5", f"encoder={encoder}", *TRAIN), "actions[dx].unit", "'cm'", "'m'")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.dynamics.rollout_steps=1", ("train.dynamics.rollout_steps: is 1",)),
        ("train.dynamics.rollout_steps=9", ("train.dynamics.rollout_steps: is 9",)),
        ("train.frames=7", ("train.frames: is 7", "model.predictor.max_frames + 1")),
        ("model.predictor.heads=5", ("model.predictor: has width 12 and 5 heads",)),
        ("train.steps=-3", ("train.steps: is -3",)),
    ],
)
def test_wrong_settings_of_train(call, data, encoder, override, words):
    refused(call("train", f"data={data}", f"encoder={encoder}", *TRAIN, "model.predictor.max_frames=4", override), *words)


def test_a_loss_that_is_no_number(call, data, encoder, tmp_path):
    """A learning rate out of all proportion: one line, and no checkpoint."""
    code, out, err = call(
        "train", f"data={data}", f"encoder={encoder}", "threads=1", *TRAIN, "train.steps=30", "train.lr=1e30", "out=run"
    )
    assert code == 2 and out == ""
    assert err.strip().splitlines()[-1].startswith("error: ") and "train.lr" in err and "Traceback" not in err
    assert not (tmp_path / "run" / "world_model.safetensors").exists()
