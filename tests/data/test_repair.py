"""Recovering what is complete in files that were left open, cut short or damaged."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from damage import zero_chunk
from episodes import assert_holds, seeds

from jepa_robot.data.journal import journal_path
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.repair import repair
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError, OutputError

STEPS = (4, 7, 5, 6, 3)


@pytest.fixture
def path(tmp_path, contract, make_episode):
    """Five episodes, each appended by a writer of its own, so that the index grows along the file."""
    path = tmp_path / "toy.h5"
    for i, steps in enumerate(STEPS):
        with TrajectoryWriter(path, contract, {"env_name": "toy"}, {"task": "toy"}) as writer:
            writer.append(make_episode(i, steps=steps))
    return path


def assert_saved(path, make_episode, numbers):
    assert_holds(path, [make_episode(seed, steps=STEPS[seed]) for seed in numbers])
    with TrajectoryReader(path) as reader:
        assert reader.names == [f"demo_{i}" for i in range(len(numbers))]
        assert reader.env_args == {"env_name": "toy"}
    with h5py.File(path, "r") as file:
        assert file["data"].attrs["total"] == sum(STEPS[seed] for seed in numbers)


def test_nothing_to_do(path, tmp_path):
    before, calls = path.read_bytes(), []
    result = repair(path, report=lambda *call: calls.append(call))
    assert (result.path, result.finished, result.episodes, result.lost) == (path, False, 5, [])
    assert calls == [(i, 5) for i in range(1, 6)]
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["toy.h5"]


def test_finishes_a_journal(path, contract, make_episode, die_in_commit):
    die_in_commit(path, contract, make_episode(4, steps=3))
    result = repair(path)
    assert (result.path, result.finished, result.episodes, result.lost) == (path, True, 6, [])
    assert not journal_path(path).exists()
    with h5py.File(path, "r") as file:
        assert len(file["data"]) == 6


def test_damaged_journal(path, make_episode):
    """The file as the commit before left it is saved; the file and the journal are left."""
    journal_path(path).write_bytes(b"JRJRNL01" + bytes(5))
    before = path.read_bytes()
    result = repair(path)
    assert (result.path.name, result.finished, result.episodes) == ("toy.repaired.h5", False, 5)
    assert_saved(result.path, make_episode, [0, 1, 2, 3, 4])
    assert path.read_bytes() == before and journal_path(path).exists()


def test_damaged_pictures_and_values(path, make_episode, contract):
    zero_chunk(path, "data/demo_1/obs/front")
    with h5py.File(path, "r+") as file:
        file["data/demo_3/actions"][2, 0] = np.nan
        del file["data/demo_4/final_obs/proprio"]
    before = path.read_bytes()
    result = repair(path)
    assert (result.path, result.episodes) == (path.with_name("toy.repaired.h5"), 2)
    assert_saved(result.path, make_episode, [0, 2])
    assert [line.partition("toy.h5:")[2][:30] for line in result.lost] == [
        "data/demo_1/obs/front: was ove",
        "data/demo_3/actions: dx at ste",
        "data/demo_4/final_obs/proprio:",
    ]
    assert path.read_bytes() == before
    with TrajectoryWriter(result.path, contract, {}) as writer:  # and it can be continued
        writer.append(make_episode(3, steps=STEPS[3]))
    assert_saved(result.path, make_episode, [0, 2, 3])


def test_cut_anywhere(path, make_episode):
    """The longer the file, the more is saved; whatever is saved is right."""
    whole, counts = path.read_bytes(), []
    cut, out = path.with_name("cut.h5"), path.with_name("cut.repaired.h5")
    for size in [1, 8, 47, 64, 96, 2048, *range(5000, len(whole), len(whole) // 30), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        try:
            result = repair(cut)
        except DataError as error:
            assert "cut.h5: nothing can be saved" in str(error) and "\n" not in str(error)
            assert not out.exists()
            counts.append(0)
            continue
        counts.append(result.episodes)
        saved = seeds(out)
        assert result.path == out and len(saved) == result.episodes and len(result.lost) == 5 - len(saved)
        assert_saved(out, make_episode, saved)
        assert cut.read_bytes() == whole[:size]
        out.unlink()
    assert counts == sorted(counts) and counts[-1] >= 4 and len(set(counts)) > 2


def test_zeros_anywhere(path, make_episode):
    whole = path.read_bytes()
    damaged, out = path.with_name("damaged.h5"), path.with_name("damaged.repaired.h5")
    found = set()
    for start in range(0, len(whole), len(whole) // 40):
        damaged.write_bytes(whole[:start] + bytes(48) + whole[start + 48 :])
        try:
            result = repair(damaged)
        except DataError as error:
            assert "damaged.h5" in str(error) and "\n" not in str(error)
            found.add(0)
            continue
        found.add(result.episodes)
        if result.path == out:
            with TrajectoryReader(out) as reader:
                assert len(reader) == result.episodes
                for i in range(len(reader)):
                    reader.read(i).check(reader.contract, out)
            out.unlink()
    assert {4, 5} <= found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "nothing can be saved: it is empty"),
        (b"hello " * 100, "nothing can be saved: HDF5 cannot read it"),
        (b"\x89HDF\r\n\x1a\n", "nothing can be saved: HDF5 cannot read it"),
        (b"\x89HDF\r\n\x1a\n\x03\x08\x08" + bytes(100), "nothing can be saved: HDF5 cannot read it"),
        (b"\x89HDF\r\n\x1a\n\x00" + b"\xff" * 200, "nothing can be saved: HDF5 cannot read it"),
    ],
)
def test_nothing_can_be_saved(tmp_path, content, message):
    path = tmp_path / "bad.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"bad.h5: {message}"):
        repair(path)
    assert [p.name for p in tmp_path.iterdir()] == ([] if content is None else ["bad.h5"])


def test_no_episode_is_complete(path):
    for i in range(5):
        zero_chunk(path, f"data/demo_{i}/obs/front")
    with pytest.raises(DataError, match="nothing can be saved: no complete episode can be read; .*demo_0"):
        repair(path)
    assert not path.with_name("toy.repaired.h5").exists()


def test_overwrites_nothing(path, tmp_path, make_episode):
    zero_chunk(path, "data/demo_0/obs/front")
    (tmp_path / "toy.repaired.h5").write_text("mine")
    with pytest.raises(OutputError, match="toy.repaired.h5: exists; choose another file with -o"):
        repair(path)
    assert (tmp_path / "toy.repaired.h5").read_text() == "mine"
    with pytest.raises(OutputError, match="toy.h5: exists"):
        repair(path, path)
    assert_saved(repair(path, tmp_path / "new" / "other.h5").path, make_episode, [1, 2, 3, 4])


def test_a_file_being_written_is_left_alone(path, contract):
    with TrajectoryWriter(path, contract, {}):
        with pytest.raises(DataError, match="toy.h5: is being written by another process"):
            repair(path)
    with pytest.raises(DataError, match="is no file"):
        repair(path.parent)
