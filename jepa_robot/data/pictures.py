"""Reading pictures out of an HDF5 file past the HDF5 library.

The library holds one lock for all threads, copies every chunk once more than needed, checks its
checksum at every read, and crashes where a damaged chunk becomes fewer bytes than it should. Here, where
the chunks lie is asked once; then they are read and decompressed straight to where they are wanted, in
as many threads as there are. Checksums are checked when a chunk is read for the first time.
"""

from __future__ import annotations

import os
import struct
import zlib

import h5py
import numpy as np
from numcodecs import blosc
from numcodecs.fletcher32 import Fletcher32

BLOSC = 32001  # HDF5's registered number of the filter
_BLOSC_HEADER = struct.Struct("<4xI4xI")  # bytes as they were, bytes as they are stored
_FLETCHER = h5py.h5z.FILTER_FLETCHER32
_CHECKSUM = Fletcher32()
_CHECKSUM_BYTES = 4
_NEAR = 1.25  # times what is wanted of the file is read, at most, to read it at once


class StoredPictures:
    """The pictures uint8 [T, H, W, 3] of one array; an array [H, W, 3] is a single one.

    Args:
        array: in chunks, for which `readable` says yes, in a file without a user block.
        descriptor: of the open file, which stays open as long as this is used.
    """

    def __init__(self, array: h5py.h5d.DatasetID, descriptor: int):
        shape, plan = array.shape, array.get_create_plist()
        several = len(shape) == 4
        self.shape = shape if several else (1, *shape)
        self._descriptor = descriptor
        self._rows = plan.get_chunk()[0] if several else 1
        filters = _filters(plan)
        count = -(-self.shape[0] // self._rows)
        self._offsets, self._sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._compressed, self._unchecked = np.zeros(count, bool), np.zeros(count, bool)
        self._compression = next((number for number in filters if number in _DECOMPRESS), None)
        checksums = _FLETCHER in filters
        self._checksum = _CHECKSUM_BYTES if checksums else 0

        def keep(chunk: h5py.h5d.StoreInfo) -> None:
            at = chunk.chunk_offset[0] // self._rows if several else 0
            if at >= count or any(chunk.chunk_offset[1:]):
                raise OSError("a chunk lies outside of the array")
            self._offsets[at], self._sizes[at] = chunk.byte_offset, chunk.size
            # A set bit: this chunk did without that filter, such as compression of what cannot be compressed.
            used = [number for i, number in enumerate(filters) if not chunk.filter_mask >> i & 1]
            self._compressed[at] = self._compression in used
            self._unchecked[at] = checksums
            if checksums and _FLETCHER not in used:
                raise OSError("a chunk has no checksum")

        array.chunk_iter(keep)
        if not self._sizes.all():
            raise OSError("a chunk was never written")

    @staticmethod
    def readable(array: h5py.h5d.DatasetID) -> bool:
        """Whether an array in chunks is stored in a way that this understands.

        That is compressed by Blosc, gzip or not at all, then with a checksum or without.
        """
        shape, plan = array.shape, array.get_create_plist()
        filters = _filters(plan)
        return (
            len(shape) in (3, 4)
            and array.dtype == np.uint8
            and plan.get_chunk()[-3:] == shape[-3:]
            and [number for number in filters if number != _FLETCHER] in ([], *([c] for c in _DECOMPRESS))
            and _FLETCHER not in filters[:-1]  # a checksum of what is not compressed yet
        )

    def read(self, rows: range, out: np.ndarray) -> None:
        """Put pictures number ``rows``, of ascending order, into ``out`` uint8 [len(rows), H, W, 3].

        Raises:
            OSError: a chunk is damaged.
        """
        if self._rows == 1:
            self._decode(list(rows), list(out))
            return
        chunks = sorted({row // self._rows for row in rows})
        whole = np.empty((len(chunks), self._rows, *self.shape[1:]), np.uint8)
        self._decode(chunks, list(whole))
        for row, picture in zip(rows, out):
            picture[:] = whole[chunks.index(row // self._rows), row % self._rows]

    def _decode(self, chunks: list[int], outs: list[np.ndarray]) -> None:
        """Put whole chunks into arrays."""
        pixels = [out.reshape(-1, copy=False) for out in outs]
        if (self._compressed[chunks] | self._unchecked[chunks]).any():
            for chunk, stored, values in zip(chunks, self._stored(chunks), pixels):
                self._unpack(chunk, stored, values)
        else:  # straight to where it belongs
            for chunk, values in zip(chunks, pixels):
                size = int(self._sizes[chunk])
                _require_size(size - self._checksum, values)
                parts = [values, bytearray(self._checksum)]
                if os.preadv(self._descriptor, parts, int(self._offsets[chunk])) != size:
                    raise OSError("the file ends inside of a chunk")
        for chunk, values in zip(chunks, pixels):
            # Zeros would have been compressed, and their checksum is right.
            if self._compression is not None and not self._compressed[chunk] and not values.any():
                raise OSError("a chunk was overwritten with zeros")

    def _stored(self, chunks: list[int]) -> list[memoryview]:
        """What is stored of chunks. Those that lie side by side are read at once: fewer waits for other threads."""
        starts, sizes = self._offsets[chunks], self._sizes[chunks]
        ends = starts + sizes
        first, last = int(starts.min()), int(ends.max())
        if last - first > _NEAR * sizes.sum():
            return [self._bytes(start, end) for start, end in zip(starts.tolist(), ends.tolist())]
        together = self._bytes(first, last)
        return [together[start - first : end - first] for start, end in zip(starts.tolist(), ends.tolist())]

    def _bytes(self, start: int, end: int) -> memoryview:
        found = os.pread(self._descriptor, end - start, start)
        if len(found) != end - start:
            raise OSError("the file ends inside of a chunk")
        return memoryview(found)

    def _unpack(self, chunk: int, stored: memoryview, pixels: np.ndarray) -> None:
        """Check and decompress what is stored of a chunk."""
        if self._unchecked[chunk]:
            try:
                _CHECKSUM.decode(stored)
            except (RuntimeError, ValueError) as error:
                raise OSError("the checksum of a chunk is wrong") from error
            self._unchecked[chunk] = False
        content = stored[: len(stored) - self._checksum]
        if not self._compressed[chunk]:
            _require_size(len(content), pixels)
            pixels[:] = np.frombuffer(content, np.uint8)
            return
        try:
            _DECOMPRESS[self._compression](content, pixels)
        except (RuntimeError, ValueError, zlib.error) as error:
            raise OSError(f"a chunk cannot be decompressed ({error})") from error


def _decompress_blosc(content: memoryview, pixels: np.ndarray) -> None:
    if len(content) < _BLOSC_HEADER.size or _BLOSC_HEADER.unpack_from(content) != (pixels.nbytes, len(content)):
        raise OSError("a chunk is not what its header says")
    blosc.decompress(content, pixels)


def _decompress_gzip(content: memoryview, pixels: np.ndarray) -> None:
    plain = zlib.decompressobj().decompress(content, pixels.nbytes + 1)
    _require_size(len(plain), pixels)
    pixels[:] = np.frombuffer(plain, np.uint8)


_DECOMPRESS = {BLOSC: _decompress_blosc, h5py.h5z.FILTER_DEFLATE: _decompress_gzip}


def _require_size(size: int, pixels: np.ndarray) -> None:
    if size != pixels.nbytes:
        raise OSError(f"a chunk has {size} bytes instead of {pixels.nbytes}")


def _filters(plan: h5py.h5p.PropDCID) -> list[int]:
    return [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
