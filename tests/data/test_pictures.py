"""Pictures read past the HDF5 library are those that it reads; damage is noticed."""

from __future__ import annotations

import os

import h5py
import hdf5plugin
import numpy as np
import pytest

from jepa_robot.data.pictures import StoredPictures, fletcher32

LZ4 = hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.NOSHUFFLE)
LAYOUTS = {
    "blosc and checksum": {"compression": LZ4, "fletcher32": True},
    "blosc": {"compression": LZ4},
    "checksum": {"fletcher32": True},
    "neither": {},
    "zstd and shuffle inside blosc": {"compression": hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.SHUFFLE)},
}


def pictures(count=11, noisy=False):
    rng = np.random.default_rng(0)
    if noisy:  # cannot be compressed
        return rng.integers(0, 256, (count, 8, 6, 3), dtype=np.uint8)
    return np.repeat(rng.integers(0, 256, (count, 8, 1, 3), dtype=np.uint8), 6, axis=2)


def write(path, values, rows, **layout):
    with h5py.File(path, "w") as file:
        file.create_dataset("a/front", data=values, chunks=(rows, *values.shape[1:]), **layout)
    return path


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("rows", [1, 4, 11, 16])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_same_as_h5py(tmp_path, layout, rows, noisy):
    values = pictures(noisy=noisy)
    rows_ = min(rows, len(values))
    with h5py.File(write(tmp_path / "x.h5", values, rows_, **LAYOUTS[layout]), "r") as file:
        array = file["a/front"]
        assert StoredPictures.readable(array)
        stored = StoredPictures(array, file.id.get_vfd_handle())
        for start in range(11):
            for stop in range(start + 1, 12):
                np.testing.assert_array_equal(stored.read(start, stop), array[start:stop])


@pytest.mark.parametrize(
    ("values", "layout"),
    [
        (pictures(), {"compression": "gzip"}),
        (pictures(), {"compression": "lzf", "fletcher32": True}),
        (pictures(), {"shuffle": True}),
        (pictures().astype(np.float32), {}),
        (pictures()[..., 0].astype(np.int8), {}),
    ],
)
def test_other_layouts_are_left_to_hdf5(tmp_path, values, layout):
    with h5py.File(write(tmp_path / "x.h5", values, 4, **layout), "r") as file:
        assert not StoredPictures.readable(file["a/front"])


def test_a_single_picture(tmp_path):
    picture = pictures(1)[0]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        array = file.create_dataset("a", data=picture, chunks=picture.shape, compression=LZ4, fletcher32=True)
        file.flush()
        assert StoredPictures.readable(array)
        np.testing.assert_array_equal(StoredPictures(array, file.id.get_vfd_handle()).read(0, 1)[0], picture)


def test_contiguous_arrays_are_left_to_hdf5(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        assert not StoredPictures.readable(file.create_dataset("a", data=pictures()))
        parts = file.create_dataset("b", data=pictures(), chunks=(1, 4, 6, 3))
        assert not StoredPictures.readable(parts)


def test_a_chunk_that_was_never_written(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        array = file.create_dataset("a", (8, 8, 6, 3), np.uint8, chunks=(1, 8, 6, 3), compression=LZ4)
        array[:5] = pictures(5)
        with pytest.raises(OSError, match="never written"):
            StoredPictures(array, file.id.get_vfd_handle())


@pytest.mark.parametrize("layout", ["blosc and checksum", "checksum", "blosc"])
@pytest.mark.parametrize("noisy", [False, True])
def test_every_damaged_byte_is_noticed_where_there_are_checksums(tmp_path, layout, noisy):
    path = write(tmp_path / "x.h5", pictures(noisy=noisy), 1, **LAYOUTS[layout])
    whole = path.read_bytes()
    with h5py.File(path, "r") as file:
        chunk = file["a/front"].id.get_chunk_info(3)
    unnoticed = 0
    for at in range(chunk.size):
        damaged = bytearray(whole)
        damaged[chunk.byte_offset + at] ^= 0x55
        path.write_bytes(damaged)
        with h5py.File(path, "r") as file:
            stored = StoredPictures(file["a/front"], file.id.get_vfd_handle())
            np.testing.assert_array_equal(stored.read(0, 3), pictures(noisy=noisy)[:3])  # the others are as they were
            try:
                stored.read(0, 11)
                unnoticed += 1
            except OSError:
                pass
    assert unnoticed == 0 or "checksum" not in layout


def test_a_file_that_ends_early(tmp_path):
    path = write(tmp_path / "x.h5", pictures(noisy=True), 1)
    with h5py.File(path, "r") as file:
        stored = StoredPictures(file["a/front"], file.id.get_vfd_handle())
        os.truncate(path, file["a/front"].id.get_chunk_info(9).byte_offset + 10)
        with pytest.raises(OSError, match="ends inside of a chunk"):
            stored.read(0, 11)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 100, 1001, 70_000])
def test_fletcher32_as_hdf5_computes_it(tmp_path, length):
    """Of its own words, written out, and of what HDF5 stores behind a chunk."""
    data = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    first = second = 0
    for i in range(0, length, 2):
        word = data[i] << 8 | (data[i + 1] if i + 1 < length else 0)
        first = (first + word) % 65535
        second = (second + first) % 65535
    assert fletcher32(data) == second << 16 | first
    if length:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            array = file.create_dataset("a", data=np.frombuffer(data, np.uint8), chunks=(length,), fletcher32=True)
            file.flush()
            kept = int.from_bytes(array.id.read_direct_chunk((0,))[1][-4:], "little")
        assert [(kept >> s & 0xFFFF) % 65535 for s in (0, 16)] == [first, second]
