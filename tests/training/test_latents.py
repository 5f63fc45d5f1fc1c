"""Latents of a frozen encoder beyond what memory may hold: the same training, from a file that leaves no trace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensors import assert_same_state

from jepa_robot.errors import OutputError
from jepa_robot.training import latents, loop
from jepa_robot.training.latents import LatentStore
from jepa_robot.training.probes import encode_rows
from jepa_robot.training.world import WorldStage

BYTES = 48 * 16 * 12 * 2  # 6 episodes of 8 frames, 16 tokens of width 12, two bytes each


def mapped(folder: Path) -> list[str]:
    """Files of a folder that this process has in its address space."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]


def test_memory_holds_what_it_may_and_a_file_the_rest(world_stage: Callable[..., WorldStage], tmp_path: Path) -> None:
    stage = world_stage(store=LatentStore(BYTES / 1e9, tmp_path / "run"))
    assert stage.latents.nbytes == BYTES
    assert not (tmp_path / "run").exists() and not mapped(tmp_path)
    stage = world_stage(store=LatentStore((BYTES - 1) / 1e9, tmp_path / "run"))
    (line,) = mapped(tmp_path / "run")
    assert line.endswith("(deleted)") and os.listdir(tmp_path / "run") == []  # nothing to be left by a kill
    assert str(stage.latents.dtype) == "torch.float16"
    del stage
    assert not mapped(tmp_path)


def test_they_are_the_encoder_s_whatever_the_batch(
    world_stage: Callable[..., WorldStage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = world_stage(store=LatentStore(0.0, tmp_path))
    expected = encode_rows(stage.model.encoder, stage.data, np.arange(48), torch.float16)
    assert torch.equal(stage.latents, expected)
    monkeypatch.setattr(latents, "_BATCH", 7)  # the last batch is not whole
    found = LatentStore(0.0, tmp_path).encode(stage.model.encoder, stage.data)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_training_from_a_file_is_the_same_to_the_bit(world_stage: Callable[..., WorldStage], tmp_path: Path) -> None:
    inside, outside = world_stage(), world_stage(store=LatentStore(0.0, tmp_path))
    for index in range(5):
        assert inside.step(index, 10) == outside.step(index, 10)
    assert inside.evaluate() == outside.evaluate()
    for stage in (inside, outside):
        stage.calibrate()
    assert_same_state(inside.state_dict(), outside.state_dict())


def test_resuming_makes_the_file_again(world_stage: Callable[..., WorldStage], tmp_path: Path) -> None:
    def train(out: str, memory_gb: float, stop: int = 6) -> WorldStage:
        stage = world_stage(store=LatentStore(memory_gb, tmp_path / out))
        step = stage.step

        def interrupted(index: int, steps: int) -> dict[str, float]:
            if index == stop:
                raise KeyboardInterrupt
            return step(index, steps)

        stage.step = interrupted
        loop.run(stage, tmp_path / out, {"a": 1}, steps=6, evaluate_every=3, save_minutes=1000)
        return stage

    with pytest.raises(KeyboardInterrupt):
        train("broken", 0.0, stop=4)
    assert_same_state(train("broken", 0.0).state_dict(), train("whole", 1.0).state_dict())
    assert sorted(os.listdir(tmp_path / "broken")) == ["log.jsonl", "state.pt"]


def test_a_joint_stage_keeps_no_latents(world_stage: Callable[..., WorldStage], tmp_path: Path) -> None:
    stage = world_stage(joint=True, store=LatentStore(0.0, tmp_path / "run"))
    stage.step(0, 10)
    assert stage.latents is None and not (tmp_path / "run").exists()


def test_no_room_is_one_clear_error(
    world_stage: Callable[..., WorldStage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"run: cannot hold 1\.84e-05 GB of latents \(No space left.*out=FOLDER"):
        world_stage(store=LatentStore(0.0, tmp_path / "run"))
    assert os.listdir(tmp_path / "run") == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: cannot hold .*\(File exists\)"):
        world_stage(store=LatentStore(0.0, tmp_path / "file"))
