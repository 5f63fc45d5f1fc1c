"""Workers on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from jepa_robot.errors import ConfigError
from jepa_robot.evaluation.recipe import Recipe
from jepa_robot.evaluation.workers import ShardRecorder, died

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class RayWorkers:
    """Workers that are wanted on a Ray cluster.

    Attributes:
        count: how many; one for each CPU of the cluster where None.
    """

    count: int | None = None


@contextlib.contextmanager
def ray_cluster(workers: RayWorkers) -> Iterator[int]:
    """Be connected to the cluster of RAY_ADDRESS, or to one on this machine that lasts as long as the block.

    Yields:
        How many workers there are to be.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Ray is not installed", where="--workers ray", mend="install the extra: pip install 'jepa-robot[ray]'"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        try:
            _require_listening(os.environ.get("RAY_ADDRESS", ""))
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"there is no Ray cluster ({error})",
                where=f"RAY_ADDRESS={os.environ.get('RAY_ADDRESS', '')}",
                mend="start it with `ray start --head`, or unset RAY_ADDRESS to have one on this machine",
            ) from error
    try:
        yield workers.count or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if ours:
            ray.shutdown()


def _require_listening(address: str) -> None:
    """Check that somebody answers at ``HOST:PORT``: Ray itself goes on trying for minutes.

    Raises:
        OSError: nobody does.
    """
    if match := re.fullmatch(r"(?:ray://)?\[?([^/\]]+)\]?:(\d+)", address):
        socket.create_connection((match[1], int(match[2])), _CONNECT_SECONDS).close()


class RayPool:
    """Workers that are Ray actors, with a CPU each; a context manager, to be used inside of `ray_cluster`.

    Args:
        shards: the shard of each, in a folder that all machines of the cluster see under the same path.
    """

    def __init__(self, recipe: Recipe, shards: Sequence[Path], compression: str):
        import ray

        self._ray = ray
        self._shards = shards
        self.size = len(shards)
        actor = ray.remote(num_cpus=1)(ShardRecorder)
        self._actors = [actor.remote(recipe, shard, compression) for shard in shards]

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor)

    def record(self, worker: int, index: int) -> Future[None]:
        return self._actors[worker].record.remote(index).future()

    def close(self, worker: int) -> Future[None]:
        return self._actors[worker].close.remote().future()

    def result(self, future: Future[None]) -> None:
        try:
            future.result()
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayActorError as error:
            text = str(error).strip()
            if "creation task" not in text:
                raise died(self._shards[0].parent) from error
            raise ConfigError(
                f"a worker cannot start ({text.splitlines()[-1].strip()})",  # the rest is a traceback
                where="--workers ray",
                mend="install jepa-robot, of this version, on every machine of the cluster",
            ) from error
