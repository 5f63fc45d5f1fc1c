"""A writer killed at a random moment leaves complete episodes, and can be continued."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jepa_robot.data.reader import TrajectoryReader

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
import numpy as np
from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.spec import Camera, Contract, Dim

contract = Contract("toy", (Camera("front", 16, 16),), 5.0, (Dim("dx", "m", "base", -1, 1, "x"),),
                    (Dim("x", "m", "base", -1, 1),))
with TrajectoryWriter(sys.argv[1], contract, {}) as writer:
    while True:
        i = len(writer)
        frames = np.full((9, 16, 16, 3), i % 256, np.uint8)
        writer.append(Episode(frames, np.zeros((9, 1), np.float32), np.full((8, 1), i / 1e6, np.float32), "x", i))
        writer.flush()
        print("flushed", flush=True)
"""


@pytest.mark.slow
def test_sigkill(tmp_path):
    path = tmp_path / "toy.h5"
    before = 0
    for flushes, delay in ((1, 0.0), (20, 0.013), (7, 0.002), (3, 0.031)):
        command = [sys.executable, "-c", WRITER, str(path)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(flushes):
            assert process.stdout.readline() == "flushed\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with TrajectoryReader(path) as reader:
            assert len(reader) >= before + flushes
            for i in range(len(reader)):
                episode = reader.read(i)
                assert episode.seed == i
                np.testing.assert_array_equal(episode.frames, i % 256)
                np.testing.assert_array_equal(episode.actions, np.float32(i / 1e6))
            before = len(reader)
