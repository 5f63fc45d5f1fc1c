"""Damaged HDF5 files that would crash this process, or never end, are found out in another process first.

The HDF5 library trusts what it reads: some damage makes it read beyond its memory, or walk in a circle, and no
exception says so. `hdf5_walk` touches everything in a file that may be touched here; keys that it dies of are never
touched here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from jepa_robot.errors import DataError

PATIENCE = 3.0  # seconds of processor time for one key
IDLE = 5.0  # seconds without a question after which the other process ends
_MOST = 4  # keys of one file that kill: with more, nothing of it is read
_MEND = "copy the file again"


class KnownFile(NamedTuple):
    """A file as it was when it was looked through."""

    device: int
    inode: int
    size: int
    changed: int  # nanoseconds


def unsafe_keys(path: Path) -> dict[str, str]:
    """Keys of an HDF5 file that must not be touched, and what is wrong with each; ``""`` is the file itself.

    The file is looked through once; until it changes, this process remembers what was found.

    Raises:
        DataError: the process that looks through it cannot run.
    """
    return _of_process(os.getpid()).unsafe_keys(path)


def require_safe(path: Path, *keys: str) -> None:
    """
    Raises:
        DataError: the file itself or one of the keys must not be touched.
    """
    unsafe = unsafe_keys(path)
    for key in ("", *keys):
        if key in unsafe:
            raise refuse(path, key, unsafe[key])


def expect(path: Path) -> None:
    """Have a file looked through while this process does something else, so that `unsafe_keys` need not wait.

    Links, and what is no regular file, are left alone.
    """
    _of_process(os.getpid()).expect(path)


def known_files() -> dict[KnownFile, dict[str, str]]:
    """What this process knows, for `remember` in another."""
    return dict(_of_process(os.getpid()).known)


def remember(known: dict[KnownFile, dict[str, str]]) -> None:
    """Do not look through files again that another process has looked through."""
    _of_process(os.getpid()).known.update(known)


def refuse(path: Path, key: str, what: str) -> DataError:
    """The error for a key that must not be touched."""
    return DataError(f"cannot be read: damaged, it {what}", where=f"{path}:{key}" if key else path, mend=_MEND)


@functools.cache
def _of_process(pid: int) -> _Guard:
    """One for each process: a forked one must not speak to its parent's walker."""
    return _Guard()


class _Guard:
    """Asks the walker, which is started when it is needed and ends when it is not for some seconds."""

    def __init__(self) -> None:
        self.known: dict[KnownFile, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._walker: _Walker | None = None
        # What the walker has not answered yet, in order, with the keys that were found to be unsafe before.
        self._asked: dict[KnownFile, tuple[Path, dict[str, str]]] = {}

    def unsafe_keys(self, path: Path) -> dict[str, str]:
        file = _state(path.stat())
        with self._speaking():
            if file not in self.known and file not in self._asked:
                self._ask(file, path, {})
            while file not in self.known:
                self._listen()
            return self.known[file]

    def expect(self, path: Path) -> None:
        try:
            found = path.lstat()
        except OSError:
            return
        file = _state(found)
        with self._speaking():
            if stat.S_ISREG(found.st_mode) and file not in self.known and file not in self._asked:
                self._ask(file, path, {})

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except BaseException:  # its answers would be taken for those to other questions
                self._walker, self._asked = None, {}
                raise

    def _ask(self, file: KnownFile, path: Path, unsafe: dict[str, str]) -> None:
        self._walker = self._walker or _Walker()
        self._walker.ask(path, unsafe)
        self._asked[file] = path, unsafe

    def _listen(self) -> None:
        """Wait for one answer. Where the walker died instead, another one looks at all but the key that it died of."""
        answer = self._walker.answer()
        if answer is not None:
            file = next(iter(self._asked))
            self.known[file] = self._asked.pop(file)[1] | answer
            return
        death = self._walker.death()
        again, self._asked, self._walker = self._asked, {}, None
        for file, (path, unsafe) in again.items():
            unsafe, death = unsafe | death, {}  # the first one was looked at
            if "" in unsafe or len(unsafe) > _MOST:
                self.known[file] = {"": unsafe.get("", f"is damaged in more than {_MOST} places")}
            else:
                self._ask(file, path, unsafe)


class _Walker:
    """The other process, and a file in which it notes what it touches."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("hdf5_walk.py")
        self._notes, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            # Not as a module: that would import the package. A session of its own: Ctrl-C is not meant for it.
            [sys.executable, "-P", str(program), str(self._notes.fileno()), str(PATIENCE), str(IDLE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True,
            pass_fds=[self._notes.fileno()], env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        weakref.finalize(self, _end, self._process, self._notes, self._errors)
        self._answers = 0

    def ask(self, path: Path, avoid: Iterable[str]) -> None:
        request = {"path": os.path.abspath(path), "avoid": list(avoid)}
        with contextlib.suppress(BrokenPipeError):  # it has ended: there will be no answer
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, str] | None:
        """What it found; None where it ended instead."""
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        self._answers += 1
        return json.loads(line)

    def death(self) -> dict[str, str]:
        """The key it died of, and how; nothing where it ended because it was not asked for a while.

        Raises:
            DataError: it never came so far as to look at anything.
        """
        code = self._process.wait()
        note = os.pread(self._notes.fileno(), 1 << 20, 0)
        if code == 0 and self._answers:
            return {}
        if code == 0 or not note:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise DataError(f"the process that looks through HDF5 files cannot run ({lines[-1]})", where=sys.executable)
        key = note[4 : 4 + int.from_bytes(note[:4], "little")].decode("utf-8", "surrogateescape")
        if code == -signal.SIGPROF:
            return {key: "makes the HDF5 library work without end"}
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {key: f"makes the HDF5 library crash ({name})"}


def _state(found: os.stat_result) -> KnownFile:
    return KnownFile(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _end(process: subprocess.Popen, *files: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for file in (process.stdin, process.stdout, *files):
        with contextlib.suppress(BrokenPipeError):  # a question that nobody read
            file.close()
