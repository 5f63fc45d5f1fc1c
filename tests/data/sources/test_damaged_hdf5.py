"""Damage that HDF5 itself does not notice: it would crash the process, or work without end."""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch
from sources import read_all

from jepa_robot.data.inspection import inspect
from jepa_robot.data.loader import _start_worker
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import detect, hdf5_guard, open_source
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.data.sources.hdf5_guard import expect, known_files, remember, unsafe_keys
from jepa_robot.errors import DataError

SAMPLES = Path(__file__).parents[1] / "samples"
ROBOMIMIC, MINARI, DROID = SAMPLES / "robomimic" / "image.hdf5", SAMPLES / "minari" / "dict", SAMPLES / "droid" / "raw"
OWN = Path(__file__).parents[3] / "datasets" / "sample_panda_reach.h5"
ENDLESS, CRASH = "makes the HDF5 library work without end", r"makes the HDF5 library crash \(SIG"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known, and what works without end is given less time."""
    monkeypatch.setattr(hdf5_guard, "PATIENCE", 0.3)
    hdf5_guard._of_process.cache_clear()
    yield
    hdf5_guard._of_process.cache_clear()


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the other process was asked about."""
    asked = []
    ask = hdf5_guard._Walker.ask
    monkeypatch.setattr(
        hdf5_guard._Walker, "ask", lambda self, path, avoid: asked.append(path.name) or ask(self, path, avoid)
    )
    return asked


def changed(source: Path, target: Path, **places: bytes) -> Path:
    """Copy a file, with other bytes at the offsets ``at_<offset>``."""
    content = bytearray(source.read_bytes())
    for place, new in places.items():
        offset = int(place.removeprefix("at_"))
        content[offset : offset + len(new)] = new
    target.write_bytes(content)
    return target


def find(path: Path, *, pattern: bytes, number: int = 0) -> int:
    """Offset of an occurrence of these bytes."""
    return [match.start() for match in re.finditer(re.escape(pattern), path.read_bytes())][number]


def without_heap(source: Path, target: Path, number: int) -> Path:
    """Copy a file and erase what is in one of its heaps of texts and pictures: each object is 0 bytes long, for ever."""
    place = find(source, pattern=b"GCOL", number=number) + 16
    return changed(source, target, **{f"at_{place}": bytes(384)})


# -- what would crash or never end ----------------------------------------------------------


def test_an_erased_heap_concerns_only_the_episodes_whose_pictures_are_in_it(tmp_path: Path) -> None:
    root = shutil.copytree(MINARI, tmp_path / "dict")
    main = root / "data" / "main_data.hdf5"
    without_heap(MINARI / "data" / "main_data.hdf5", main, 3)
    options = SourceOptions(camera="images/side", fps=10)
    with open_source(root, options=options) as source, open_source(MINARI, options=options) as good:
        for index in (0, 1):
            np.testing.assert_array_equal(source.read(index).frames, good.read(index).frames)
        with pytest.raises(DataError, match=rf"{main}:episode_2/observations/images/side: .*{ENDLESS}; copy the file"):
            source.read(2)
        assert inspect(source, skip_broken=True).unreadable == 1


def test_an_erased_heap_of_attributes_concerns_one_episode_of_droid(tmp_path: Path) -> None:
    root = shutil.copytree(DROID, tmp_path / "raw")
    first, second, third = sorted(root.rglob("trajectory.h5"))
    without_heap(second, second, 0)
    with open_source(root) as source, open_source(DROID) as good:
        with pytest.raises(DataError, match=rf"{re.escape(str(second))}: .*{ENDLESS}"):
            source.read(1)
        for index in (0, 2):
            np.testing.assert_array_equal(source.read(index).states, good.read(index).states)


def test_an_index_of_names_that_is_below_itself(tmp_path: Path) -> None:
    tree = find(ROBOMIMIC, pattern=b"TREE")
    places = {f"at_{tree + 5}": b"\x01", f"at_{tree + 32}": tree.to_bytes(8, "little")}
    path = changed(ROBOMIMIC, tmp_path / "image.hdf5", **places)
    for look in (detect, open_source, lambda file: open_source(file, "robomimic")):
        with pytest.raises(DataError, match=rf"{path}: cannot be read: damaged, it {CRASH}"):
            look(path)


