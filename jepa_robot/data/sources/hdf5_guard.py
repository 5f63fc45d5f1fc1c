"""Damaged HDF5 files that would crash this process, or never end, are found out in another process first.

The HDF5 library trusts what it reads: some damage makes it read beyond its memory, or walk in a circle, and no
exception says so. `hdf5_walk` touches everything in a file that may be touched here; keys that it dies of are never
touched here.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jepa_robot.errors import DataError

_MOST = 8  # keys of one file that kill: with more, nothing of it is read
_MEND = "copy the file again"


class KnownFile(NamedTuple):
    """A file as it was when it was looked through."""

    path: str
    size: int
    changed: int  # nanoseconds


def unsafe_keys(path: Path) -> dict[str, str]:
    """Keys of an HDF5 file that must not be touched, and what is wrong with each; ``""`` is the file itself.

    The file is looked through once; until it changes, this process remembers what was found.

    Raises:
        DataError: the process that looks through it cannot be started.
    """
    return _of_process(os.getpid()).unsafe_keys(path)


def known_files() -> dict[KnownFile, dict[str, str]]:
    """What this process knows, for `remember` in another."""
    return dict(_of_process(os.getpid()).known)


def remember(known: dict[KnownFile, dict[str, str]]) -> None:
    """Do not look through files again that another process has looked through."""
    _of_process(os.getpid()).known.update(known)


def refuse(path: Path, key: str, what: str) -> DataError:
    """The error for a key that must not be touched."""
    return DataError(f"is damaged: it {what}", where=f"{path}:{key}" if key else path, mend=_MEND)


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

    def unsafe_keys(self, path: Path) -> dict[str, str]:
        state = path.stat()
        file = KnownFile(str(path.resolve()), state.st_size, state.st_mtime_ns)
        with self._lock:
            if file not in self.known:
                self.known[file] = self._look_through(file.path)
            return self.known[file]

    def _look_through(self, path: str) -> dict[str, str]:
        unsafe: dict[str, str] = {}
        while len(unsafe) <= _MOST and "" not in unsafe:
            walker, self._walker = self._walker or _Walker(), None
            answer = walker.ask(path, unsafe)
            if answer is None:
                unsafe |= walker.death()
                continue
            self._walker = walker  # only one that has answered is asked again
            return unsafe | answer
        return unsafe if "" in unsafe else {"": f"is damaged in more than {_MOST} places"}


class _Walker:
    """The other process, and a file in which it notes what it touches."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("hdf5_walk.py")
        self._notes, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        process = self._process = subprocess.Popen(
            # Not as a module: that would import the package. A session of its own: Ctrl-C is not meant for it.
            [sys.executable, "-P", str(program), str(self._notes.fileno())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True,
            pass_fds=[self._notes.fileno()], env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        weakref.finalize(self, _end, process)
        self._asked = 0

    def ask(self, path: str, avoid: Iterable[str]) -> dict[str, str] | None:
        """What it found; None where it ended instead."""
        self._asked += 1
        os.ftruncate(self._notes.fileno(), 0)
        try:
            self._process.stdin.write(json.dumps({"path": path, "avoid": list(avoid)}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        answer = self._process.stdout.readline()
        return json.loads(answer) if answer.endswith(b"\n") else None

    def death(self) -> dict[str, str]:
        """The key it died of, and how; nothing where it had ended before it was asked.

        Raises:
            DataError: it never came so far as to look at anything.
        """
        code = self._process.wait()
        note = os.pread(self._notes.fileno(), 1 << 20, 0)
        if not note:
            if code == 0 and self._asked > 1:
                return {}
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise DataError(f"the process that looks through HDF5 files cannot run ({lines[-1]})", where=sys.executable)
        key = note[4 : 4 + int.from_bytes(note[:4], "little")].decode("utf-8", "surrogateescape")
        if code == -signal.SIGPROF:
            return {key: "makes the HDF5 library work without end"}
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {key: f"makes the HDF5 library crash ({name})"}


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.stdin.close()
    process.stdout.close()
    process.wait()
