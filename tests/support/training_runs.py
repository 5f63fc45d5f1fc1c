"""Settings of the smallest runs of ``pretrain`` and ``train``, and a file to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.spec import Camera, Contract, Dim

SIZE = 16  # pixels
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
RUN = ("train.steps=3", "train.batch_size=4", "train.evaluate_every=2", "dtype=fp32", "device=cpu", "threads=1")
PRETRAIN = (*MODEL, *MASKED, *RUN, "train.clip_frames=4")
TRAIN = (*PREDICTOR, *RUN)


def write(path: Path, episodes: int = 4, contract: Contract = CONTRACT) -> Path:
    """Episodes of 6 random actions."""
    rng = np.random.default_rng(0)
    size, steps = contract.camera.height, 6
    with TrajectoryWriter(path, contract, {"env_name": "point"}, {"made": "by hand"}) as writer:
        for seed in range(episodes):
            frames = rng.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8)
            states = rng.uniform(0.2, 0.8, (steps + 1, len(contract.states))).astype(np.float32)
            actions = rng.uniform(-0.1, 0.1, (steps, len(contract.actions))).astype(np.float32)
            writer.append(Episode(frames, states, actions, "explore", seed))
    return path
