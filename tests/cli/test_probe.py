"""``jepa-robot probe``: the encoder's figures beside random weights and raw pixels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import assert_refused
from PIL import Image

from jepa_robot.data.dataset import load_arrays
from jepa_robot.data.normalisation import statistics
from jepa_robot.data.splits import split_episodes
from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.models import checkpoint
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.spec import Camera, Contract, Dim
from jepa_robot.training.probes import pixels, representation_figures, untrained

SIZE = 32
COLUMNS = ("encoder", "random weights", "pixels")
CONTRACT = Contract(
    task="point",
    cameras=(Camera("front", SIZE, SIZE),),
    fps=5.0,
    actions=(Dim("dx", "m", "table", -0.1, 0.1, "x"),),
    states=(Dim("x", "m", "table", 0.0, 1.0), Dim("hidden", "1", "table", 0.0, 1.0)),
)


def write(path: Path, contract: Contract = CONTRACT, episodes: int = 20) -> Path:
    """The picture's brightness is x; the other state is not in the picture."""
    rng = np.random.default_rng(0)
    with TrajectoryWriter(path, contract, {"env_name": "point"}) as writer:
        for seed in range(episodes):
            states = rng.uniform(0, 1, (11, 2)).astype(np.float32)
            noise = rng.uniform(0, 20, (11, SIZE, SIZE, 3))
            frames = (230 * states[:, :1, None, None] + noise).astype(np.uint8)
            actions = rng.uniform(-0.1, 0.1, (10, 1)).astype(np.float32)
            writer.append(Episode(frames, states, actions, "explore", seed))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "point.h5")


@pytest.fixture(scope="module")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "encoder.safetensors"
    contract = statistics(load_arrays(data), np.arange(18))
    torch.manual_seed(7)
    config = EncoderConfig(image_size=SIZE, patch_size=16, width=24, depth=1, heads=2, mlp_ratio=2.0)
    module = VideoEncoder(config, contract.camera.mean, contract.camera.std)
    checkpoint.save(path, module, "encoder", contract, [], {})
    return path


def figures(call, *args):
    code, out, err = call("probe", *args, "--json")
    assert code == 0 and err == "" and len(out.strip().splitlines()) == 1
    return json.loads(out)


def test_json(call, encoder, data):
    found = figures(call, encoder, "--data", data)
    facts = ["checkpoint", "data", "against_checkpoint", "valid_episodes", "random_seeds"]
    assert list(found) == [*facts, *COLUMNS, "random weights std"] and found["against_checkpoint"] is None
    assert found["checkpoint"] == str(encoder) and found["data"] == str(data) and found["valid_episodes"] == 2
    keys = {"latent_std", "effective_rank", "dead_dims", "mean_r2_effector"}
    keys |= {"r2_x", "r2_hidden", "rmse_x", "rmse_hidden"}
    assert all(set(found[column]) == keys for column in COLUMNS)


def test_encoder_figures_are_those_of_training(call, encoder, data):
    arrays = load_arrays(data)
    train, valid = split_episodes(20, 0.3, 4)
    loaded, _ = checkpoint.load_encoder(encoder)
    expected = representation_figures(loaded, arrays, train, valid)
    found = figures(call, encoder, "--data", data, "--valid-fraction", 0.3, "--seed", 4)
    assert found["valid_episodes"] == 6 and found["encoder"] == pytest.approx(expected)


def test_what_is_in_the_picture_is_found_and_what_is_not_is_not(call, encoder, data):
    found = figures(call, encoder, "--data", data, "--valid-fraction", 0.3)
    for column in COLUMNS:
        assert found[column]["r2_x"] > 0.6 > 0.2 > found[column]["r2_hidden"], column
        assert found[column]["rmse_x"] < 0.2 < 0.25 < found[column]["rmse_hidden"], column
    assert found["pixels"]["r2_x"] > 0.99


def test_random_weights_belong_to_the_seed(call, encoder, data):
    a, b, c = (figures(call, encoder, "--data", data, "--seed", seed) for seed in (0, 0, 1))
    assert a == b
    assert a["random weights"]["effective_rank"] != c["random weights"]["effective_rank"]
    assert a["random weights"] != a["encoder"]


