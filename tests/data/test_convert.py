"""Converting a source into a file of our own: what is written, going on, broken episodes, and the second process."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle

import h5py
import numpy as np
import pytest
from damage import attribute, damage, delete, zero_chunk
from episodes import seeds

from jepa_robot.data import convert as converting
from jepa_robot.data import read_ahead as reading
from jepa_robot.data.convert import convert
from jepa_robot.data.read_ahead import read_ahead
from jepa_robot.data.format import text_of
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, ContractError, DataError

STEPS = (4, 7, 5, 6, 3)
ENV_ARGS = {"env_name": "toy", "type": "gymnasium", "env_kwargs": {}}


@pytest.fixture
def source(tmp_path, contract, make_episode):
    """Five episodes; the second has time stamps."""
    path = tmp_path / "source.h5"
    with TrajectoryWriter(path, contract, ENV_ARGS, {"task": "toy"}, compression="gzip") as writer:
        for i, steps in enumerate(STEPS):
            episode = make_episode(i, steps=steps)
            if i == 1:
                episode = dataclasses.replace(episode, times=np.arange(steps + 1) / 5 + 100.0)
            writer.append(episode)
    return path


def spoil_pictures(path, name):
    """Overwrite compressed pictures, so that their checksum fails."""
    zero_chunk(path, f"data/{name}/obs/front")


@pytest.mark.parametrize("second_process", [False, True])
@pytest.mark.parametrize("compression", ["blosc", "none"])
def test_every_value_arrives(source, tmp_path, make_episode, monkeypatch, second_process, compression):
    monkeypatch.setattr(converting, "_WORTH_A_PROCESS", 0 if second_process else 2**60)
    path, calls = tmp_path / "out.h5", []
    result = convert(source, path, compression=compression, report=lambda *call: calls.append(call))
    assert (result.episodes, result.frames) == (result.new_episodes, result.new_frames) == (5, sum(STEPS) + 5)
    assert (result.format, result.broken, result.size) == ("jepa_robot", 0, path.stat().st_size)
    assert calls == [(i, 5, None) for i in range(1, 6)]
    with h5py.File(path, "r") as file:
        assert json.loads(file["data"].attrs["env_args"]) == ENV_ARGS
        recipe = json.loads(file["data"].attrs["recipe"])
        assert recipe["converted_from"] == "source.h5" and recipe["source_recipe"] == {"task": "toy"}
        assert file["data"].attrs["total"] == sum(STEPS)
        for i, steps in enumerate(STEPS):
            demo, wanted = file[f"data/demo_{i}"], make_episode(i, steps=steps)
            np.testing.assert_array_equal(demo["obs/front"][:], wanted.frames[:-1])
            np.testing.assert_array_equal(demo["final_obs/front"][:], wanted.frames[-1])
            np.testing.assert_array_equal(demo["obs/proprio"][:], wanted.states[:-1])
            np.testing.assert_array_equal(demo["actions"][:], wanted.actions)
            assert {key: text_of(v) if isinstance(v, bytes) else v for key, v in demo.attrs.items()} == {
                "num_samples": steps, "kind": wanted.kind, "seed": i, "source": f"demo_{i}", "complete": True,
            }
            assert ("timestamps" in demo) == (i == 1)
        np.testing.assert_array_equal(file["data/demo_1/timestamps"][:], np.arange(8) / 5 + 100.0)


def test_the_contract_arrives(source, tmp_path, contract):
    convert(source, tmp_path / "out.h5")
    with TrajectoryReader(tmp_path / "out.h5") as reader:
        assert reader.contract == contract


def test_scaled_pictures(source, tmp_path):
    convert(source, tmp_path / "out.h5", options=SourceOptions(image_size=8))
    with TrajectoryReader(tmp_path / "out.h5") as reader:
        assert reader.read(0).frames.shape == (STEPS[0] + 1, 8, 8, 3)


@pytest.mark.parametrize("second_process", [False, True])
def test_goes_on_where_it_stopped(source, tmp_path, monkeypatch, second_process):
    """Interrupted after any number of episodes, the same command makes the same file."""
    monkeypatch.setattr(converting, "_WORTH_A_PROCESS", 0 if second_process else 2**60)
    path = tmp_path / "out.h5"

    def stop(done, total, error):
        if done == stop.at:
            os.kill(os.getpid(), 2)  # as Ctrl-C: the next episode is not written

    for stop.at, kept in ((1, 1), (3, 3)):
        with pytest.raises(KeyboardInterrupt):
            convert(source, path, report=stop)
        assert seeds(path) == list(range(kept))
    assert convert(source, path).new_episodes == 2
    assert seeds(path) == [0, 1, 2, 3, 4]
    again = convert(source, path)
    assert (again.episodes, again.new_episodes, again.new_frames) == (5, 0, 0)


def test_a_broken_episode_ends_it(source, tmp_path):
    spoil_pictures(source, "demo_2")
    path = tmp_path / "out.h5"
    with pytest.raises(DataError, match=r"source.h5: data/demo_2/obs/front cannot be read.*--skip-broken"):
        convert(source, path)
    assert seeds(path) == [0, 1]


@pytest.mark.parametrize("second_process", [False, True])
def test_broken_episodes_are_left_out(source, tmp_path, monkeypatch, second_process):
    monkeypatch.setattr(converting, "_WORTH_A_PROCESS", 0 if second_process else 2**60)
    spoil_pictures(source, "demo_0")
    with h5py.File(source, "r+") as file:
        file["data/demo_2/actions"][1, 0] = np.nan
        file["data/demo_4/actions"][2, 1] = 7.0
    path, errors = tmp_path / "out.h5", {}
    result = convert(source, path, skip_broken=True, report=lambda done, _, error: errors.update({done - 1: error}))
    assert (result.episodes, result.broken) == (2, 3)
    assert [i for i, error in errors.items() if error is None] == [1, 3]
    assert "data/demo_0/obs/front cannot be read" in str(errors[0])
    assert "data/demo_2/actions: dx at step 1 is nan" in str(errors[2])
    assert "data/demo_4/actions: gripper at step 2 is 7; expected [-0.25, 0.25] 1" in str(errors[4])
    assert all("\n" not in str(error) for error in errors.values())
    assert seeds(path) == [1, 3]
    again = convert(source, path, skip_broken=True)
    assert (again.episodes, again.new_episodes, again.broken) == (2, 0, 1)  # only what lies behind the last good one


def test_what_stopped_at_a_broken_episode_goes_on_without_it(source, tmp_path):
    spoil_pictures(source, "demo_1")
    with pytest.raises(DataError):
        convert(source, tmp_path / "out.h5")
    assert convert(source, tmp_path / "out.h5", skip_broken=True).new_episodes == 3
    assert seeds(tmp_path / "out.h5") == [0, 2, 3, 4]


def test_nothing_but_broken_episodes_leaves_no_file(source, tmp_path):
    for i in range(5):
        spoil_pictures(source, f"demo_{i}")
    with pytest.raises(DataError, match="source.h5: all 5 episodes are broken"):
        convert(source, tmp_path / "out.h5", skip_broken=True)
    assert [p.name for p in tmp_path.iterdir()] == ["source.h5"]


def other_compression(source, contract):
    return source, SourceOptions(), "gzip"


def other_size(source, contract):
    return source, SourceOptions(image_size=8), "blosc"


def other_name(source, contract):
    return source.rename(source.with_name("renamed.h5")), SourceOptions(), "blosc"


def other_lengths(source, contract):
    damage(source, delete("data/demo_0"))
    return source, SourceOptions(), "blosc"


def other_values(source, contract):
    with h5py.File(source, "r+") as file:
        file["data/demo_4/obs/proprio"][0, 0] += 0.25
    return source, SourceOptions(), "blosc"


def other_contract(source, contract):
    damage(source, attribute("data", "contract", dataclasses.replace(contract, fps=6.0).to_json()))
    return source, SourceOptions(), "blosc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_compression, "out.h5: was made with compression 'blosc', not 'gzip'"),
        (other_size, "out.h5: was made with image_size None, not 8"),
        (other_name, "out.h5: was made with converted_from 'source.h5', not 'renamed.h5'"),
        (other_lengths, "out.h5: holds episodes that are not of this source"),
        (other_values, "out.h5: holds episodes that are not of this source"),
        (other_contract, "fps is 5.0 in .*out.h5 but 6.0 in .*source.h5"),
    ],
)
def test_refuses_a_file_made_from_something_else(source, tmp_path, contract, change, message):
    path = tmp_path / "out.h5"
    convert(source, path)
    before = path.read_bytes()
    changed, options, compression = change(source, contract)
    with pytest.raises((DataError, ContractError), match=f"{message}.*convert into another file"):
        convert(changed, path, options=options, compression=compression)
    assert path.read_bytes() == before


def test_refuses_files_that_are_not_conversions(source, tmp_path):
    before = source.read_bytes()
    with pytest.raises(ConfigError, match="source.h5: is the source itself"):
        convert(source, source)
    (tmp_path / "link.h5").symlink_to(source)
    with pytest.raises(ConfigError, match="link.h5: is the source itself"):
        convert(source, tmp_path / "link.h5")
    assert source.read_bytes() == before
    (tmp_path / "text.h5").write_text("hello " * 100)
    with pytest.raises(DataError, match="text.h5: is not an HDF5 file"):
        convert(source, tmp_path / "text.h5")
    assert (tmp_path / "text.h5").read_text() == "hello " * 100
    with pytest.raises(DataError, match="is a folder"):
        convert(source, tmp_path)


def test_closing_early_ends_the_process(source):
    ahead = read_ahead(source, "jepa_robot", SourceOptions(), range(5), 8 * 16 * 16 * 3)
    while (read := next(ahead)) is None:
        pass
    assert read[0] == 0
    children = reading.multiprocessing.active_children()
    assert len(children) == 1
    ahead.close()
    assert not children[0].is_alive()


def test_a_process_that_dies_is_one_error(source, tmp_path):
    """It finds no source of that format, and says so on its own standard error."""
    ahead = read_ahead(tmp_path / "none.h5", "jepa_robot", SourceOptions(), range(5), 100)
    with pytest.raises(DataError, match=r"none.h5: the process that reads it died \(exit code 1\)"):
        list(ahead)


def test_errors_cross_processes():
    error = DataError("is wrong", where="here", expected="right", mend="mend it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "here: is wrong; expected right; mend it"