def test_too_many_places_that_crash_refuse_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        for number in range(6):
            file.create_group(f"group_{number}")["x"] = 0.0
    content = bytearray(path.read_bytes())
    trees = [match.start() for match in re.finditer(b"TREE", content)]
    for tree in trees[1:]:
        content[tree + 5], content[tree + 32 : tree + 40] = 1, tree.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="many.h5: cannot be read: damaged, it is damaged in more than 4 places"):
        Hdf5File(path, "")


# -- chunks that become fewer bytes than HDF5 reads -----------------------------------------


def entry(path: Path, key: str) -> bytes:
    """Of an array's first chunk in the index: its size, the filters left out, where it begins, where it is stored."""
    with h5py.File(path, "r") as file:
        chunk = file[key].id.get_chunk_info(0)
    zeros = len(chunk.chunk_offset) + 1
    return struct.pack(f"<2I{zeros + 1}Q", chunk.size, 0, *[0] * zeros, chunk.byte_offset)


def test_a_chunk_that_is_one_of_a_smaller_array(tmp_path: Path) -> None:
    mine, other = (entry(ROBOMIMIC, f"data/demo_0/obs/{key}") for key in ("robot0_eef_quat", "robot0_gripper_qpos"))
    path = changed(ROBOMIMIC, tmp_path / "image.hdf5", **{f"at_{find(ROBOMIMIC, pattern=mine)}": other})
    with pytest.raises(DataError, match="demo_0/obs/robot0_eef_quat: .*has a chunk of 112 bytes, expected 224"):
        read_all(open_source(path))


def test_a_chunk_whose_filter_is_switched_off(tmp_path: Path) -> None:
    mine = entry(ROBOMIMIC, "data/demo_0/obs/agentview_image")
    path = changed(ROBOMIMIC, tmp_path / "image.hdf5", **{f"at_{find(ROBOMIMIC, pattern=mine) + 4}": b"\x01"})
    size = int.from_bytes(mine[:4], "little")
    with pytest.raises(DataError, match=f"demo_0/obs/agentview_image: .*has a chunk of {size} bytes, expected 7680"):
        read_all(open_source(path))


def test_a_chunk_that_is_longer_in_the_header(tmp_path: Path) -> None:
    shape = struct.pack("<5I", 4, 16, 40, 3, 1)
    place = find(ROBOMIMIC, pattern=shape)
    path = changed(ROBOMIMIC, tmp_path / "image.hdf5", **{f"at_{place}": struct.pack("<I", 400)})
    with pytest.raises(DataError, match="obs/wrist_image: .*has an index that leads nowhere"):
        read_all(open_source(path, options=SourceOptions(camera="wrist_image")))


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "name.h5"
    with h5py.File(path, "w") as file:
        file.create_group(b"demo_\xff")
    with pytest.raises(DataError, match=r"name.h5:/: holds b'demo_\\xff', which is not UTF-8"):
        Hdf5File(path, "").names("/")


@pytest.mark.parametrize("number", [0, 2])
def test_a_blosc_chunk_that_claims_to_be_smaller(tmp_path: Path, number: int) -> None:
    path = tmp_path / "blosc.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(4000).reshape(4, 1000), chunks=(1, 1000), **hdf5plugin.Blosc())
        place = file["x"].id.get_chunk_info(number).byte_offset + 4
    damaged = changed(path, tmp_path / "damaged.h5", **{f"at_{place}": struct.pack("<I", 80)})
    assert unsafe_keys(path) == {}
    with pytest.raises(DataError, match="damaged.h5:x: .*a chunk of 80 bytes, expected 8000"):
        Hdf5File(damaged, "").array("x")


@pytest.mark.parametrize("version", ["earliest", "latest"])
@pytest.mark.parametrize("before", [0, 512])
@pytest.mark.parametrize(
    "filters",
    [
        {}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf", "shuffle": True}, {"scaleoffset": 0}, hdf5plugin.Blosc(), hdf5plugin.Zstd(),
    ],
    ids=["none", "gzip", "checksums", "lzf", "scaleoffset", "blosc", "zstd"],
)  # fmt: skip
def test_nothing_is_wrong_with_files_as_they_are_written(tmp_path: Path, version: str, before: int, filters) -> None:
    path, rng = tmp_path / "fine.h5", np.random.default_rng(0)
    with h5py.File(path, "w", libver=version, userblock_size=before) as file:
        for name, high in (("smooth", 4), ("noise", 256)):  # noise is larger compressed: some filters leave it out
            data = rng.integers(0, high, (10, 16, 16, 3), dtype=np.uint8)
            file.create_dataset(name, data=data, chunks=(4, 16, 16, 3), **filters)
        file.create_dataset("nothing", (0, 3), "i4", maxshape=(None, 3), chunks=(5, 3), **filters)
        file.create_dataset("texts", data=["a" * i for i in range(50)], chunks=(7,), compression="gzip")
        file.attrs.update({"text": "text", "texts": ["a", "b"], "number": 3.0})
        file["null"], file["scalar"], file["type"] = h5py.Empty("f4"), "text", np.dtype("f4")
        file["round/and/round"] = file["/"]
        file["round/here"] = h5py.SoftLink("/round")
    assert unsafe_keys(path) == {}


