"""Pictures read past the HDF5 library are those that it reads; damage is noticed."""

from __future__ import annotations

import os
import struct
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest

from jepa_robot.data.pictures import StoredPictures

LZ4 = hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.NOSHUFFLE)
LAYOUTS = {
    "blosc and checksum": {"compression": LZ4, "fletcher32": True},
    "blosc": {"compression": LZ4},
    "checksum": {"fletcher32": True},
    "neither": {},
    "gzip and checksum": {"compression": "gzip", "fletcher32": True},
    "gzip": {"compression": "gzip"},
    "zstd and shuffle inside blosc": {"compression": hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.SHUFFLE)},
}


def pictures(count=11, noisy=False):
    rng = np.random.default_rng(0)
    if noisy:  # cannot be compressed
        return rng.integers(0, 256, (count, 8, 6, 3), dtype=np.uint8)
    return np.repeat(rng.integers(0, 256, (count, 8, 1, 3), dtype=np.uint8), 6, axis=2)


def stored_of(array):
    assert StoredPictures.readable(array.id)
    return StoredPictures(array.id, array.file.id.get_vfd_handle())


def read(stored, rows):
    out = np.full((len(rows), *stored.shape[1:]), 7, np.uint8)
    stored.read(rows, out)
    return out


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
        stored = stored_of(array)
        for start in range(11):
            for stop in range(start + 1, 12):
                np.testing.assert_array_equal(read(stored, range(start, stop)), array[start:stop])
                np.testing.assert_array_equal(read(stored, range(start, stop, 3)), array[start:stop:3])


def test_pictures_are_put_into_a_part_of_a_larger_array(tmp_path):
    with h5py.File(write(tmp_path / "x.h5", pictures(), 1, **LAYOUTS["blosc and checksum"]), "r") as file:
        stored = stored_of(file["a/front"])
        batch = np.zeros((4, 3, 8, 6, 3), np.uint8)
        stored.read(range(2, 5), batch[1])
        np.testing.assert_array_equal(batch[1], pictures()[2:5])
        assert not batch[[0, 2, 3]].any()
        with pytest.raises(ValueError, match="copy"):  # rather than into a copy that nobody sees
            stored.read(range(1), np.zeros((1, 8, 6, 4), np.uint8)[..., :3])


@pytest.mark.parametrize(
    ("values", "layout"),
    [
        (pictures(), {"compression": "gzip", "shuffle": True}),
        (pictures(), {"compression": "lzf", "fletcher32": True}),
        (pictures(), {"shuffle": True}),
        (pictures().astype(np.float32), {}),
        (pictures()[..., 0].astype(np.int8), {}),
    ],
)
def test_other_layouts_are_left_to_hdf5(tmp_path, values, layout):
    with h5py.File(write(tmp_path / "x.h5", values, 4, **layout), "r") as file:
        assert not StoredPictures.readable(file["a/front"].id)


def test_a_single_picture(tmp_path):
    picture = pictures(1)[0]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        array = file.create_dataset("a", data=picture, chunks=picture.shape, compression=LZ4, fletcher32=True)
        file.flush()
        np.testing.assert_array_equal(read(stored_of(array), range(1))[0], picture)


def test_pictures_in_several_chunks_are_left_to_hdf5(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        parts = file.create_dataset("b", data=pictures(), chunks=(1, 4, 6, 3))
        assert not StoredPictures.readable(parts.id)


def test_a_chunk_that_was_never_written(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        array = file.create_dataset("a", (8, 8, 6, 3), np.uint8, chunks=(1, 8, 6, 3), compression=LZ4)
        array[:5] = pictures(5)
        with pytest.raises(OSError, match="never written"):
            stored_of(array)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("size", [0, 7, 8 * 6 * 3 - 1, 8 * 6 * 3 * 4 + 1])
def test_gzip_that_becomes_too_few_or_too_many_bytes(tmp_path, rows, size):
    """Which the HDF5 library does not look at before it reads them."""
    path = write(tmp_path / "x.h5", pictures(), rows, compression="gzip")
    with h5py.File(path, "r+") as file:
        file["a/front"].id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(size)))
    with h5py.File(path, "r") as file, pytest.raises(OSError, match="a chunk has|cannot be decompressed"):
        read(stored_of(file["a/front"]), range(1))


@pytest.mark.parametrize("corner", [(200, 0, 0, 0, 0), (4, 8, 0, 0, 0), (2**40, 0, 0, 0, 0)])
def test_chunks_that_lie_outside_of_the_array(tmp_path, corner):
    path = write(tmp_path / "x.h5", pictures(), 1)
    whole, place = path.read_bytes(), struct.pack("<5Q", 3, 0, 0, 0, 0)  # where the index says that chunk 3 begins
    assert whole.count(place) == 1
    path.write_bytes(whole.replace(place, struct.pack("<5Q", *corner)))
    with h5py.File(path, "r") as file, pytest.raises(OSError, match="outside of the array"):
        stored_of(file["a/front"])


@pytest.mark.parametrize("layout", ["blosc and checksum", "gzip and checksum", "checksum", "blosc", "gzip"])
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
            stored = stored_of(file["a/front"])
            np.testing.assert_array_equal(read(stored, range(3)), pictures(noisy=noisy)[:3])  # the others are as they were
            try:
                read(stored, range(11))
                unnoticed += 1
            except OSError:
                pass
    assert unnoticed == 0 or "checksum" not in layout


def test_a_file_that_ends_early(tmp_path):
    path = write(tmp_path / "x.h5", pictures(noisy=True), 1)
    with h5py.File(path, "r") as file:
        stored = stored_of(file["a/front"])
        os.truncate(path, file["a/front"].id.get_chunk_info(9).byte_offset + 10)
        with pytest.raises(OSError, match="ends inside of a chunk"):
            read(stored, range(11))


@pytest.mark.parametrize("value", [0, 1, 254, 255])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (224, 224)])
def test_checksums_of_extreme_pictures_are_those_of_hdf5(tmp_path, value, size):
    """Sums that fold to 0 and to 65535, an odd number of bytes, and large ones."""
    values = np.full((2, *size, 3), value, np.uint8)
    with h5py.File(write(tmp_path / "x.h5", values, 1, fletcher32=True), "r") as file:
        np.testing.assert_array_equal(read(stored_of(file["a/front"]), range(2)), values)
