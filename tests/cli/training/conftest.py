"""A file of trajectories, an encoder that `pretrain` made of it, and a world model that `train` made of both."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_runs import PRETRAIN, TRAIN, write

from jepa_robot.cli.main import cli, run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "point.h5")


@pytest.fixture(scope="session")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "run"
    assert run(cli, "jepa-robot", ["pretrain", f"data={data}", f"out={out}", *PRETRAIN]) == 0
    return out / "encoder.safetensors"


@pytest.fixture(scope="session")
def world(data: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run(cli, "jepa-robot", ["train", f"data={data}", f"encoder={encoder}", f"out={out}", *TRAIN]) == 0
    return out / "world_model.safetensors"