@pytest.mark.filterwarnings("error")
def test_numbers_that_float32_cannot_hold_are_left_to_the_checks(tmp_path: Path) -> None:
    root = shutil.copytree(DROID, tmp_path / "raw")
    with h5py.File(sorted(root.rglob("trajectory.h5"))[1], "r+") as file:
        file["observation/robot_state/gripper_position"][3] = 1e300
    with open_source(root) as source:
        assert np.isfinite(source.contract.state_high).all()
        assert np.argwhere(~np.isfinite(source.read(1).states)).tolist() == [[3, 6]]
        assert ("not_finite", 3) in [(finding.kind, finding.step) for finding in inspect(source).findings]


# -- the other process ----------------------------------------------------------------------


def test_a_file_is_looked_through_once_until_it_changes(tmp_path: Path, questions: list[str]) -> None:
    path = Path(shutil.copyfile(ROBOMIMIC, tmp_path / "image.hdf5"))
    for _ in range(2):
        open_source(path).close()
    assert questions == ["image.hdf5"]
    os.utime(path, ns=(1, 1))
    open_source(path).close()
    assert questions == ["image.hdf5"] * 2
    known = known_files()
    hdf5_guard._of_process.cache_clear()
    remember(known)
    open_source(path).close()
    assert questions == ["image.hdf5"] * 2


def test_workers_are_told_what_is_known(questions: list[str]) -> None:
    open_source(ROBOMIMIC).close()
    known, threads = known_files(), torch.get_num_threads()
    hdf5_guard._of_process.cache_clear()
    _start_worker(known, 0)
    torch.set_num_threads(threads)
    open_source(ROBOMIMIC).close()
    assert questions == ["image.hdf5"]


def test_files_of_our_own_format_need_not_be_looked_through(questions: list[str]) -> None:
    assert detect(OWN) == "jepa_robot"
    assert questions == []


def test_all_files_of_droid_are_looked_through_before_they_are_needed(questions: list[str]) -> None:
    open_source(DROID).close()
    assert questions == ["trajectory.h5"] * 3 and len(known_files()) == 3


def test_what_is_expected_may_be_a_link_or_nothing(tmp_path: Path, questions: list[str]) -> None:
    (tmp_path / "link.h5").symlink_to(ROBOMIMIC)
    for name in ("nothing.h5", "link.h5", ""):
        expect(tmp_path / name)
    assert questions == []
    expect(ROBOMIMIC)
    assert unsafe_keys(ROBOMIMIC) == {} and questions == ["image.hdf5"]


def test_answers_belong_to_their_files_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = entry(ROBOMIMIC, "data/demo_0/obs/object")
    bad = changed(ROBOMIMIC, tmp_path / "bad.hdf5", **{f"at_{find(ROBOMIMIC, pattern=mine) + 4}": b"\x01"})
    answer = hdf5_guard._Walker.answer

    def interrupted(self: hdf5_guard._Walker) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hdf5_guard._Walker, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unsafe_keys(ROBOMIMIC)
    monkeypatch.setattr(hdf5_guard._Walker, "answer", answer)
    assert list(unsafe_keys(bad)) == ["data/demo_0/obs/object"]
    assert unsafe_keys(ROBOMIMIC) == {}


def test_a_process_that_ended_while_it_had_nothing_to_do_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_guard, "IDLE", 0.05)
    assert unsafe_keys(ROBOMIMIC) == {}
    walker = hdf5_guard._of_process(os.getpid())._walker
    assert walker._process.wait(timeout=30) == 0
    assert unsafe_keys(changed(ROBOMIMIC, tmp_path / "copy.hdf5")) == {}


def test_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(DataError, match="the process that looks through HDF5 files cannot run"):
        unsafe_keys(ROBOMIMIC)
