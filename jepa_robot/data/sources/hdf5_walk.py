"""A program of its own that touches all of an HDF5 file's structure, so that a damaged one crashes here and nowhere else.

It is run by `hdf5_guard`, reads one request a line (JSON: the file's path, and keys to leave out) and answers each
with a line. Before it touches a key it writes its name into a file that outlives it; and when touching one takes
seconds of processor time (waiting for a disc does not count), the kernel ends it. It imports nothing of the
package, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterable, Iterator

import h5py

_MEMORY = 8  # GiB of address space
_PER_ENTRY = 1e-5  # seconds of processor time that an entry of an index may take; it takes a fifth of that
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
        patience: seconds of processor time for one key.

    Attributes:
        unsafe: what is wrong with keys, where it was found out without dying of it.
    """

    def __init__(self, path: str, avoid: Iterable[str], notes: int, patience: float):
        self._path, self._avoid, self._notes, self._patience = path, set(avoid), notes, patience
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
            self.unsafe[key] = f"needs more than {_MEMORY} GiB of memory to be read"
        except _DAMAGE:
            return

    def _touch(self, key: str) -> None:
        note = key.encode("utf-8", "surrogateescape")
        os.pwrite(self._notes, len(note).to_bytes(4, "little") + note, 0)
        self._go_on()

    def _go_on(self, entries: int = 0) -> None:
        """Be patient anew, and more so for an index of many entries."""
        signal.setitimer(signal.ITIMER_PROF, self._patience + entries * _PER_ENTRY)

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
        with _index():
            names = _each_once(group.links.iterate)
        for name in names:
            child = f"{key}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/")
            if child in self._avoid:
                continue
            self._go_on()
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
        entries = math.prod(-(-rows // chunk) for rows, chunk in zip(array.shape, properties.get_chunk()))
        self._go_on(min(entries, os.path.getsize(self._path) // 8))
        filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
        with _index():
            count = array.get_num_chunks()
        if not count or not filters or array.dtype.hasobject:
            return  # objects are of another size in the file; they are all read anyway
        size = array.get_type().get_size() * math.prod(properties.get_chunk())
        checksum = 4 * (h5py.h5z.FILTER_FLETCHER32 in [number for number, *_ in filters])
        last, _, parameters, _ = filters[-1]
        if last == h5py.h5z.FILTER_LZF and len(parameters) > 2:
            _require_size(parameters[2] or size, size)

        def check(chunk: h5py.h5d.StoreInfo) -> None:
            if chunk.filter_mask >> len(filters) - 1:  # stored without the last filter
                _require_size(chunk.size, size, size + checksum)
            elif last == _BLOSC:
                head = os.pread(file.fileno(), 16, chunk.byte_offset)
                if len(head) == 16:
                    plain, packed = struct.unpack("<4x I 4x I", head)
                    _require_size(plain if packed <= chunk.size else packed, size)

        with open(self._path, "rb") as file, _index():
            array.chunk_iter(check)
        first = array.get_chunk_info(0)
        if last == h5py.h5z.FILTER_DEFLATE and not first.filter_mask:
            # It says it for all: a damaged chunk has another checksum, and a damaged header concerns all.
            packed = array.read_direct_chunk(first.chunk_offset)[1]
            with contextlib.suppress(zlib.error):  # HDF5 notices that, too
                _require_size(len(zlib.decompressobj().decompress(packed, size + checksum + 1)), size + checksum)


@contextlib.contextmanager
def _index() -> Iterator[None]:
    """What an index that cannot be gone through leads to was not looked at, and may be found in other ways.

    Raises:
        Unsafe: it cannot.
    """
    try:
        yield
    except _DAMAGE as error:
        raise Unsafe(f"has an index that leads nowhere ({error})") from error


def _require_size(found: int, *expected: int) -> None:
    if found not in expected:
        raise Unsafe(f"has a chunk of {found} bytes, expected {expected[0]}")


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


def main(notes: int, patience: float, idle: float) -> None:
    """Answer requests until there are no more, or none for ``idle`` seconds."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = _MEMORY * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (memory if most == resource.RLIM_INFINITY else min(memory, most), most))
    while select.select([sys.stdin], [], [], idle)[0]:
        line = sys.stdin.buffer.raw.readline()  # unbuffered, as select does not see what lies in a buffer
        if not line:
            return
        request = json.loads(line)
        walk = Walk(request["path"], request["avoid"], notes, patience)
        walk.run()
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(walk.unsafe) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
