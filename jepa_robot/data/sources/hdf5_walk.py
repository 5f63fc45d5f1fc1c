"""A program of its own that touches all of an HDF5 file's structure, so that a damaged one crashes here and nowhere else.

It is run by `hdf5_guard`, reads one request a line (JSON: the file's path, and keys to leave out) and answers each
with a line. Before it touches a key it writes its name into a file that outlives it; and when touching one takes
seconds of processor time (waiting for a disc does not count), the kernel ends it. It imports nothing of the
package, so that it starts quickly.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import zlib
from collections.abc import Callable, Iterable

import h5py

PATIENCE = 3.0  # seconds of processor time for one key
MEMORY = 8 * 2**30  # bytes of address space
_IDLE = 5.0  # seconds without a request after which it ends
_ROWS = 16  # of an array whose values are in the file's heap, read at a time
_BLOSC = 32001
# What h5py raises for damaged files: the reader will meet the same errors, and say so.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError)


class Unsafe(Exception):
    """Reading this key would crash, or not end."""


class Walk:
    """A walk through all that is in one file and not in others.

    Args:
        path: the file.
        avoid: keys that are not touched, nor what lies below them.
        notes: descriptor of the file that says which key is touched.

    Attributes:
        unsafe: what is wrong with keys, where it was found out without dying of it.
    """

    def __init__(self, path: str, avoid: Iterable[str], notes: int):
        self._path, self._avoid, self._notes = path, set(avoid), notes
        self._seen: set[int] = set()  # addresses: a group may be below itself
        self._ahead: list[tuple[str, h5py.h5g.GroupID, bytes]] = []
        self.unsafe: dict[str, str] = {}

    def run(self) -> None:
        self._touch("")
        try:
            file = h5py.File(self._path, "r")
        except _DAMAGE:
            return
        with file:
            self._visit("", file.id)
            while self._ahead:
                key, group, name = self._ahead.pop()
                self._touch(key)
                try:
                    node = h5py.h5o.open(group, name)
                except _DAMAGE:
                    continue
                self._visit(key, node)

    def _visit(self, key: str, node: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> None:
        """Touch one group or array; what the group holds is put on the list of what is ahead."""
        try:
            self._attributes(node)
            if isinstance(node, h5py.h5g.GroupID):
                self._members(key, node)
            elif isinstance(node, h5py.h5d.DatasetID):
                self._array(key, node)
        except Unsafe as error:
            self.unsafe[key] = str(error)
        except MemoryError:
            self.unsafe[key] = f"needs more than {MEMORY // 2**30} GiB of memory to be read"
        except _DAMAGE:
            return

    def _touch(self, key: str) -> None:
        note = key.encode("utf-8", "surrogateescape")
        os.pwrite(self._notes, len(note).to_bytes(4, "little") + note, 0)
        _go_on()

    def _attributes(self, node: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> None:
        """Read all attributes as `Hdf5File` does."""
        if h5py.h5a.get_num_attrs(node):
            attributes = h5py.AttributeManager(h5py.HLObject(node))
            for name in _each_once(lambda found: h5py.h5a.iterate(node, found)):
                try:
                    attributes[name]
                except _DAMAGE:
                    continue

    def _members(self, key: str, group: h5py.h5g.GroupID) -> None:
        for name in _each_once(group.links.iterate):
            child = f"{key}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/")
            if child in self._avoid:
                continue
            _go_on()
            try:
                link = group.links.get_info(name)
            except _DAMAGE:
                continue
            if link.type != h5py.h5l.TYPE_HARD or link.u in self._seen:
                continue
            self._seen.add(link.u)
            self._ahead.append((child, group, name))

    def _array(self, key: str, array: h5py.h5d.DatasetID) -> None:
        properties = array.get_create_plist()
        layout = properties.get_layout()
        if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
            return  # asking for its shape would open other files
        kind = array.dtype
        if layout == h5py.h5d.CHUNKED:
            self._chunks(array, properties)
        if kind.hasobject and array.shape:
            self._from_heap(key, array, properties)

    def _from_heap(self, key: str, array: h5py.h5d.DatasetID, properties: h5py.h5p.PropDCID) -> None:
        """Read texts and pictures of different lengths, which lie in heaps that have no checks."""
        if properties.get_nfilters():
            importlib.import_module("hdf5plugin")
        values = h5py.Dataset(array)
        for start in range(0, len(values), _ROWS):
            self._touch(key)
            try:
                values[start : start + _ROWS]
            except _DAMAGE:
                continue

    def _chunks(self, array: h5py.h5d.DatasetID, properties: h5py.h5p.PropDCID) -> None:
        """Go through the index of chunks. Compressed ones have to become as many bytes as HDF5 takes for granted.

        Raises:
            Unsafe: one does not.
        """
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        if not array.get_num_chunks() or not filters:
            return
        size = array.get_type().get_size() * math.prod(properties.get_chunk())
        if filters[-1] == h5py.h5z.FILTER_DEFLATE:
            # The first says it for all: a damaged chunk has another checksum, and a damaged header concerns all.
            size += 4 * filters.count(h5py.h5z.FILTER_FLETCHER32)
            mask, packed = array.read_direct_chunk(array.get_chunk_info(0).chunk_offset)
            found = size if mask else _inflated(packed, size + 1)
            if found != size:
                raise Unsafe(f"has a chunk of {found} bytes, expected {size}")
        elif filters[-1] == _BLOSC:
            with open(self._path, "rb") as file:
                array.chunk_iter(lambda chunk: _check_blosc(file.fileno(), chunk, size))


def _check_blosc(file: int, chunk: h5py.h5d.StoreInfo, size: int) -> None:
    """Raise Unsafe where a chunk's header claims another size than ``size``, or more than was stored."""
    head = os.pread(file, 16, chunk.byte_offset)
    if chunk.filter_mask or len(head) < 16:
        return
    plain, packed = struct.unpack("<4x I 4x I", head)
    if plain != size or packed > chunk.size:
        raise Unsafe(f"has a chunk of {plain} bytes, expected {size}")


def _go_on() -> None:
    """Let `PATIENCE` begin anew."""
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)


def _each_once(iterate: Callable) -> list[bytes]:
    """The names that ``iterate`` calls a function with.

    Raises:
        Unsafe: a name comes again: a damaged index leads round in a circle.
    """
    names: dict[bytes, None] = {}

    def found(name: bytes) -> None:
        if name in names:
            raise Unsafe("has an index that leads round in a circle")
        names[name] = None

    iterate(found)
    return list(names)


def _inflated(packed: bytes, most: int) -> int:
    """To how many bytes gzip's stream unpacks; ``most`` - 1 where it is damaged, which HDF5 notices."""
    try:
        return len(zlib.decompressobj().decompress(packed, most))
    except zlib.error:
        return most - 1


def main(notes: int) -> None:
    """Answer requests until there are no more, or none for a while."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most), most))
    while select.select([sys.stdin], [], [], _IDLE)[0]:
        line = sys.stdin.buffer.raw.readline()  # unbuffered, as select does not see what lies in a buffer
        if not line:
            return
        request = json.loads(line)
        walk = Walk(request["path"], request["avoid"], notes)
        walk.run()
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(walk.unsafe) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
