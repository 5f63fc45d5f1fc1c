"""Recovering what is complete in files that were left open, cut short or damaged."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import zero_chunk

from jepa_robot.data.journal import journal_path
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.repair import repair
from jepa_robot.data.superblock import UnclosedFile, lookup3
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


def assert_holds(path, make_episode, seeds):
    with TrajectoryReader(path) as reader:
        assert reader.names == [f"demo_{i}" for i in range(len(seeds))]
        assert reader.env_args == {"env_name": "toy"}
        for i, seed in enumerate(seeds):
            found, wanted = reader.read(i), make_episode(seed, steps=STEPS[seed])
            np.testing.assert_array_equal(found.frames, wanted.frames)
            np.testing.assert_array_equal(found.states, wanted.states)
            np.testing.assert_array_equal(found.actions, wanted.actions)
            assert found.seed == seed
    with h5py.File(path, "r") as file:
        assert file["data"].attrs["total"] == sum(STEPS[seed] for seed in seeds)


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
    assert_holds(result.path, make_episode, [0, 1, 2, 3, 4])
    assert path.read_bytes() == before and journal_path(path).exists()


def test_damaged_pictures_and_values(path, make_episode, contract):
    zero_chunk(path, "data/demo_1/obs/front")
    with h5py.File(path, "r+") as file:
        file["data/demo_3/actions"][2, 0] = np.nan
        del file["data/demo_4/final_obs/proprio"]
    before = path.read_bytes()
    result = repair(path)
    assert (result.path, result.episodes) == (path.with_name("toy.repaired.h5"), 2)
    assert_holds(result.path, make_episode, [0, 2])
    assert [line.partition("toy.h5:")[2][:30] for line in result.lost] == [
        "data/demo_1/obs/front: was ove",
        "data/demo_3/actions: dx at ste",
        "data/demo_4/final_obs/proprio:",
    ]
    assert path.read_bytes() == before
    with TrajectoryWriter(result.path, contract, {}) as writer:  # and it can be continued
        writer.append(make_episode(3, steps=STEPS[3]))
    assert_holds(result.path, make_episode, [0, 2, 3])


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
        with TrajectoryReader(out) as reader:
            seeds = [reader.read(i).seed for i in range(len(reader))]
        assert result.path == out and len(seeds) == result.episodes and len(result.lost) == 5 - len(seeds)
        assert_holds(out, make_episode, seeds)
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
    assert_holds(repair(path, tmp_path / "new" / "other.h5").path, make_episode, [1, 2, 3, 4])


def test_a_file_being_written_is_left_alone(path, contract):
    with TrajectoryWriter(path, contract, {}):
        with pytest.raises(DataError, match="toy.h5: is being written by another process"):
            repair(path)
    with pytest.raises(DataError, match="is no file"):
        repair(path.parent)


# -- files of others ------------------------------------------------------------------------

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


# -- the superblock -------------------------------------------------------------------------


def test_lookup3():
    """Values of the hash's author, and the checksum that HDF5 itself writes."""
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
def test_a_closed_file_is_seen_as_it_is(tmp_path, libver):
    path = tmp_path / "closed.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["x"] = np.arange(1000)
    content = path.read_bytes()
    assert (content[8] == 0) == (libver == "earliest")
    if content[8]:
        assert lookup3(content[:44]) == struct.unpack_from("<I", content, 44)[0]
    with UnclosedFile(path) as raw:
        assert raw.seek(0, os.SEEK_END) == len(content)
        raw.seek(0)
        assert raw.read(len(content)) == content
        raw.seek(len(content) - 5)
        with pytest.raises(OSError, match=f"the file ends at byte {len(content)}"):
            raw.read(6)


def test_is_for_files_only():
    with pytest.raises(FileNotFoundError):
        UnclosedFile(Path("none.h5"))
