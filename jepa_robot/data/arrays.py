"""Finding and reading the arrays of an HDF5 file quickly, without following its links.

h5py's usual interface takes about a millisecond to open the arrays of an episode, as long as it takes to read
a window of pictures; its low-level one takes a quarter of that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import h5py
import numpy as np

from jepa_robot.data.pictures import StoredPictures
from jepa_robot.errors import DataError

_FIXED = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.STRING)
_GROUPS = 64  # kept open: those of the few episodes that are read at the same time


class StoredArrays:
    """The arrays under one group, by their paths from there.

    Args:
        root: of a file that stays open as long as this is used.
    """

    def __init__(self, root: h5py.Group):
        self._root = root
        below = root.name.strip("/")
        self._where = f"{root.file.filename}:{below}/" if below else f"{root.file.filename}:"
        # Behind a user block everything lies further back than HDF5 says.
        self._direct = root.file.driver == "sec2" and root.file.userblock_size == 0
        self._descriptor = root.file.id.get_vfd_handle() if self._direct else -1
        self._group = lru_cache(_GROUPS)(self._find_group)

    def names(self, key: str) -> list[str]:
        """What the group at ``key`` holds; nothing where there is none. Raises as `find` does."""
        group = self._group(key)
        return [] if group is None else list(h5py.Group(group))

    def find(self, key: str) -> h5py.h5d.DatasetID | None:
        """The array at ``key``; None where there is none.

        Raises:
            DataError: something on the way is a link.
            OSError, RuntimeError, ValueError, KeyError: h5py's, where the file is damaged.
        """
        above, _, name = key.rpartition("/")
        array = self._member(self._group(above), name, key)
        return array if isinstance(array, h5py.h5d.DatasetID) else None

    def read(self, key: str, rows: slice | tuple[()] = ()) -> np.ndarray | None:
        """``rows`` of the array at ``key``, or all of it; None where there is none.

        Raises as `find` does, and DataError where the values lie in another file.
        """
        array = self.find(key)
        if array is None:
            return None
        layout = self._require_inside(array, key)
        if rows == () and layout == h5py.h5d.CONTIGUOUS and self._direct:
            offset, kind = array.get_offset(), array.dtype
            if offset is not None and kind.kind in "iuf":  # its bytes in the file are its values
                values = np.empty(array.shape, kind)
                if values.nbytes != array.get_storage_size():
                    raise OSError(f"an array of {values.nbytes} bytes has {array.get_storage_size()}")
                if os.preadv(self._descriptor, [values.reshape(-1).view(np.uint8)], offset) != values.nbytes:
                    raise OSError("the file ends inside of an array")
                return values
        return h5py.Dataset(array)[rows]

    def attributes(self, key: str, wanted: Sequence[str] | None = None) -> dict[str, Any]:
        """Those of the group at ``key`` that are numbers or texts of fixed length; only the ``wanted`` ones if given.

        Texts of variable length lie in a heap of the file, and from some damaged heaps the HDF5 library never comes
        back. Raises as `find` does, and KeyError where there is no such group.
        """
        group = self._group(key)
        if group is None:
            raise KeyError(f"there is no group {key}")
        if wanted is None:
            opened = [h5py.h5a.open(group, index=i) for i in range(h5py.h5a.get_num_attrs(group))]
        else:
            encoded = [name.encode() for name in wanted]
            opened = [h5py.h5a.open(group, name) for name in encoded if h5py.h5a.exists(group, name)]
        found: dict[str, Any] = {}
        for attribute in opened:
            kind = attribute.get_type()
            fixed = kind.get_class() in _FIXED and not (
                isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
            )
            if fixed and attribute.shape is not None:  # None: no value at all
                value = np.empty(attribute.shape, attribute.dtype)
                attribute.read(value)
                found[attribute.name.decode("utf-8", "replace")] = value[()]
        return found

    def pictures(self, key: str) -> StoredPictures | None:
        """The pictures at ``key``, where they can be read past the HDF5 library. Raises as `read` does."""
        array = self.find(key)
        if array is None or not self._direct or self._require_inside(array, key) != h5py.h5d.CHUNKED:
            return None
        return StoredPictures(array, self._descriptor) if StoredPictures.readable(array) else None

    def _require_inside(self, array: h5py.h5d.DatasetID, key: str) -> int:
        """The array's kind of layout; HDF5 itself opens whatever file an array names."""
        stored = array.get_create_plist()
        layout = stored.get_layout()
        if layout == h5py.h5d.VIRTUAL or stored.get_external_count():
            raise DataError("has its values in another file", where=f"{self._where}{key}", expected="its own values")
        return layout

    def _find_group(self, key: str) -> h5py.h5g.GroupID | None:
        if not key:
            return self._root.id
        above, _, name = key.rpartition("/")
        group = self._member(self._group(above), name, key)
        return group if isinstance(group, h5py.h5g.GroupID) else None

    def _member(self, group: h5py.h5g.GroupID | None, name: str, key: str) -> h5py.h5g.ObjectID | None:
        encoded = name.encode()
        links = None if group is None else group.links
        if links is None or not links.exists(encoded):
            return None
        if links.get_info(encoded).type != h5py.h5l.TYPE_HARD:
            raise DataError("is a link", where=f"{self._where}{key}", expected="an array or a group of its own")
        return h5py.h5o.open(group, encoded)
