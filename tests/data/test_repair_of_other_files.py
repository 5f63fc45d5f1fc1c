"""Recovering what is complete in HDF5 files that other programs write: robomimic's, Minari's, and any other."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest

from jepa_robot.data.repair import repair
from jepa_robot.data.superblock import UnclosedFile, lookup3
from jepa_robot.errors import DataError

LOOP = """
import os, sys
import h5py, numpy as np

layout, libver, path = sys.argv[1:]
file = h5py.File(path, "w", libver=libver)
if layout == "robomimic":
    file.create_group("data").attrs["env_args"] = "{}"
for i in range(4):
    episode = file.create_group(f"data/demo_{i}" if layout == "robomimic" else f"episode_{i}")
    observations = "obs/front" if layout == "robomimic" else "observations/front"
    frames = np.full((6 if layout == "robomimic" else 7, 8, 8, 3), i, np.uint8)
    episode.create_dataset(observations, data=frames, chunks=(2, 8, 8, 3), compression="gzip")
    episode["actions"] = np.full((6, 2), i / 10)
    if i == 3:
        file.flush()
        os.kill(os.getpid(), 9)
    episode.attrs["num_samples" if layout == "robomimic" else "total_steps"] = 6
"""


@pytest.mark.parametrize("layout", ["robomimic", "minari"])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_plain_writer_killed(tmp_path, layout, libver):
    """The last episode has no count yet; newer files also say that they are still open, and HDF5 refuses them."""
    path = tmp_path / "plain.h5"
    process = subprocess.run([sys.executable, "-c", LOOP, layout, libver, str(path)])
    assert process.returncode == -signal.SIGKILL
    if libver == "latest":
        with pytest.raises(OSError, match="already open for write"):
            h5py.File(path, "r")
    before = path.read_bytes()
    result = repair(path)
    complete = 3 if layout == "robomimic" else 4  # Minari's count is no must
    assert (result.path, result.episodes) == (
        (path, 4) if (layout, libver) == ("minari", "earliest") else (tmp_path / "plain.repaired.h5", complete)
    )
    assert len(result.lost) == 4 - complete and all("demo_3: has 6 actions" in line for line in result.lost)
    with h5py.File(result.path, "r") as file:
        for i in range(complete):
            episode = file[f"data/demo_{i}" if layout == "robomimic" else f"episode_{i}"]
            np.testing.assert_array_equal(episode["actions"][:], np.full((6, 2), i / 10))
            frames = episode["obs/front" if layout == "robomimic" else "observations/front"]
            np.testing.assert_array_equal(frames[:], np.full((len(frames), 8, 8, 3), i))
            assert frames.compression == "gzip" and frames.chunks == (2, 8, 8, 3)
        if layout == "robomimic":
            assert file["data"].attrs["total"] == 18 and file["data"].attrs["env_args"] == "{}"
        elif libver == "latest":
            assert (file.attrs["total_episodes"], file.attrs["total_steps"]) == (4, 24)
    assert path.read_bytes() == before


def test_pictures_that_were_never_written(tmp_path):
    """HDF5 reads zeros there; an episode of zeros is not what was recorded."""
    path = tmp_path / "plain.h5"
    with h5py.File(path, "w") as file:
        for i in range(3):
            demo = file.create_group(f"data/demo_{i}")
            demo["actions"] = np.ones((6, 2))
            frames = demo.create_dataset("obs/front", (6, 8, 8, 3), np.uint8, chunks=(2, 8, 8, 3) if i < 2 else None)
            if i == 0:
                frames[:] = 1
            elif i == 1:
                frames[:4] = 1
            demo.attrs["num_samples"] = 6
    result = repair(path)
    assert result.episodes == 1
    assert [line.partition("plain.h5:")[2] for line in result.lost] == [
        "data/demo_1/obs/front: was not written to its end", "data/demo_2/obs/front: was never written",
    ]


def test_other_layouts_are_saved_whole_or_not_at_all(tmp_path):
    path = tmp_path / "flat.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["pixels"] = np.arange(5 * 12, dtype=np.uint8).reshape(5, 2, 2, 3)
        file["ep_len"] = np.array([2, 3])
        file.attrs["made_by"] = "somebody"
    content = bytearray(path.read_bytes())
    content[11] = 1  # open for writing, with the checksum that goes with it
    struct.pack_into("<I", content, 44, lookup3(bytes(content[:44])))
    path.write_bytes(content)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path, "r")
    result = repair(path)
    assert (result.episodes, result.lost) == (None, [])
    with h5py.File(result.path, "r") as file:
        np.testing.assert_array_equal(file["pixels"][:].ravel(), np.arange(60))
        assert file["ep_len"][:].tolist() == [2, 3] and file.attrs["made_by"] == "somebody"
    with UnclosedFile(path) as raw, h5py.File(raw, "r") as damaged:
        middle = damaged["pixels"].id.get_offset() + 30
    path.write_bytes(content[:middle])
    with pytest.raises(DataError, match="flat.h5: nothing can be saved"):
        repair(path, tmp_path / "other.h5")


def test_links_out_of_the_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["secret"] = np.ones((6, 2))
    path = tmp_path / "plain.h5"
    with h5py.File(path, "w") as file:
        for i in range(2):
            demo = file.create_group(f"data/demo_{i}")
            demo.attrs["num_samples"] = 6
            demo["obs/x"] = np.ones((6, 2))
            demo["actions"] = h5py.ExternalLink("outside.h5", "secret") if i else np.ones((6, 2))
        file["data/demo_2"] = h5py.ExternalLink("outside.h5", "/")
    result = repair(path)
    assert result.episodes == 1
    assert "data/demo_1/actions: is a link" in result.lost[0]
    assert "data/demo_2: is a link" in result.lost[1]
