"""A model trains from every known format, streamed or in memory, and from several sources at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import assert_refused
from damage import damage, delete

from jepa_robot.models import load, read_metadata

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
SMALL = (
    "model.encoder.patch_size=8",
    "model.encoder.width=24", "model.encoder.depth=1", "model.encoder.heads=2", "model.masked_predictor.width=24",
    "model.masked_predictor.depth=1", "model.masked_predictor.heads=2",
)
DATA = {
    "robomimic": ("robomimic/image.hdf5",),
    "minari": ("minari/dict", "source.fps=10"),
    "stable_worldmodel": ("stable_worldmodel/moving_block.h5", "source.fps=10"),
    "lerobot": ("lerobot/video",),
    "droid": ("droid/raw",),
}


def train(call, data, *settings, stage="frozen", windows=("train.clip_frames=4", "train.frames=3")):
    common = [f"data={data}", "source.image_size=32", "valid_fraction=0.3", *settings]
    code, _, err = call(
        "pretrain", *common, *SMALL, "out=encoder", "train.steps=2", "train.batch_size=2", windows[0]
    )
    assert code == 0, err
    code, _, err = call(
        "train", f"train={stage}", *common, "encoder=encoder/encoder.safetensors", "out=world", "train.steps=2",
        "train.batch_size=2", windows[1], "model.predictor.width=24", "model.predictor.depth=1",
        "model.predictor.heads=2", "model.metric.hidden=16",
    )
    assert code == 0, err
    return Path("world/world_model.safetensors")


@pytest.mark.parametrize("name", list(DATA))
@pytest.mark.parametrize("memory", [4.0, 0.0])
def test_every_format(call, name, memory):
    sample, *settings = DATA[name]
    checkpoint = train(call, SAMPLES / sample, f"loader.memory_gb={memory}", *settings, stage="joint")
    contract = load(str(checkpoint)).contract
    assert contract.camera.height == 32 and contract.actions and all(d.std for d in contract.states)
    assert read_metadata(checkpoint)["recipe"][1]["settings"]["data"] == Path(sample).name


def test_frozen_stage_on_streamed_data(call):
    checkpoint = train(call, SAMPLES / "lerobot/video", "loader.memory_gb=0")
    assert load(str(checkpoint)).contract.fps == 10


def test_several_sources_and_frame_skip(call, tmp_path):
    for part in "ab":
        shutil.copy(SAMPLES / "robomimic/image.hdf5", tmp_path / f"{part}.hdf5")
        damage(tmp_path / f"{part}.hdf5", delete("mask"))  # the held-out episode that it declares is too short
    checkpoint = train(
        call, f"[{tmp_path}/a.hdf5,{tmp_path}/b.hdf5]", "loader.weights=[1,3]", "loader.skip=2",
        "loader.augment.shift=2", windows=("train.clip_frames=4", "train.frames=3"),
    )
    recipe = read_metadata(checkpoint)["recipe"]
    assert recipe[1]["settings"]["data"] == ["a.hdf5", "b.hdf5"]
    assert load(str(checkpoint)).contract.action_repeat == 2


def test_held_out_episodes_that_are_too_short(call, tmp_path):
    """The sample declares that its shortest episode, of 6 frames, is held out."""
    data = (f"data={SAMPLES / 'robomimic/image.hdf5'}", "source.image_size=32", "loader.skip=2", *SMALL)
    outcome = call("pretrain", *data, "train.steps=2", "train.clip_frames=4")
    assert_refused(outcome, "no held-out episode has 7 frames (the longest of 1 has 6)")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("source.fps=10", "source.format=minary"), "there is no format 'minary'; expected minari"),
        (("source.camera=7",), "source.camera: is 7; expected a name"),
        ((), "does not say its frame rate"),
        (("source.fps=10", "source.camera=top"), "has no camera 'top'"),
        (("source.fps=10", "loader.weights=[1,1]"), "2 weights for 1 sources"),
        (("source.fps=10", "loader.weights=[-1]"), "loader.weights: has -1"),
        (("source.fps=10", "loader.skip=0"), "loader.skip: is 0"),
        (("source.fps=10", "source.contract=nothing.json"), "nothing.json: cannot be read"),
    ],
)
def test_wrong_settings(call, tmp_path, settings, words):
    outcome = call(
        "pretrain", f"data={SAMPLES / 'minari/dict'}", "source.image_size=32", "valid_fraction=0.3", *SMALL,
        "train.steps=2", "train.clip_frames=4", *settings,
    )
    assert_refused(outcome, words)
    assert not (tmp_path / "outputs").exists()
