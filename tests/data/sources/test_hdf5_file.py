"""Files of others: nothing leads out of them, and nothing in them is waited for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import break_file
from sources import read_all

from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import open_source
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.errors import DataError

SAMPLES = Path(__file__).parents[1] / "samples"
# Format -> (its sample, the HDF5 file in it, an array that is read).
FILES = {
    "robomimic": ("robomimic/image.hdf5", "", "data/demo_0/obs/agentview_image"),
    "minari": ("minari/raw", "data/main_data.hdf5", "episode_0/observations/side"),
    "stable_worldmodel": ("stable_worldmodel/moving_block.h5", "", "pixels"),
}


@pytest.fixture(params=FILES)
def data_set(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path, str]:
    """Format, path of the data set, its HDF5 file and an array of pictures in it."""
    sample, inner, key = FILES[request.param]
    source, target = SAMPLES / sample, tmp_path / Path(sample).name
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    return request.param, target, target / inner if inner else target, key


def external_link(file: h5py.File, key: str, outside: Path) -> None:
    file[key] = h5py.ExternalLink(str(outside), "/secret")


def soft_link_to_external_link(file: h5py.File, key: str, outside: Path) -> None:
    way = f"{key}_elsewhere"
    file[way] = h5py.ExternalLink(str(outside), "/")
    file[key] = h5py.SoftLink(f"/{way}/secret")


def virtual_array(file: h5py.File, key: str, outside: Path) -> None:
    layout = h5py.VirtualLayout((8, 32, 40, 3), np.uint8)
    layout[:] = h5py.VirtualSource(str(outside), "secret", (8, 32, 40, 3))
    file.create_virtual_dataset(key, layout)


def raw_storage_outside(file: h5py.File, key: str, outside: Path) -> None:
    file.create_dataset(key, (8, 32, 40, 3), np.uint8, external=[(str(outside), 0, h5py.h5f.UNLIMITED)])


WAYS_OUT = (external_link, soft_link_to_external_link, virtual_array, raw_storage_outside)


@pytest.mark.parametrize("lead_out", WAYS_OUT, ids=lambda way: way.__name__)
def test_what_leads_out_of_the_file_is_refused_without_opening_it(
    data_set: tuple[str, Path, Path, str], lead_out: Callable, tmp_path: Path
) -> None:
    format, path, hdf5, key = data_set
    outside = tmp_path / "outside.hdf5"
    with h5py.File(outside, "w") as file:
        file["secret"] = np.zeros((8, 32, 40, 3), np.uint8)
    with h5py.File(hdf5, "a") as file:
        del file[key]
        lead_out(file, key, outside)
    outside.unlink()
    os.mkfifo(outside)  # whoever opens it waits for ever
    with pytest.raises(DataError, match=rf"{hdf5.name}:{key}\S*: (is a link to another file|has its values somewhere)"):
        read_all(open_source(path, format, SourceOptions(fps=10)))


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "links.h5"
    with h5py.File(path, "w") as file:
        file["a/values"] = np.arange(6)
        file["b/relative"] = h5py.SoftLink("deeper/values")
        file["b/deeper"] = h5py.SoftLink("/a")
        file["b/dangling"] = h5py.SoftLink("/nothing")
    file = Hdf5File(path, "links")
    np.testing.assert_array_equal(file.array("b/relative")[2:], [2, 3, 4, 5])
    assert not file.has("b/dangling") and not file.has("a/values/more") and not file.has("c")
    assert file.names("b") == ["dangling", "deeper", "relative"]
    with pytest.raises(DataError, match="b/dangling: is missing"):
        file.array("b/dangling")
    file.close()


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "circle.h5"
    with h5py.File(path, "w") as file:
        file["here"] = h5py.SoftLink("/there")
        file["there"] = h5py.SoftLink("/here")
    with pytest.raises(DataError, match="circle.h5:here: its links lead round in a circle"):
        Hdf5File(path, "links").array("here")


def test_an_unknown_filter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "filter.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_filter(40000, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file.id, b"odd", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((4,)), properties)
    with pytest.raises(DataError, match="odd: is compressed with a filter that is not installed.*40000"):
        Hdf5File(path, "").array("odd")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("empty", r"is empty \(0 bytes\)"),
        ("text", "is not an HDF5 file"),
        ("pipe", "is not a regular file"),
    ],
)
def test_what_is_no_hdf5_file_is_refused(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "file.h5"
    path.touch()
    break_file(path, how, tmp_path)
    with pytest.raises(DataError, match=f"file.h5: {message}"):
        Hdf5File(path, "anything")


def test_attributes_that_count(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5.attrs.update({"good": np.uint8(7), "half": 0.5, "many": [1, 2], "minus": -1, "text": np.bytes_(b"seven")})
    file = Hdf5File(tmp_path / "a.h5", "")
    attributes = file.attributes("/")
    assert file.count("/", "good", attributes) == 7 and file.count("/", "absent", attributes) is None
    for name in ("half", "many", "minus", "text"):
        with pytest.raises(DataError, match=f"attribute {name} is .*expected a whole number"):
            file.count("/", name, attributes)
