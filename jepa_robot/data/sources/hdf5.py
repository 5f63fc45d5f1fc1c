"""Reading HDF5 files that others wrote: nothing leads out of the file, and every failure names file and key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers Blosc and other filters with HDF5)
import numpy as np

from jepa_robot.data.sources.fields import Field
from jepa_robot.data.sources.hdf5_guard import refuse, unsafe_keys
from jepa_robot.errors import DataError

# What h5py raises for damaged files, depending on where the damage lies.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError, OverflowError)
_MOST_SOFT_LINKS = 16
_REPACK = "copy everything into one file"


class Hdf5File:
    """An HDF5 file, opened for reading.

    Links are followed here, one name at a time, because HDF5 itself opens whatever file an external link names.
    Keys are paths from the root, e.g. ``"data/demo_0/actions"``. What the HDF5 library would crash over is not touched
    (`hdf5_guard`).

    Args:
        path: the file.
        expected: what it should be, for messages.

    Raises:
        DataError: missing, empty, truncated, damaged, not HDF5, or may not be read.
    """

    def __init__(self, path: Path, expected: str):
        self.path = path
        if not path.exists():
            raise DataError("no such file", where=path, expected=expected)
        if not path.is_file():
            raise DataError("is a folder" if path.is_dir() else "is not a regular file", where=path, expected=expected)
        if path.stat().st_size == 0:
            raise DataError("is empty (0 bytes)", where=path, expected=expected, mend="copy the file again")
        self._unsafe = unsafe_keys(path)
        if "" in self._unsafe:
            raise refuse(path, "", self._unsafe[""])
        try:
            self._h5 = h5py.File(path, "r")
        except PermissionError as error:
            raise DataError("may not be read", where=path, mend="change its permissions") from error
        except _DAMAGE as error:
            text = str(error)
            if "unable to lock" in text or "already open" in text:
                what = "is being written by another process"
                raise DataError(what, where=path, mend="wait until it is done") from error
            if "signature not found" in text:
                raise DataError("is not an HDF5 file", where=path, expected=expected) from error
            raise _damaged(path, error) from error
        # What was looked up lately. Few arrays: each may hold some megabytes of decompressed chunks.
        self._group = lru_cache(256)(self._find_group)
        self._array = lru_cache(8)(self._find_array)

    def close(self) -> None:
        self._h5.close()

    def where(self, key: str) -> str:
        return f"{self.path}:{key}"

    def has(self, key: str) -> bool:
        """Whether there is a group or an array ``key``.

        Raises:
            DataError: the way there leads out of the file.
        """
        return self._find(key) is not None

    def names(self, key: str) -> list[str]:
        """What a group holds, sorted; nothing of it is opened.

        Raises:
            DataError: missing, not a group, or names in it are no text.
        """
        group = self._find(key)
        if not isinstance(group, h5py.Group):
            what = "is missing" if group is None else "is an array"
            raise DataError(what, where=self.where(key), expected="a group")
        with self.reading(key):
            names = list(group)
        strange = [name for name in names if isinstance(name, bytes)]
        if strange:
            raise DataError(f"holds {strange[0]!r}, which is not UTF-8", where=self.where(key), mend="copy the file again")
        return sorted(names)

    def attributes(self, key: str) -> dict[str, Any]:
        """All attributes of a group or an array; texts are str.

        Raises:
            DataError: missing, or one of them cannot be read.
        """
        node = self._find(key)
        if node is None:
            raise DataError("is missing", where=self.where(key))
        with self.reading(key):
            return {k: v.decode("utf-8", "replace") if isinstance(v, bytes) else v for k, v in node.attrs.items()}

    def count(self, key: str, name: str, attributes: dict[str, Any]) -> int | None:
        """An attribute that counts something; None where it is missing.

        Raises:
            DataError: it is not a whole number of at least 0.
        """
        value = attributes.get(name)
        if value is None:
            return None
        if np.ndim(value) != 0 or not isinstance(value, (int, np.integer)) or value < 0:
            what = f"attribute {name} is {value!r}"
            raise DataError(what, where=self.where(key), expected="a whole number, 0 or more")
        return int(value)

    def array(self, key: str) -> h5py.Dataset:
        """An array of at least one axis, whose values all lie in this file and can be decompressed here.

        Raises:
            DataError: missing, a group, a scalar, stored in other files, or compressed with an unknown filter.
        """
        return self._array(key)

    def rows(self, key: str, start: int, stop: int, total: int, field: Field) -> np.ndarray:
        """Rows ``start`` to ``stop`` (excluded) of an array that has to have ``total`` rows like ``field``.

        Raises:
            DataError: another type or shape, or damaged.
        """
        array = self.array(key)
        with self.reading(key):
            found = Field(array.shape, array.dtype)
            if found == Field((total, *field.shape), field.dtype):
                return array[start:stop]
        raise DataError(f"is {found}", where=self.where(key), expected=Field((total, *field.shape), field.dtype))

    def numbers(self, key: str, start: int, stop: int, total: int, field: Field) -> np.ndarray:
        """Like `rows`, for numbers of any type, as float32 [n, d]; one number a row is one column.

        Raises:
            DataError: not numbers, another shape, or damaged.
        """
        with self.reading(key):
            dtype = self.array(key).dtype
        if dtype.kind not in "fiub":
            raise DataError(f"holds {dtype}", where=self.where(key), expected="numbers")
        values = self.rows(key, start, stop, total, Field(field.shape, dtype))
        with np.errstate(over="ignore"):  # a number beyond float32 becomes inf, which the checks of values find
            return values.astype(np.float32).reshape(len(values), field.width)

    @contextlib.contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Turn what h5py raises for a damaged file into a DataError that names ``key``."""
        try:
            yield
        except _DAMAGE as error:
            raise _damaged(self.where(key), error) from error

    # -- internals --------------------------------------------------------------------------

    def _find_array(self, key: str) -> h5py.Dataset:
        array = self._find(key)
        if not isinstance(array, h5py.Dataset):
            what = "is missing" if array is None else "is a group"
            raise DataError(what, where=self.where(key), expected="an array")
        with self.reading(key):
            properties = array.id.get_create_plist()
            virtual = properties.get_layout() == h5py.h5d.VIRTUAL
            outside = [source.file_name for source in array.virtual_sources()] if virtual else []
            outside += [name for name, _, _ in array.external or ()]
            filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
            missing = [name.decode() or number for number, _, _, name in filters if not h5py.h5z.filter_avail(number)]
        if virtual or outside:  # not asked for its shape before: that already opens the sources of a virtual array
            raise DataError(
                f"has its values somewhere else ({outside[0] if outside else 'a virtual array'!r})",
                where=self.where(key), expected="an array with its own values", mend=_REPACK,
            )
        if missing:
            raise DataError(
                f"is compressed with a filter that is not installed ({missing[0]})", where=self.where(key),
                mend="compress it with another one, e.g. with h5repack",
            )
        with self.reading(key):
            single = array.shape in ((), None)
        if single:
            raise DataError("is a single value", where=self.where(key), expected="an array")
        return array

    def _find(self, key: str, soft_links: int = 0) -> h5py.Group | h5py.Dataset | None:
        """The group or array at ``key``; None where there is none. ``soft_links`` have led here."""
        if key in self._unsafe:
            raise refuse(self.path, key, self._unsafe[key])
        parent, _, name = key.rpartition("/")
        group = self._h5 if parent == "" else self._group(parent, soft_links)
        if name in ("", ".") or group is None:
            return group
        with self.reading(key):
            links, raw = group.id.links, name.encode()
            if not links.exists(raw):
                return None
            kind = links.get_info(raw).type
            if kind == h5py.h5l.TYPE_HARD:
                return group[name]
            target = links.get_val(raw)
        if kind == h5py.h5l.TYPE_SOFT:
            if soft_links == _MOST_SOFT_LINKS:
                raise DataError("its links lead round in a circle", where=self.where(key))
            path = target.decode("utf-8", "replace")
            path = path if path.startswith("/") else f"{parent}/{path}"
            return self._find(path.lstrip("/"), soft_links + 1)
        other = f" ({target[0].decode('utf-8', 'replace')!r})" if isinstance(target, tuple) else ""
        raise DataError(
            f"is a link to another file{other}", where=self.where(key), expected="everything in one file", mend=_REPACK
        )

    def _find_group(self, key: str, soft_links: int) -> h5py.Group | None:
        node = self._find(key, soft_links)
        return node if isinstance(node, h5py.Group) else None


def _damaged(where: object, error: BaseException) -> DataError:
    return DataError(
        f"cannot be read: truncated, damaged or still being written ({error})", where=where, mend="copy the file again"
    )
