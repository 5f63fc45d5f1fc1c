"""Declared splits on the command line, and how far opening a source is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import Outcome, assert_refused

from jepa_robot.cli.config import compose
from jepa_robot.cli.data import progress
from jepa_robot.cli.training import prepare
from jepa_robot.data.format import Episode
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.spec import Contract

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
ROBOMIMIC = SAMPLES / "robomimic" / "image.hdf5"
Call = Callable[..., Outcome]


def write(path: Path, contract: Contract, splits: tuple[str, ...]) -> Path:
    """An episode for each split; episode i has the actions i / 100."""
    camera, middle = contract.camera, (contract.state_low + contract.state_high) / 2
    with TrajectoryWriter(path, contract, {}) as writer:
        for i, split in enumerate(splits):
            frames = np.full((4, camera.height, camera.width, 3), 10 * i, np.uint8)
            actions = np.full((3, len(contract.actions)), i / 100, np.float32)
            writer.append(Episode(frames, np.repeat(middle[None], 4, 0), actions), splits=[split] if split else [])
    return path


def test_info_prints_them(call: Call, contract: Contract) -> None:
    facts = json.loads(call("data", "info", ROBOMIMIC, "--json")[1])
    assert facts["splits"] == {"train": 2, "valid": 1} and "mask" not in facts["recipe"]
    lines = call("data", "info", ROBOMIMIC)[1].splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("splits ")] == ["train 2, valid 1"]
    write(Path("a.h5"), contract, ("", ""))
    lines = call("data", "info", "a.h5")[1].splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("splits ")] == ["none declared"]


def test_statistics_are_those_of_the_declared_training_split(call: Call, contract: Contract) -> None:
    write(Path("a.h5"), contract, ("valid", "train", "", "train", "valid"))
    for fraction in (0.0, 0.5):  # says nothing where a split is declared
        code, out, _ = call("data", "stats", "a.h5", "--json", "--valid-fraction", fraction)
        facts = json.loads(out)
        assert (code, facts["episodes"], facts["episodes_held_out"]) == (0, 2, 3)
        assert facts["actions"][0]["mean"] == pytest.approx(0.02)  # of 0.01 and 0.03
        assert (facts["actions"][0]["min"], facts["actions"][0]["max"]) == pytest.approx((0.01, 0.03))


def test_training_and_its_normalisation_take_them(
    tmp_path: Path, contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.h5", contract, ("valid", "train", "", "train", "valid"))
    data = prepare(compose("train", (f"data={path}", "valid_fraction=0.2")))
    assert (data.train.tolist(), data.valid.tolist()) == ([1, 3], [0, 4])
    assert "1 of 5 episodes are in neither of the declared splits" in caplog.text
    assert [dim.mean for dim in data.contract.actions] == pytest.approx([0.02] * 4)
    other = write(tmp_path / "b.h5", contract, ("", "", "", "", ""))
    data = prepare(compose("train", (f"data=[{path},{other}]", "valid_fraction=0.2")))
    assert data.train[:2].tolist() == [1, 3] and data.valid[:2].tolist() == [0, 4]
    assert sorted([*data.train[2:], *data.valid[2:]]) == [5, 6, 7, 8, 9] and len(data.valid) == 3


def test_a_bad_list_is_one_line(call: Call, contract: Contract) -> None:
    path = write(Path("a.h5"), contract, ("train", "valid"))
    with h5py.File(path, "r+") as file:
        file["mask/valid"][0] = b"demo_5"
    for verb in (("info",), ("check",), ("stats",), ("convert", "out.h5")):
        words = ("data", verb[0], "a.h5", *verb[1:])
        assert_refused(call(*words), "a.h5:mask/valid", "'demo_5', which there is not")
    assert not Path("out.h5").exists()


def test_merging_with_and_without_them(call: Call, contract: Contract) -> None:
    write(Path("a.h5"), contract, ("train", "valid"))
    write(Path("b.h5"), contract, ("",))
    assert_refused(call("data", "merge", "a.h5", "b.h5", "-o", "all.h5"), "b.h5", "--without-splits")
    assert call("data", "merge", "a.h5", "b.h5", "-o", "all.h5", "--without-splits").code == 0
    assert call("data", "merge", "a.h5", "all.h5", "-o", "more.h5", "--without-splits").code == 0
    with TrajectoryReader("all.h5") as reader:
        assert len(reader) == 3 and not reader.splits


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_opening_that_takes_long_is_reported(call: Call, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(progress, "_OPENING_SECONDS", seconds)
    lines = [f"looking at {i}/3 episodes" for i in (1, 2, 3)] if seconds == 0 else []
    for verb in ("info", "check", "stats"):
        code, out, err = call("data", verb, SAMPLES / "droid" / "raw", "--json")
        json.loads(out)
        assert code < 2 and err.splitlines() == lines
    code, _, err = call("data", "convert", SAMPLES / "droid" / "raw", "out.h5")
    assert code == 0 and err.splitlines() == [*lines, *(f"{i}/3 episodes" for i in (1, 2, 3))]
