"""The head of an HDF5 file: its checksum, and files that were left open, seen as if they had been closed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepa_robot.data.superblock import UnclosedFile, lookup3


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
