"""A file that changes only at commits, so that a killed writer never leaves a half-changed HDF5 file.

HDF5 changes its indices in place, and a process that dies between two such writes leaves a file
that nothing can open. Handed to ``h5py.File`` in place of a path, `JournaledFile` keeps every
change below the committed length in memory (new bytes behind it go straight to disk, where nothing
refers to them yet). `commit` writes the changed pages to ``FILE.journal``, then to the file, then
removes the journal; `recover` finishes a commit that was cut short.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
from pathlib import Path

from jepa_robot.errors import DataError

PAGE = 4096
_HEADER = struct.Struct("<8sQQ")  # magic, length of the file after the commit, number of pages
_MAGIC = b"JRJRNL01"


def journal_path(path: str | os.PathLike[str]) -> Path:
    """Where the journal of ``path`` lies while a commit is under way."""
    return Path(f"{os.fspath(path)}.journal")


def recover(path: str | os.PathLike[str]) -> None:
    """Finish a commit that was cut short, if there is one.

    Raises:
        DataError: another process is writing the file, or it may not be changed here.
    """
    if not journal_path(path).exists() or not os.path.exists(path):
        return
    try:
        JournaledFile(path).close()
    except PermissionError as error:
        raise DataError(
            "its last write was cut short and cannot be finished here",
            where=path,
            expected="a file that may be written",
            mend="open it once as a user who may write it",
        ) from error


class JournaledFile(io.RawIOBase):
    """Binary file with atomic commits and an exclusive lock (the one that HDF5 itself respects).

    After an error of the operating system (a full disk), `error` holds it and further writes are
    dropped, so that HDF5 can still close; the file then stays as the last commit left it.

    Args:
        path: an existing file.

    Raises:
        DataError: another process has the file open.
        OSError: it cannot be opened for writing.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__()
        self.error: OSError | None = None
        self._path = Path(path)
        self._journal = journal_path(path)
        self._fd = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._journal.exists():
                self._replay()
        except BlockingIOError as error:
            os.close(self._fd)
            raise DataError(
                "is open in another process", where=path, mend="wait until it is done, or choose another file"
            ) from error
        except BaseException:
            os.close(self._fd)
            raise
        self._position = 0
        self._pages: dict[int, bytearray] = {}
        self._dropping = False
        self._length = self._committed = os.fstat(self._fd).st_size

    # -- what h5py calls --------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        view = memoryview(buffer).cast("B")
        start, count = self._position, max(0, min(len(view), self._length - self._position))
        data = os.pread(self._fd, count, start)
        view[: len(data)] = data
        view[len(data) : count] = bytes(count - len(data))
        for number in range(start // PAGE, -(-(start + count) // PAGE)):
            page = self._pages.get(number)
            if page is not None:
                low, high = max(start, number * PAGE), min(start + count, (number + 1) * PAGE)
                view[low - start : high - start] = page[low - number * PAGE : high - number * PAGE]
        self._position += count
        return count

    def write(self, data: memoryview) -> int:
        view = memoryview(data).cast("B")
        if not self._dropping:
            try:
                self._store(view)
            except OSError as error:
                self.error = error
                self._dropping = True
        self._position += len(view)
        self._length = max(self._length, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._length = self._position if size is None else size
        return self._length

    # -- transactions -----------------------------------------------------------------------

    def commit(self) -> None:
        """Make everything written so far permanent, all of it or nothing.

        Raises:
            OSError: it could not be written; the file is as the last commit left it.
        """
        if self.error is not None:
            raise self.error
        if self._dropping or (not self._pages and self._length == self._committed):
            return
        temporary = self._journal.with_name(self._journal.name + ".tmp")
        try:
            os.fsync(self._fd)
            with open(temporary, "wb") as file:
                file.write(_HEADER.pack(_MAGIC, self._length, len(self._pages)))
                for number, page in self._pages.items():
                    file.write(struct.pack("<Q", number))
                    file.write(page)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._journal)
            self._sync_folder()  # on disk before the file changes, also when the power fails
            self._replay()
        except OSError as error:
            temporary.unlink(missing_ok=True)
            self.error = error
            self._dropping = True
            raise
        self._pages.clear()
        self._committed = self._length

    def rollback(self) -> None:
        """Forget everything since the last commit; what is written from now on is dropped."""
        self._dropping = True

    def close(self) -> None:
        """Close without a commit."""
        if self.closed:
            return
        try:
            # After a journal was put in place but not applied, the file is left for `recover`.
            if not self._journal.exists() and os.fstat(self._fd).st_size > self._committed:
                os.ftruncate(self._fd, self._committed)
        finally:
            os.close(self._fd)
            super().close()

    # -- internals --------------------------------------------------------------------------

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _store(self, view: memoryview) -> None:
        start, end = self._position, self._position + len(view)
        boundary = -(-self._committed // PAGE) * PAGE
        while start < min(end, boundary):
            number, offset = divmod(start, PAGE)
            page = self._pages.get(number)
            if page is None:
                old = os.pread(self._fd, PAGE, number * PAGE)
                page = self._pages[number] = bytearray(old + bytes(PAGE - len(old)))
            count = min(end - start, PAGE - offset)
            page[offset : offset + count] = view[start - self._position : start - self._position + count]
            start += count
        while start < end:
            start += os.pwrite(self._fd, view[start - self._position :], start)

    def _replay(self) -> None:
        with open(self._journal, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            magic, length, count = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size))
            if magic != _MAGIC or size != _HEADER.size + count * (8 + PAGE):
                raise DataError(
                    "is not a journal, or not all of one", where=self._journal,
                    mend="save what can be read with `jepa-robot data repair`",
                )
            for _ in range(count):
                (number,) = struct.unpack("<Q", file.read(8))
                os.pwrite(self._fd, file.read(PAGE), number * PAGE)
        os.ftruncate(self._fd, length)
        os.fsync(self._fd)
        self._journal.unlink()
