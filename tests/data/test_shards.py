"""Shards: what is found in them, and how they are joined."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest
from episodes import assert_holds, seeds
from hdf5_contents import assert_same_file

from jepa_robot.data import journal
from jepa_robot.data.journal import journal_path
from jepa_robot.data.shards import Shards
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError, OutputError

LENGTHS = (4, 7, 5, 9, 6, 4, 8)  # actions of episodes 0 to 6


def accept(reader):
    pass


@pytest.fixture
def write(tmp_path, contract, make_episode):
    """Write a file with these episodes, numbered as they are."""

    def write(path: Path, numbers, compression="blosc"):
        path.parent.mkdir(exist_ok=True)
        with TrajectoryWriter(path, contract, {}, {"task": "toy"}, 7, compression) as writer:
            for number in numbers:
                writer.append(make_episode(number, LENGTHS[number]), number=number)
        return path

    return write


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path / "whole.h5")


def join(shards, path, contract, until):
    with TrajectoryWriter(path, contract, {}, {"task": "toy"}, 7) as writer:
        shards.join(writer, until)


def test_joined_shards_are_the_file_that_one_writer_makes(tmp_path, shards, write, contract):
    for path, numbers in zip(shards.new(3), ([2, 5], [], [0, 1, 3, 4, 6])):
        write(path, numbers)
    assert shards.episodes(accept) == set(range(7))
    join(shards, tmp_path / "whole.h5", contract, 7)
    assert_same_file(tmp_path / "whole.h5", write(tmp_path / "wanted.h5", range(7)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wanted.h5", "whole.h5"]


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_other_compressions_stay(tmp_path, shards, write, contract, compression):
    write(shards.new(1)[0], range(3), compression)
    join(shards, tmp_path / "whole.h5", contract, 3)
    assert_same_file(tmp_path / "whole.h5", write(tmp_path / "wanted.h5", range(3), compression))


def test_joined_up_to_the_first_that_is_missing(tmp_path, shards, write, contract, make_episode):
    """What comes later stays, and so do shards that have some of it; the rest is removed."""
    used, open_one, later = shards.new(3)
    write(used, [0, 2])
    write(open_one, [1, 5])
    write(later, [4, 6])
    path = write(tmp_path / "whole.h5", [0])
    join(shards, path, contract, 7)
    assert seeds(path) == [0, 1, 2] and shards.paths() == [open_one, later]
    assert shards.episodes(accept) == {1, 4, 5, 6}
    assert [p.name for p in shards.new(2)] == ["shard-0003.h5", "shard-0004.h5"]
    write(path, [3])
    join(shards, path, contract, 6)
    assert seeds(path) == [0, 1, 2, 3, 4, 5] and shards.paths() == [later]
    join(shards, path, contract, 9)
    assert_holds(path, [make_episode(i, LENGTHS[i]) for i in range(7)])
    assert not shards.folder.exists()


def test_no_shards(tmp_path, shards, write, contract):
    path = write(tmp_path / "whole.h5", [0, 1])
    join(shards, path, contract, 5)
    assert seeds(path) == [0, 1] and shards.episodes(accept) == set()
    assert shards.new(1)[0].name == "shard-0000.h5"


def test_what_check_raises(shards, write):
    write(shards.new(1)[0], [0])

    def check(reader):
        raise DataError("no", where=reader.path)

    with pytest.raises(DataError, match="shard-0000.h5: no"):
        shards.episodes(check)


def test_damaged_shard(tmp_path, shards, write, contract):
    """It is named, and nothing is lost of the others."""
    sound, broken = shards.new(2)
    write(sound, [0, 1])
    write(broken, [2])
    broken.write_bytes(b"not HDF5" * 100)
    for look in (lambda: shards.episodes(accept), lambda: join(shards, tmp_path / "whole.h5", contract, 3)):
        with pytest.raises(DataError, match="shard-0001.h5: is not an HDF5 file; .*or remove this shard"):
            look()
    broken.unlink()
    join(shards, tmp_path / "whole.h5", contract, 3)
    assert seeds(tmp_path / "whole.h5") == [0, 1]


def test_an_episode_that_cannot_be_copied(tmp_path, shards, write, contract):
    """It is named, and the shard stays with those that were joined before it."""
    shard = write(shards.new(1)[0], [0, 1])
    with h5py.File(shard) as file:
        offset = file["data/demo_1/obs/front"].id.get_chunk_info(0).byte_offset
    with open(shard, "r+b") as file:
        file.truncate(offset)
    with pytest.raises(DataError, match="shard-0000.h5"):
        join(shards, tmp_path / "whole.h5", contract, 2)
    assert shards.paths() == [shard]


def test_a_disk_that_is_full(tmp_path, shards, write, contract, monkeypatch):
    """The shards are still there."""
    write(shards.new(1)[0], range(7))
    path = write(tmp_path / "whole.h5", [0])

    def full(fd, data, offset):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "pwrite", full)
        with pytest.raises(OutputError, match="whole.h5: cannot be written .No space left"):
            join(shards, path, contract, 7)
    assert seeds(path) == [0]
    join(shards, path, contract, 7)
    assert_same_file(path, write(tmp_path / "wanted.h5", range(7)))


def test_killed_at_any_write(tmp_path, shards, write, contract, monkeypatch):
    """Wherever joining is cut short, the next run ends with the same file."""
    monkeypatch.setattr("jepa_robot.data.shards._FLUSH_SECONDS", 0.0)
    for path, numbers in zip(shards.new(2), ([1, 2, 5], [0, 3, 4, 6])):
        write(path, numbers)
    wanted = write(tmp_path / "wanted.h5", range(7))
    path, copies = write(tmp_path / "whole.h5", []), []

    def watched(module, name):
        original = getattr(module, name)

        def call(*args, **kwargs):
            result = original(*args, **kwargs)
            copy = tmp_path / f"killed{len(copies)}" / "whole.h5"
            copy.parent.mkdir()
            shutil.copy(path, copy)
            if journal_path(path).exists():
                shutil.copy(journal_path(path), journal_path(copy))
            if shards.folder.exists():
                shutil.copytree(shards.folder, Shards(copy).folder)
            copies.append(copy)
            return result

        monkeypatch.setattr(module, name, call)

    with monkeypatch.context():
        for name in ("pwrite", "ftruncate", "replace"):
            watched(journal.os, name)
        watched(shutil, "rmtree")
        join(shards, path, contract, 7)
    monkeypatch.undo()
    assert len(copies) > 20
    for copy in copies:
        join(Shards(copy), copy, contract, 7)
        assert_same_file(copy, wanted)
        assert not Shards(copy).folder.exists()
