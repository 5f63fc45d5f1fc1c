"""Reading pictures out of an HDF5 file past the HDF5 library.

The library holds one lock for all threads, copies every chunk once more than needed and checks its
checksum at every read. Where the chunks lie is asked once; then they are read and decompressed straight
to where they are wanted, in as many threads as there are. Checksums are checked when a chunk is read
for the first time.
"""

from __future__ import annotations

import os

import h5py
import numpy as np
from numcodecs import blosc

BLOSC = 32001  # HDF5's registered number of the filter
_CHECKSUM_BYTES = 4
_HEADER = np.dtype([("versions", "<u4"), ("plain", "<u4"), ("block", "<u4"), ("compressed", "<u4")])


class StoredPictures:
    """The pictures uint8 [T, H, W, 3] of one array; an array [H, W, 3] is a single one.

    Args:
        array: for which `readable` says yes.
        descriptor: of the open file, which stays open as long as this is used.
    """

    def __init__(self, array: h5py.Dataset, descriptor: int):
        several = array.ndim == 4
        self.shape = array.shape if several else (1, *array.shape)
        self._descriptor = descriptor
        self._rows = array.chunks[0] if several else 1
        filters = _filters(array)
        count = -(-self.shape[0] // self._rows)
        self._offsets, self._sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._compressed, self._unchecked = np.zeros(count, bool), np.zeros(count, bool)
        self._compressing = BLOSC in filters
        self._checksum = h5py.h5z.FILTER_FLETCHER32 in filters

        def keep(chunk: h5py.h5d.StoreInfo) -> None:
            at = chunk.chunk_offset[0] // self._rows if several else 0
            self._offsets[at], self._sizes[at] = chunk.byte_offset, chunk.size
            # A set bit: this chunk did without that filter, such as compression of what cannot be compressed.
            used = [number for i, number in enumerate(filters) if not chunk.filter_mask >> i & 1]
            self._compressed[at] = BLOSC in used
            self._unchecked[at] = self._checksum
            if self._checksum and h5py.h5z.FILTER_FLETCHER32 not in used:
                raise OSError("a chunk has no checksum")

        array.id.chunk_iter(keep)
        if not self._sizes.all():
            raise OSError("a chunk was never written")

    @staticmethod
    def readable(array: h5py.Dataset) -> bool:
        """Whether an array is stored in a way that this understands: Blosc or nothing, checksums or none."""
        plain = array.dtype == np.uint8 and array.ndim in (3, 4) and array.chunks is not None and not array.is_virtual
        if not plain or array.chunks[-3:] != array.shape[-3:] or array.file.userblock_size:
            return False
        filters = _filters(array)
        if h5py.h5z.FILTER_FLETCHER32 in filters[:-1]:
            return False  # checksums of what is not compressed yet
        return set(filters) <= {BLOSC, h5py.h5z.FILTER_FLETCHER32}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Pictures ``start`` to ``stop - 1``, uint8 [stop - start, H, W, 3].

        Raises:
            OSError: a chunk is damaged.
        """
        out = np.empty((stop - start, *self.shape[1:]), np.uint8)
        for chunk in range(start // self._rows, -(-stop // self._rows)):
            first = chunk * self._rows
            last = first + self._rows  # of the last chunk this may lie behind the last picture
            if start <= first and last <= stop:
                self._decode(chunk, out[first - start : last - start])
            else:
                whole = np.empty((self._rows, *self.shape[1:]), np.uint8)
                self._decode(chunk, whole)
                low, high = max(start, first), min(stop, last)
                out[low - start : high - start] = whole[low - first : high - first]
        return out

    def _decode(self, chunk: int, out: np.ndarray) -> None:
        size = int(self._sizes[chunk])
        stored = memoryview(os.pread(self._descriptor, size, int(self._offsets[chunk])))
        if len(stored) != size:
            raise OSError("the file ends inside of a chunk")
        if self._checksum:
            stored, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
            if self._unchecked[chunk]:
                if not _same(fletcher32(stored), int.from_bytes(checksum, "little")):
                    raise OSError("the checksum of a chunk is wrong")
                self._unchecked[chunk] = False
        if not self._compressed[chunk]:
            if len(stored) != out.nbytes:
                raise OSError(f"a chunk has {len(stored)} bytes instead of {out.nbytes}")
            out.reshape(-1)[:] = np.frombuffer(stored, np.uint8)
            if self._compressing and not out.any():  # zeros would have been compressed, and their checksum is right
                raise OSError("a chunk was overwritten with zeros")
            return
        header = np.frombuffer(stored, _HEADER, 1)[0] if len(stored) >= _HEADER.itemsize else None
        if header is None or (header["plain"], header["compressed"]) != (out.nbytes, len(stored)):
            raise OSError("a chunk is not what its header says")
        try:
            blosc.decompress(stored, out.reshape(-1))
        except (RuntimeError, ValueError) as error:
            raise OSError(f"a chunk cannot be decompressed ({error})") from error


def fletcher32(data: memoryview | bytes) -> int:
    """HDF5's checksum: of 16-bit big-endian words, the sum and the sum of the partial sums, each modulo 65535."""
    words = np.frombuffer(data, ">u2", len(data) // 2).astype(np.int64)
    if len(data) % 2:
        words = np.append(words, data[-1] << 8)
    low = int(words.sum()) % 65535
    high = int((words * np.arange(len(words), 0, -1)).sum()) % 65535
    return high << 16 | low


def _same(a: int, b: int) -> bool:
    """Equal modulo 65535 in both halves: folding carries leaves 65535 in place of 0."""
    return (a & 0xFFFF) % 65535 == (b & 0xFFFF) % 65535 and (a >> 16) % 65535 == (b >> 16) % 65535


def _filters(array: h5py.Dataset) -> list[int]:
    plan = array.id.get_create_plist()
    return [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
