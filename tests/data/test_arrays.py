"""Arrays read past the HDF5 library are those that it reads, and never those of other files."""

from __future__ import annotations

import os

import h5py
import hdf5plugin
import numpy as np
import pytest

from jepa_robot.data.arrays import StoredArrays
from jepa_robot.errors import DataError

RNG = np.random.default_rng(0)
ARRAYS = {
    "floats": RNG.normal(size=(5, 3)).astype(np.float32),
    "doubles": RNG.normal(size=7),
    "big endian": RNG.normal(size=(2, 2)).astype(">f4"),
    "whole numbers": RNG.integers(-9, 9, (4, 1), dtype=np.int16),
    "one number": np.float32(2.5),
    "no rows": np.zeros((0, 3), np.float32),
}
PICTURES = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)


@pytest.fixture(params=[0, 512], ids=["", "behind a user block"])
def file(tmp_path, request):
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=request.param) as made:
        for name, values in ARRAYS.items():
            made[f"data/demo_0/{name}"] = values
        made["data/demo_0/texts"] = ["a", "b"]
        compressed = {"chunks": (2, 3), "compression": "gzip"}
        made.create_dataset("data/demo_0/in chunks", data=ARRAYS["floats"], **compressed)
        made.create_dataset("data/demo_0/never written", (3,), np.float32, fillvalue=4.0)
        pixels = {"chunks": (1, 4, 4, 3), "compression": hdf5plugin.Blosc(cname="lz4")}
        made.create_dataset("data/demo_0/pictures", data=PICTURES, **pixels)
    with h5py.File(tmp_path / "x.h5", "r") as opened:
        yield opened


@pytest.mark.parametrize("name", [*ARRAYS, "texts", "in chunks", "never written"])
def test_as_h5py_reads_them(file, name):
    expected = file[f"data/demo_0/{name}"][()]
    found = StoredArrays(file["data"]).read(f"demo_0/{name}")
    np.testing.assert_array_equal(found, expected)
    assert np.shape(found) == np.shape(expected) and np.asarray(found).dtype == np.asarray(expected).dtype


def test_some_rows(file):
    arrays = StoredArrays(file["data"])
    np.testing.assert_array_equal(arrays.read("demo_0/floats", slice(1, 3)), ARRAYS["floats"][1:3])
    np.testing.assert_array_equal(arrays.read("demo_0/pictures", slice(1, 3)), PICTURES[1:3])


def test_pictures_behind_a_user_block_are_left_to_hdf5(file):
    stored = StoredArrays(file["data"]).pictures("demo_0/pictures")
    assert (stored is None) == (file.userblock_size > 0)
    if stored is not None:
        out = np.empty_like(PICTURES)
        stored.read(range(6), out)
        np.testing.assert_array_equal(out, PICTURES)


@pytest.mark.parametrize("key", ["demo_1/floats", "demo_0/missing", "demo_0/floats/below", "demo_0"])
def test_what_is_not_there(file, key):
    arrays = StoredArrays(file["data"])
    assert arrays.find(key) is None and arrays.read(key) is None and arrays.pictures(key) is None


@pytest.mark.parametrize(
    "lead_away",
    [
        lambda demo: demo.__setitem__("away", h5py.SoftLink("/data/demo_0/floats")),
        lambda demo: demo.__setitem__("away", h5py.ExternalLink("other.h5", "/values")),
        lambda demo: demo.create_dataset("away", (2, 2), "f4", external=[("other.bin", 0, h5py.h5f.UNLIMITED)]),
        lambda demo: demo.create_virtual_dataset("away", virtual(demo)),
    ],
    ids=["soft link", "external link", "external values", "virtual"],
)
@pytest.mark.parametrize("ask", [StoredArrays.read, StoredArrays.pictures], ids=["numbers", "pictures"])
def test_nothing_of_another_file_is_read(tmp_path, lead_away, ask):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.ones((2, 2), np.float32)
    np.ones((2, 2), np.float32).tofile(tmp_path / "other.bin")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["floats"] = ARRAYS["floats"]
        lead_away(demo)
    with h5py.File(tmp_path / "x.h5", "r") as file:
        with pytest.raises(DataError, match="link|another file") as error:
            ask(StoredArrays(file["data"]), "demo_0/away")
        assert "x.h5:data/demo_0/away" in str(error.value)


def virtual(demo):
    layout = h5py.VirtualLayout((2, 2), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "values", (2, 2))
    return layout


def test_a_file_that_ends_early(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["data/demo_0/floats"] = np.ones((1000, 3), np.float32)
    with h5py.File(path, "r") as file:
        os.truncate(path, file["data/demo_0/floats"].id.get_offset() + 100)
        with pytest.raises(OSError, match="ends inside"):
            StoredArrays(file["data"]).read("demo_0/floats")


def test_attributes_of_fixed_length(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        kept = {"whole": 3, "real": 2.5, "yes": True, "fixed": np.bytes_("text"), "several": np.arange(3)}
        for name, value in kept.items():
            file.create_group(f"data/{name}").attrs[name] = value
            file["data"].attrs[name] = value
        file["data"].attrs["heap"] = "a text of h5py's usual kind"
        file["data"].attrs["texts"] = ["a", "b"]
        file["data"].attrs["reference"] = file["data"].ref
        file["data"].attrs["nothing"] = h5py.Empty("f")
    with h5py.File(tmp_path / "x.h5", "r") as file:
        found = StoredArrays(file["data"]).attributes("")
        assert set(found) == set(kept)
        for name, value in kept.items():
            np.testing.assert_array_equal(found[name], value)
            np.testing.assert_array_equal(StoredArrays(file["data"]).attributes(name)[name], value)
        assert StoredArrays(file["data"]).attributes("", ("whole", "heap", "missing")) == {"whole": 3}
        with pytest.raises(KeyError, match="no group demo_7"):
            StoredArrays(file["data"]).attributes("demo_7")
