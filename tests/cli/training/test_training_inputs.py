"""Data and checkpoints given to ``pretrain`` and ``train``: what fits, what is refused, and what the recipe keeps."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil

import h5py
import numpy as np
import pytest
from command_line import assert_refused
from damage import attribute, break_file, damage
from training_runs import CONTRACT, PRETRAIN, RUN, TRAIN, write

from jepa_robot.models import checkpoint, read_metadata
from jepa_robot.spec import Camera


@pytest.fixture(params=["pretrain", "train"])
def train_on(request, call, encoder):
    """Run either verb on a file."""
    settings = PRETRAIN if request.param == "pretrain" else (*TRAIN, f"encoder={encoder}")
    return lambda path: call(request.param, f"data={path}", "out=run", *settings)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", ("no such file", "jepa-robot collect")),
        ("half", ("mine.h5: file cannot be read: truncated", "copy the file again")),
        ("empty", ("0 bytes",)),
        ("text", ("not an HDF5 file",)),
    ],
)
def test_files_that_cannot_be_read(train_on, data, tmp_path, how, words):
    mine = shutil.copy(data, tmp_path / "mine.h5")
    break_file(mine, how, tmp_path)
    assert_refused(train_on(mine), "mine.h5", *words)
    assert not (tmp_path / "run").exists()


def test_not_a_number(train_on, data, tmp_path):
    with h5py.File(shutil.copy(data, tmp_path / "nan.h5"), "r+") as file:
        file["data/demo_2/actions"][3, 1] = np.nan
    assert_refused(train_on("nan.h5"), "nan.h5:data/demo_2/actions", "dy at step 3 is nan")
    assert not (tmp_path / "run").exists()


def test_too_few_episodes(train_on, tmp_path):
    assert_refused(train_on(write(tmp_path / "one.h5", episodes=1)), "1 episodes", "at least 2")
    assert not (tmp_path / "run").exists()


def test_pictures_of_another_size_than_the_file_says(train_on, data, tmp_path):
    other = dataclasses.replace(CONTRACT, cameras=(Camera("front", 32, 32),))
    damage(shutil.copy(data, tmp_path / "size.h5"), attribute("data", "contract", other.to_json()))
    assert_refused(train_on("size.h5"), "size.h5", "32")


def test_data_of_another_contract(call, encoder, world, tmp_path):
    slower = dataclasses.replace(CONTRACT, fps=4.0)
    write(tmp_path / "slower.h5", contract=slower)
    for source in ((f"encoder={encoder}", *TRAIN), (f"start={world}", *RUN)):
        assert_refused(call("train", "data=slower.h5", *source), "fps", "5.0", "4.0", "slower.h5")
    dims = tuple(dataclasses.replace(d, unit="cm") for d in CONTRACT.actions)
    write(tmp_path / "cm.h5", contract=dataclasses.replace(CONTRACT, actions=dims))
    assert_refused(call("train", "data=cm.h5", f"encoder={encoder}", *TRAIN), "actions[dx].unit", "'cm'", "'m'")


def test_exactly_one_source(call, data, encoder, world):
    assert_refused(call("train", f"data={data}", *TRAIN), "exactly one of encoder=CKPT", "start=CKPT")
    assert_refused(call("train", f"data={data}", f"encoder={encoder}", f"start={world}", *TRAIN), "exactly one of")


def test_sources_that_cannot_be_used(call, data, encoder, tmp_path):
    assert_refused(call("train", f"data={data}", "encoder=nothing", *TRAIN), "nothing", "no such checkpoint")
    assert_refused(call("train", f"data={data}", f"start={encoder}", *RUN), "kind 'encoder'")
    (tmp_path / "half.safetensors").write_bytes(encoder.read_bytes()[:500])
    outcome = call("train", f"data={data}", "encoder=half.safetensors", *TRAIN)
    assert_refused(outcome, "half.safetensors", "cannot be read")


@pytest.mark.parametrize("override", ["model.predictor.width=24", "model=tiny", "model.metric.hidden=8"])
def test_sizes_beside_a_world_model_that_has_its_own(call, data, world, override):
    outcome = call("train", f"data={data}", f"start={world}", *RUN, override)
    assert_refused(outcome, f"'{override}': has no effect", "start=CKPT")


def test_sizes_of_parts_that_another_verb_makes(call, data, encoder):
    for verb, override in (
        (("train", f"encoder={encoder}", *TRAIN), "model.encoder.width=24"),
        (("train", f"encoder={encoder}", *TRAIN), "model.masked_predictor.depth=2"),
        (("pretrain", *PRETRAIN), "model.predictor.max_frames=2"),
        (("pretrain", *PRETRAIN), "model.metric.hidden=2"),
    ):
        outcome = call(*verb, f"data={data}", override)
        assert_refused(outcome, f"override '{override}': has no effect here", "leave it out")


def test_another_file_under_the_same_name_is_another_input(call, data, encoder, tmp_path):
    """A run is not resumed on data or on an encoder that were made anew in place."""
    mine, start = tmp_path / "mine.h5", tmp_path / "start.safetensors"
    mine.write_bytes(data.read_bytes())
    start.write_bytes(encoder.read_bytes())
    args = ("train", f"data={mine}", f"encoder={start}", *TRAIN, "out=run")
    assert call(*args)[0] == 0
    kept = read_metadata(tmp_path / "run" / "world_model.safetensors")["recipe"][-1]["settings"]
    assert kept["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert kept["checkpoint_sha256"] == hashlib.sha256(encoder.read_bytes()).hexdigest()
    before = (tmp_path / "run" / "world_model.safetensors").read_bytes()

    checkpoint.record_results(start, {"measured": 1})  # other bytes
    assert_refused(call(*args), "run: folder holds a run with checkpoint_sha256=", "out=FOLDER")
    start.write_bytes(encoder.read_bytes())
    with h5py.File(mine, "r+") as file:
        file["data/demo_0/actions"][0, 0] += 0.001
    assert_refused(call(*args), "run: folder holds a run with data_sha256=")
    outcome = call("pretrain", f"data={mine}", f"out={encoder.parent}", *PRETRAIN)
    assert_refused(outcome, "folder holds a run with data=")
    assert (tmp_path / "run" / "world_model.safetensors").read_bytes() == before
    mine.write_bytes(data.read_bytes())
    assert call(*args)[0] == 0  # the old content again


def test_the_recipe_names_files_without_folders(world):
    settings = [entry["settings"] for entry in read_metadata(world)["recipe"]]
    assert [s["data"] for s in settings] == ["point.h5", "point.h5"]
    assert settings[1]["encoder"] == "encoder.safetensors" and settings[1]["start"] is None
