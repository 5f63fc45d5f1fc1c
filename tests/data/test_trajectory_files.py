"""Writing and reading trajectory files: the layout, appending, and what a writer refuses."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pytest
from episodes import assert_holds

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ContractError, DataError

ENV_ARGS = {"env_name": "toy", "type": "gymnasium", "env_kwargs": {}}  # of the file that is looked into


@pytest.mark.parametrize("compression", ["blosc", "gzip", "none"])
def test_read_back(tmp_path, contract, make_episode, compression):
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, {}, compression=compression) as writer:
        for i in range(3):
            writer.append(make_episode(i, steps=4 + i))
    assert_holds(path, [make_episode(i, steps=4 + i) for i in range(3)])


def test_robomimic_layout(path, contract, make_episode):
    """What a reader of robomimic's files does, with h5py alone."""
    with h5py.File(path, "r") as file:
        data = file["data"]
        assert data.attrs["total"] == 4 + 5 + 6
        assert json.loads(data.attrs["env_args"]) == ENV_ARGS
        assert json.loads(data.attrs["contract"])["task"] == contract.task
        for i in range(3):
            demo, wanted = data[f"demo_{i}"], make_episode(i, steps=4 + i)
            count = demo.attrs["num_samples"]
            assert count == 4 + i
            for t in range(count):
                np.testing.assert_array_equal(demo["obs/front"][t], wanted.frames[t])
                np.testing.assert_array_equal(demo["obs/proprio"][t], wanted.states[t])
                np.testing.assert_array_equal(demo["actions"][t], wanted.actions[t])
            lengths = {key: len(demo[key]) for key in ("obs/front", "obs/proprio", "actions", "rewards", "dones")}
            assert set(lengths.values()) == {count}, lengths
            assert demo["dones"][:].tolist() == [0] * (count - 1) + [1]
            np.testing.assert_array_equal(demo["final_obs/front"][()], wanted.frames[-1])


def test_append_to_existing(path, contract, make_episode):
    with TrajectoryWriter(path, contract, {}) as writer:
        assert len(writer) == 3
        writer.append(make_episode(3, steps=7))
    assert_holds(path, [make_episode(i, steps=4 + i) for i in range(4)])
    with h5py.File(path, "r") as file:
        assert file["data"].attrs["total"] == 4 + 5 + 6 + 7


def test_append_with_other_contract(path, contract):
    other = dataclasses.replace(contract, fps=10.0)
    with pytest.raises(ContractError, match="fps is 5.0"):
        TrajectoryWriter(path, other, ENV_ARGS)


def test_read_with_other_contract(path, contract):
    other = dataclasses.replace(contract, task="push")
    with pytest.raises(ContractError, match="task is 'toy' in .*toy.h5 but 'push'"):
        TrajectoryReader(path, contract=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": (3, 1, np.nan)}, r"demo_3/actions: gripper at step 3 is nan; expected a finite number"),
        ({"actions": (2, 0, np.inf)}, r"demo_3/actions: dx at step 2 is inf"),
        ({"actions": (1, 0, 0.06)}, r"demo_3/actions: dx at step 1 is 0.06; expected \[-0.05, 0.05\] m"),
        ({"states": (6, 2, np.nan)}, r"demo_3/obs/proprio: y at step 6 is nan"),
    ],
)
def test_refuses_values(path, contract, make_episode, change, message):
    episode = make_episode(3)
    (key, (step, dim, value)) = next(iter(change.items()))
    getattr(episode, key)[step, dim] = value
    with TrajectoryWriter(path, contract, {}) as writer, pytest.raises(DataError, match=message):
        writer.append(episode)
    assert_holds(path, [make_episode(i, steps=4 + i) for i in range(3)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {"frames": e.frames[:-1]}, r"obs/front: is uint8 \[6, 16, 16, 3\]; expected uint8 \[7, 16, 16, 3\]"),
        (lambda e: {"frames": e.frames.astype(np.float32)}, "obs/front: is float32"),
        (lambda e: {"actions": e.actions.astype(np.float64)}, "actions: is float64"),
        (lambda e: {"actions": e.actions[:, :1]}, r"actions: is float32 \[6, 1\]"),
        (lambda e: {"states": e.states[:, :2]}, r"obs/proprio: is float32 \[7, 2\]"),
        (lambda e: {"actions": e.actions[:0]}, "actions: has no actions"),
    ],
)
def test_refuses_shapes(path, contract, make_episode, change, message):
    episode = make_episode(3)
    with TrajectoryWriter(path, contract, {}) as writer, pytest.raises(DataError, match=message):
        writer.append(dataclasses.replace(episode, **change(episode)))


def test_nothing_lies_in_a_heap_of_the_file(path, contract, make_episode):
    """Texts in HDF5's global heap: the library loops for ever over some damaged ones."""
    assert b"GCOL" not in path.read_bytes()  # the signature of such a heap
    with TrajectoryReader(path) as reader:
        assert reader.recipe == {"task": "toy"} and reader.env_args == ENV_ARGS
        assert [reader.read(i).kind for i in range(3)] == ["expert", "noisy", "expert"]


@pytest.mark.parametrize("text", ["", "grün", "x" * 200_000])
def test_any_text_survives(tmp_path, contract, make_episode, text):
    with TrajectoryWriter(tmp_path / "x.h5", contract, {}, {"note": text}) as writer:
        writer.append(dataclasses.replace(make_episode(0), kind=text[:40]))
    with TrajectoryReader(tmp_path / "x.h5") as reader:
        assert reader.recipe == {"note": text} and reader.read(0).kind == text[:40]
