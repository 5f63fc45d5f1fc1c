"""Opening HDF5 files that were not closed, or not copied to their end, without changing them.

An HDF5 file begins with a superblock: how long the file is and, in its newer versions, whether a program has it open
for writing, with a checksum. A writer that was killed leaves both wrong, and HDF5 refuses the file.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FLAGS = 11  # of versions 2 and 3
_CHECKSUM = 44
_32_BITS = 0xFFFFFFFF


class UnclosedFile(io.RawIOBase):
    """An HDF5 file as it would be had it been closed; to be handed to ``h5py.File(..., "r")``.

    Its superblock says in memory that nobody writes it and that it is as long as it is, so that HDF5 can reach
    everything that is there. Reading what is not there is an error.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__()
        self._fd = os.open(Path(path), os.O_RDONLY)
        self._position = 0
        self._there = os.fstat(self._fd).st_size
        self._head, self._length = _closed(os.pread(self._fd, 64, 0), self._there)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        view = memoryview(buffer).cast("B")
        start, end = self._position, self._position + len(view)
        if end > self._there:
            raise OSError(f"the file ends at byte {self._there}, before byte {end}")
        data = os.pread(self._fd, len(view), start)
        view[: len(data)] = data
        if start < len(self._head):
            count = min(len(view), len(self._head) - start)
            view[:count] = self._head[start : start + count]
        self._position = end
        return len(view)

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
            super().close()


def _closed(head: bytes, size: int) -> tuple[bytes, int]:
    """The first bytes of a file of ``size`` bytes with a superblock that fits, and the length that it states."""
    version, place = (head[8], {0: 40, 1: 44, 2: 28, 3: 28}.get(head[8])) if len(head) == 64 else (0, None)
    if not head.startswith(SIGNATURE) or place is None:
        return head, size  # HDF5 itself says what is wrong with it
    patched = bytearray(head)
    (stated,) = struct.unpack_from("<Q", head, place)
    length = max(stated, size) if stated < 2**62 else size
    struct.pack_into("<Q", patched, place, length)
    if version >= 2:
        patched[_FLAGS] = 0
        struct.pack_into("<I", patched, _CHECKSUM, lookup3(bytes(patched[:_CHECKSUM])))
    return bytes(patched), length


def lookup3(data: bytes) -> int:
    """Bob Jenkins's hash of that name (bytes, initial value 0), with which HDF5 protects its metadata."""
    a = b = c = 0xDEADBEEF + len(data) & _32_BITS
    if not data:
        return c
    blocks = list(struct.iter_unpack("<3I", data + bytes(-len(data) % 12)))
    for number, (x, y, z) in enumerate(blocks):
        a, b, c = a + x & _32_BITS, b + y & _32_BITS, c + z & _32_BITS
        if number < len(blocks) - 1:
            for k in (4, 6, 8, 16, 19, 4):
                a, b, c = b, c + b & _32_BITS, (a - c & _32_BITS) ^ _rotated(c, k)
    for k in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, (c ^ b) - _rotated(b, k) & _32_BITS, a
    return b


def _rotated(x: int, k: int) -> int:
    return (x << k | x >> 32 - k) & _32_BITS
