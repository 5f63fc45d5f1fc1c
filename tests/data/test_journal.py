"""A writer that dies at any byte of any write: what is read afterwards is all of the last commit and nothing else."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from jepa_robot.data import journal
from jepa_robot.data.journal import journal_path
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError


class Disk:
    """Keeps every call of the journal that changes a file, in order, so that any beginning can be repeated.

    An entry is (what, arguments...); ``("flushed", episodes)`` marks where the writer said that they are permanent.
    """

    def __init__(self, monkeypatch):
        self.log = []
        pwrite, ftruncate, replace, unlink = os.pwrite, os.ftruncate, os.replace, Path.unlink

        def logged_pwrite(fd, data, offset):
            self.log.append(("write", "file", offset, bytes(data)))
            return pwrite(fd, data, offset)

        def logged_ftruncate(fd, size):
            self.log.append(("truncate", size))
            return ftruncate(fd, size)

        def logged_replace(source, target):
            self.log.append(("write", "temporary", 0, Path(source).read_bytes()))
            self.log.append(("replace",))
            return replace(source, target)

        def logged_unlink(path, missing_ok=False):
            if path.name.endswith(".journal") and path.exists():
                self.log.append(("unlink",))
            return unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(journal.os, "pwrite", logged_pwrite)
        monkeypatch.setattr(journal.os, "ftruncate", logged_ftruncate)
        monkeypatch.setattr(journal.os, "replace", logged_replace)
        monkeypatch.setattr(Path, "unlink", logged_unlink)


def repeat(path: Path, start: bytes, log: list, calls: int, part: float) -> None:
    """Make what lies on disk after ``calls`` calls and a part of the next."""
    content, temporary, kept = bytearray(start), None, None
    for number, (what, *arguments) in enumerate(log[: calls + 1]):
        if number == calls and (what != "write" or part == 0):
            break
        if what == "write":
            name, offset, data = arguments
            if number == calls:
                data = data[: max(1, int(part * len(data)))]
            if name == "temporary":
                temporary = data
            else:
                content.extend(bytes(max(0, offset + len(data) - len(content))))
                content[offset : offset + len(data)] = data
        elif what == "truncate":
            content = content[: arguments[0]].ljust(arguments[0], b"\0")
        elif what == "replace":
            temporary, kept = None, temporary
        elif what == "unlink":
            kept = None
    path.write_bytes(content)
    for target, data in ((journal_path(path), kept), (Path(f"{journal_path(path)}.tmp"), temporary)):
        target.unlink(missing_ok=True)
        if data is not None:
            target.write_bytes(data)


def test_dies_at_any_byte(tmp_path, contract, make_episode, monkeypatch):
    path, copy = tmp_path / "toy.h5", tmp_path / "copy.h5"
    with TrajectoryWriter(path, contract, {}) as writer:
        writer.append(make_episode(0))
    start = path.read_bytes()
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        with TrajectoryWriter(path, contract, {}) as writer:
            for batch in ((1, 2), (3,), (4, 5, 6)):  # several at a flush, and one
                for seed in batch:
                    writer.append(make_episode(seed))
                writer.flush()
                disk.log.append(("flushed", len(writer)))
    repeat(copy, start, disk.log, len(disk.log), 0)
    assert copy.read_bytes() == path.read_bytes()  # the log is all that happened

    permanent, states = 1, set()
    for calls, (what, *arguments) in enumerate(disk.log):
        if what == "flushed":
            permanent = arguments[0]
        # From the moment the journal has its name, the next commit is what every reader sees.
        after = [e for e in disk.log[calls:] if e[0] in ("flushed", "replace")]
        named = bool(after) and after[0][0] == "flushed" and what != "flushed"
        expected = after[0][1] if named else permanent
        for part in (0, 0.001, 0.3, 0.999) if what == "write" else (0,):
            repeat(copy, start, disk.log, calls, part)
            with TrajectoryReader(copy) as reader:
                assert len(reader) == expected, (calls, what, part)
                assert not journal_path(copy).exists()
                if calls % 5 == 0:
                    for i in range(len(reader)):
                        np.testing.assert_array_equal(reader.read(i).frames, make_episode(i).frames)
        states.add((expected, what))
    assert {count for count, _ in states} == {1, 3, 4, 7}
    assert {what for _, what in states} >= {"write", "replace", "truncate", "unlink", "flushed"}
    assert len(disk.log) > 60


def test_goes_on_after_dying_inside_a_commit(tmp_path, contract, make_episode, monkeypatch):
    """A writer finishes the commit of the one before it, and nothing stays beside the file."""
    path, copy = tmp_path / "toy.h5", tmp_path / "copy.h5"
    TrajectoryWriter(path, contract, {}).close()
    start = path.read_bytes()
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        with TrajectoryWriter(path, contract, {}) as writer:
            writer.append(make_episode(0))
    places = [i for i, entry in enumerate(disk.log) if entry[0] in ("replace", "unlink")]
    for calls in (places[0], places[0] + 1, places[0] + 2, places[1]):
        repeat(copy, start, disk.log, calls, 0.5)
        with TrajectoryWriter(copy, contract, {}) as writer:
            before = len(writer)
            writer.append(make_episode(before))
        with TrajectoryReader(copy) as reader:
            assert len(reader) == before + 1
            for i in range(before + 1):
                np.testing.assert_array_equal(reader.read(i).actions, make_episode(i).actions)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.h5", "toy.h5"]


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d[:10], lambda d: b"", lambda d: b"X" + d[1:]])
def test_damaged_journal(tmp_path, contract, make_episode, die_in_commit, change):
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, {}) as writer:
        writer.append(make_episode(0))
    die_in_commit(path, contract, make_episode(9))
    before = path.read_bytes()
    journal_path(path).write_bytes(change(journal_path(path).read_bytes()))
    with pytest.raises(DataError, match="toy.h5.journal: is not a journal, or not all of one; .*repair"):
        TrajectoryReader(path)
    assert path.read_bytes() == before


def test_the_journal_of_a_removed_file_is_not_applied_to_a_new_one(tmp_path, contract, make_episode, die_in_commit):
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, {}) as writer:
        for i in range(3):
            writer.append(make_episode(i))
    die_in_commit(path, contract, make_episode(9))
    path.unlink()
    other = dataclasses.replace(contract, fps=7.0)
    with TrajectoryWriter(path, other, {}) as writer:
        writer.append(make_episode(5))
    with TrajectoryReader(path, contract=other) as reader:
        assert len(reader) == 1 and reader.read(0).seed == 5