def test_random_weights_are_the_mean_over_seeds(call, encoder, data):
    arrays, (loaded, _) = load_arrays(data), checkpoint.load_encoder(encoder)
    episodes = split_episodes(20, 0.1, 4)
    ranks = [representation_figures(untrained(loaded, s), arrays, *episodes)["effective_rank"] for s in (4, 5)]
    found = figures(call, encoder, "--data", data, "--seed", 4, "--random-seeds", 2)
    assert found["random weights"]["effective_rank"] == pytest.approx(sum(ranks) / 2)
    assert found["random weights std"]["effective_rank"] == pytest.approx(abs(ranks[0] - ranks[1]) / 2)


def test_against_another_checkpoint(call, encoder, data, tmp_path):
    loaded, header = checkpoint.load_encoder(encoder)
    other = tmp_path / "other.safetensors"
    checkpoint.save(other, untrained(loaded, 9), "encoder", Contract.from_dict(header["contract"]), [], {})
    found = figures(call, encoder, "--data", data, "--against", other)
    assert found["against"] == figures(call, other, "--data", data)["encoder"] != found["encoder"]
    assert found["against_checkpoint"] == str(other)


def test_a_plot(call, encoder, data):
    code, out, err = call("probe", encoder, "--data", data, "--plot", "figures.png")
    assert code == 0 and err == "" and out
    with Image.open("figures.png") as picture:
        assert picture.format == "PNG"
        colours = set(picture.convert("RGB").get_flattened_data())
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} <= colours  # matplotlib's first three: a bar a column
    assert_refused(call("probe", encoder, "--data", data, "--plot", "figures.jpg"), "--plot", ".png")


def test_pixels_are_averaged_to_16_by_16():
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = pixels(frames).transpose(1, 2).unflatten(2, (16, 16))
    assert found.shape == (2, 3, 16, 16)
    for row in range(16):
        for column in range(16):
            block = frames[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2)) / 255
            assert found[:, :, row, column].numpy() == pytest.approx(block, abs=1e-6)


def test_table(call, encoder, data):
    code, out, err = call("probe", encoder, "--data", data)
    assert code == 0 and err == ""
    head, *rows = out.splitlines()
    assert head.endswith(" pixels") and "random weights" in head
    titles = ["standard deviation", "effective rank", "dead dimensions (share)", "R2 end-effector, mean"]
    titles += ["R2 x", "RMSE x (m)", "R2 hidden", "RMSE hidden"]
    assert [next(t for t in sorted(titles, key=len, reverse=True) if row.startswith(t)) for row in rows] == titles
    assert len({len(line) for line in (head, *rows)}) == 1
    found = figures(call, encoder, "--data", data)
    spread = f"±{found['random weights std']['r2_x']:.2g}"
    encoded, random, raw = (f"{found[column]['r2_x']:.4g}" for column in COLUMNS)
    assert rows[4].split()[2:] == [encoded, random, spread, raw]


def test_a_world_model_s_encoder(call, tiny_checkpoint, tmp_path):
    from jepa_robot.models import load

    contract = load(tiny_checkpoint).contract
    rng = np.random.default_rng(0)
    size = contract.camera.height
    with TrajectoryWriter(tmp_path / "reach.h5", contract, {"env_name": "reach"}) as writer:
        for seed in range(3):
            frames = rng.integers(0, 256, (5, size, size, 3), dtype=np.uint8)
            states = rng.uniform(0.3, 0.6, (5, 4)).astype(np.float32)
            writer.append(Episode(frames, states, np.zeros((4, 4), np.float32), "explore", seed))
    found = figures(call, tiny_checkpoint, "--data", "reach.h5")
    assert {"r2_x", "r2_y", "r2_z", "r2_gripper"} <= set(found["encoder"])


def test_wrong_use(call, encoder, data, tmp_path):
    assert_refused(call("probe", encoder), "--data")
    assert_refused(call("probe", "nothing", "--data", data), "nothing", "no such checkpoint")
    assert_refused(call("probe", encoder, "--data", "nothing.h5"), "nothing.h5", "no such file")
    assert_refused(call("probe", encoder, "--data", data, "--valid-fraction", 1), "--valid-fraction")
    assert_refused(call("probe", encoder, "--data", write(tmp_path / "one.h5", episodes=1)), "1 episode", "at least 2")
    other = dataclasses.replace(CONTRACT, fps=2.0)
    assert_refused(call("probe", encoder, "--data", write(tmp_path / "slow.h5", other, 2)), "fps", "2.0", "5.0")
