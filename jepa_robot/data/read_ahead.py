"""Reading the next episodes of a source in a second process, while this one works on the last.

A process and not a thread: HDF5 does one thing at a time in a process, so that reading one file would wait for
writing another. Pictures come through shared memory, as a pipe would cost as much as writing them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from jepa_robot.data.format import Episode
from jepa_robot.data.source import Source, SourceOptions
from jepa_robot.data.sources import open_source
from jepa_robot.data.sources.hdf5_guard import KnownFile, known_files, remember
from jepa_robot.errors import DataError

_POLL_SECONDS = 0.2
_END_SECONDS = 5.0
# One episode is worked on while the next ones lie ready.
_SLOTS = 2

Read = tuple[int, Episode | DataError]


def read_checked(source: Source, index: int) -> Episode:
    """A whole episode whose values fit the source's contract.

    Raises:
        DataError: cannot be decoded, or has values outside the contract.
    """
    episode = source.read(index)
    episode.check(source.contract, source.where(index))
    return episode


def read_here(source: Source, indices: Iterable[int]) -> Iterator[Read | None]:
    """The same as `read_ahead` without a second process."""
    for index in indices:
        try:
            yield index, read_checked(source, index)
        except DataError as error:
            yield index, error


def read_ahead(
    path: Path, format: str, options: SourceOptions, indices: range, largest: int
) -> Iterator[Read | None]:
    """(index, episode, or what is wrong with it) in order; None whenever the next is not there yet.

    The pictures of an episode are valid until the next one is asked for. Close the generator to end the process. As
    always with processes, a script that calls this needs ``if __name__ == "__main__":``.

    Args:
        largest: bytes of the pictures of the longest episode.

    Raises:
        DataError: the process died, or the source cannot be opened a second time.
    """
    context = multiprocessing.get_context("spawn")
    slots = [context.RawArray("B", largest) for _ in range(_SLOTS)]
    results, theirs = context.Pipe(duplex=False)
    their_free, free = context.Pipe(duplex=False)
    process = context.Process(
        target=_read, args=(path, format, options, indices, slots, their_free, theirs, known_files()), daemon=True
    )
    # The child inherits the blocked signal: Ctrl-C in a terminal reaches only this process.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    theirs.close()
    their_free.close()
    try:
        for slot in range(_SLOTS):
            free.send(slot)
        for _ in indices:
            while not results.poll(_POLL_SECONDS):
                yield None
            index, answer, slot, shape = results.recv()
            if slot is None:
                yield index, answer
                continue
            frames = np.frombuffer(slots[slot], np.uint8)[: np.prod(shape)].reshape(shape)
            yield index, dataclasses.replace(answer, frames=frames)
            with contextlib.suppress(ConnectionError):  # it has read the last episode, or died: then recv says so
                free.send(slot)
    except (EOFError, ConnectionError) as error:
        process.join()
        raise DataError(
            f"the process that reads it died (exit code {process.exitcode})",
            where=path,
            mend="perhaps out of memory: free some and run the same command again",
        ) from error
    finally:
        results.close()
        free.close()
        process.join(_END_SECONDS)  # it ends when it finds its pipes closed; killed, it would leave semaphores
        process.kill()
        process.join()


def _read(
    path: Path,
    format: str,
    options: SourceOptions,
    indices: range,
    slots: list[memoryview],
    free: Connection,
    results: Connection,
    known: dict[KnownFile, dict[str, str]],
) -> None:
    """In the other process: fill slots as they become free, until done or the parent is gone."""
    remember(known)
    try:
        with open_source(path, format, options) as source:
            for index, answer in read_here(source, indices):
                if isinstance(answer, DataError):
                    results.send((index, answer, None, None))
                    continue
                slot = free.recv()
                frames = answer.frames
                np.frombuffer(slots[slot], np.uint8)[: frames.size] = frames.ravel()
                results.send((index, dataclasses.replace(answer, frames=frames[:0]), slot, frames.shape))
            results.close()
    except (EOFError, ConnectionError):
        pass  # the parent has enough, or is gone: nobody is left to tell
