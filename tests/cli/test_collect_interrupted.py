"""``jepa-robot collect`` that is interrupted, killed, or runs out of disk, and goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from collecting import options, shards
from episodes import read_all
from hdf5_contents import assert_same_file
from waiting import wait_until

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.errors import DataError

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "jepa_robot.cli.main", "collect", "--task", "panda_reach"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'envs'}"}


def start(path, *arguments, episodes=5000, limit=""):
    """The program in a process of its own, with a shell's resource limit."""
    command = ["bash", "-c", f'{limit} exec "$@"', "-", *PROGRAM, *options(path, episodes, steps=2)[2:], *arguments]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def each_has_recorded(path, workers):
    """Whether each worker has recorded some episodes."""
    written = [path] if workers == 1 else list(shards(path).glob("shard-*.h5"))
    return len(written) == workers and all(p.exists() and p.stat().st_size > 60_000 for p in written)


def each_has_permanent_episodes(path, workers):
    """Whether a copy of each worker's shard holds some."""
    copy, found = path.with_name("copy"), 0
    for shard in shards(path).glob("shard-*.h5"):
        with contextlib.suppress(OSError, DataError):  # copied in the middle of a commit
            found += len(episode_numbers(shutil.copy(shard, copy))) > 5
    copy.unlink(missing_ok=True)
    return found == workers


def episode_numbers(shard):
    with TrajectoryReader(shard, allow_empty=True) as reader:
        return {int(name.removeprefix("demo_")) for name in reader.names}


def all_can_be_read(path):
    """Whether no process holds the lock of a shard any more: one that ends closes its output before its files."""
    try:
        return bool([episode_numbers(shard) for shard in shards(path).glob("shard-*.h5")])
    except DataError:
        return False


def workers_of(process):
    """The processes that the program has made and that record: those that have drawn a picture."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, workers, number):
    """As in a terminal, Ctrl-C goes to the workers, too."""
    path = tmp_path / "new.h5"
    process = start(path, "--workers", str(workers))
    wait_until(lambda: each_has_recorded(path, workers))
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted" and "Traceback" not in err
    assert 0 < len(read_all(path)) < 5000
    assert [p.name for p in tmp_path.iterdir()] == ["new.h5"]


@pytest.mark.slow
@pytest.mark.parametrize("then", [1, 3])
def test_killed(tmp_path, call, then):
    """What was permanent in shards is taken over, by one process or by more, and not recorded again."""
    path, wanted = tmp_path / "new.h5", tmp_path / "wanted.h5"
    process = start(path, "--workers", "2")
    wait_until(lambda: each_has_permanent_episodes(path, 2))
    process.kill()
    process.communicate(timeout=60)  # ends when the workers do: they hold its output, too
    wait_until(lambda: all_can_be_read(path))
    held = set().union(*map(episode_numbers, shards(path).glob("shard-*.h5")))
    assert len(held) > 10
    target = max(held) + 5
    _, out, err = call("collect", *options(path, target, steps=2), "--workers", then, "--json")
    assert json.loads(out)["new_episodes"] == target - len(held) and json.loads(out)["waiting"] == 0
    # The first line is of the first episode that was not there.
    assert int(err.split("/")[0]) >= len(held)
    assert call("collect", *options(wanted, target, steps=2))[0] == 0
    assert_same_file(path, wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.h5", "wanted.h5"]


@pytest.mark.slow
def test_a_worker_is_killed(tmp_path, call):
    """The others finish, what is complete is joined, and what comes after the missing episode waits."""
    path, wanted = tmp_path / "new.h5", tmp_path / "wanted.h5"
    process = start(path, "--workers", "2")
    wait_until(lambda: each_has_permanent_episodes(path, 2))
    os.kill(workers_of(process)[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "a worker process died; perhaps out of memory: run the same command again with fewer workers" in err
    assert "Traceback" not in err
    with TrajectoryReader(path, allow_empty=True) as reader:
        joined = len(reader)
    # On a busy machine one worker may be far ahead of the other.
    all_of_it = max(joined + 40, *(1 + max(episode_numbers(shard)) for shard in shards(path).glob("shard-*.h5")))
    code, out, _ = call("collect", *options(path, joined + 1, steps=2))
    assert code == 0 and "later episodes wait in shards: run again with more --episodes" in out
    code, out, err = call("collect", *options(path, all_of_it, steps=2), "--workers", 2)
    assert code == 0 and "wait" not in out
    assert call("collect", *options(wanted, all_of_it, steps=2))[0] == 0
    assert_same_file(path, wanted)
    assert not shards(path).exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk(tmp_path, workers):
    """A limit on the size of files stands in for it. What was recorded can be read, joined or still in shards."""
    path = tmp_path / "new.h5"
    process = start(path, "--workers", str(workers), limit="ulimit -f 200;")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert ".h5: cannot be written (File too large)" in err.splitlines()[-1] and "Traceback" not in err
    files = [path] if path.exists() else list(shards(path).glob("shard-*.h5"))
    assert files
    for file in files:
        with TrajectoryReader(file, allow_empty=True) as reader:
            for i in range(len(reader)):
                reader.read(i)
