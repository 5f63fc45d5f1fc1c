"""A writer that is killed, or whose disk is full, leaves complete episodes, and can be continued."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from episodes import assert_holds

from jepa_robot.data import journal
from jepa_robot.data.journal import journal_path
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import OutputError

ROOT = Path(__file__).parents[2]
WRITER = """
import os
import signal
import sys
import numpy as np
from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.spec import Camera, Contract, Dim

contract = Contract("toy", (Camera("front", 16, 16),), 5.0, (Dim("dx", "m", "base", -1, 1, "x"),),
                    (Dim("x", "m", "base", -1, 1),))
flushed, calls, last = 0, 0, int(sys.argv[2])


def dying(original):
    def call(*args):
        global calls
        calls += flushed > 0
        if calls == last:
            if original is pwrite:
                descriptor, data, offset = args
                pwrite(descriptor, data[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    return call


pwrite = os.pwrite
for name in ("pwrite", "ftruncate", "fsync", "replace"):
    setattr(os, name, dying(getattr(os, name)))
with TrajectoryWriter(sys.argv[1], contract, {}) as writer:
    while True:
        i = len(writer)
        frames = np.full((9, 16, 16, 3), i % 256, np.uint8)
        writer.append(Episode(frames, np.zeros((9, 1), np.float32), np.full((8, 1), i / 1e6, np.float32), "x", i))
        writer.flush()
        flushed += 1
        print("flushed", flush=True)
"""


@pytest.mark.slow
def test_sigkill(tmp_path):
    """In the nth system call that changes the file after the first flush, half of its bytes being written."""
    path = tmp_path / "toy.h5"
    before = 0
    for last in (1, 2, 5, 8, 11, 40):
        command = [sys.executable, "-c", WRITER, str(path), str(last)]
        process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60)
        assert process.returncode == -signal.SIGKILL
        flushes = process.stdout.count("flushed")
        with TrajectoryReader(path) as reader:
            assert flushes >= 1 and len(reader) - before in (flushes, flushes + 1)  # the last may be in its journal
            for i in range(len(reader)):
                episode = reader.read(i)
                assert episode.seed == i
                np.testing.assert_array_equal(episode.frames, i % 256)
                np.testing.assert_array_equal(episode.actions, np.float32(i / 1e6))
            before = len(reader)


def test_disk_full(path, contract, make_episode, monkeypatch):
    """Wherever the disk fills up, the file stays as the last flush left it, and can be continued."""
    pwrite = os.pwrite
    for allowed in range(12):
        copy = path.with_name(f"full{allowed}.h5")
        shutil.copy(path, copy)
        left = iter(range(allowed))

        def full(fd, data, offset, left=left):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return pwrite(fd, data, offset)

        with monkeypatch.context() as patch:
            patch.setattr(journal.os, "pwrite", full)
            with pytest.raises(OutputError, match="No space left on device.*; free space"):
                with TrajectoryWriter(copy, contract, {}) as writer:
                    for i in range(3, 30):
                        writer.append(make_episode(i, steps=4 + i))
        with TrajectoryReader(copy) as reader:
            count = len(reader)
        assert count in (3, 30)  # 30: the commit was in its journal already, and was finished by the reader
        assert_holds(copy, [make_episode(i, steps=4 + i) for i in range(count)])
        with TrajectoryWriter(copy, contract, {}) as writer:
            writer.append(make_episode(count, steps=4 + count))
        assert_holds(copy, [make_episode(i, steps=4 + i) for i in range(count + 1)])


def test_killed_at_any_write(path, contract, make_episode, monkeypatch):
    """After any system call that changes the file, what lies on disk is all of a commit or nothing of it."""
    seen = []

    def snapshot():
        copy = path.with_name(f"killed{len(seen)}.h5")
        shutil.copy(path, copy)
        if journal_path(path).exists():
            shutil.copy(journal_path(path), journal_path(copy))
        seen.append(copy)

    def watched(name):
        original = getattr(os, name)

        def call(*args):
            result = original(*args)
            snapshot()
            return result

        return call

    with TrajectoryWriter(path, contract, {}) as writer:
        with monkeypatch.context() as patch:
            for name in ("pwrite", "ftruncate", "fsync", "replace"):
                patch.setattr(journal.os, name, watched(name))
            for i in range(3, 6):
                writer.append(make_episode(i, steps=4 + i))
                writer.flush()
    counts = []
    for copy in seen:
        with TrajectoryReader(copy) as reader:
            counts.append(len(reader))
        assert_holds(copy, [make_episode(i, steps=4 + i) for i in range(counts[-1])])
        assert not journal_path(copy).exists()
    assert counts == sorted(counts) and set(counts) == {3, 4, 5, 6}
    assert len(seen) > 20
