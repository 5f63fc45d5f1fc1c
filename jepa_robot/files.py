"""Writing files so that a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jepa_robot.errors import OutputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; rename it there when the block succeeds.

    Raises:
        OutputError: the folder cannot be made, the disk is full, or writing is not permitted.
    """
    target = Path(path)
    with _output_errors(target, "path"), contextlib.ExitStack() as cleanup:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=f".tmp{target.suffix}")
        os.close(handle)
        temporary = Path(name)
        cleanup.callback(temporary.unlink, missing_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` to fill; rename it there when the block succeeds.

    ``path`` may be an empty folder; what is in a folder is never replaced.

    Raises:
        OutputError: there is something at ``path``, the disk is full, or writing is not permitted.
    """
    target = Path(path)
    require_free(target)
    with _output_errors(target, "folder"), contextlib.ExitStack() as cleanup:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=".tmp"))
        cleanup.callback(shutil.rmtree, temporary, ignore_errors=True)
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.rename(temporary, target)


@contextlib.contextmanager
def _output_errors(target: Path, kind: str) -> Iterator[None]:
    """What the operating system refuses in the block is one line about ``target``, a path or a folder."""
    try:
        yield
    except BrokenPipeError:
        raise  # of standard output, not of the target
    except OSError as error:
        reason = error.strerror or str(error)
        if files := [parent for parent in target.parents if parent.exists() and not parent.is_dir()]:
            reason = f"{files[0]} is a file, not a folder"
        raise OutputError(
            f"cannot be written ({reason})", where=target, mend=f"free space there or choose another output {kind}"
        ) from error


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        OutputError: it cannot be made, or is a file.
    """
    with _output_errors(Path(folder), "folder"):
        Path(folder).mkdir(parents=True, exist_ok=True)


def require_free(folder: str | os.PathLike[str]) -> None:
    """Check that results can go to a folder: it does not exist, or is empty.

    Raises:
        OutputError: it is a file, or has something in it.
    """
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()):
        raise OutputError("exists and is not empty", where=path, mend="choose another output folder, or remove it")
    if path.exists() and not path.is_dir():
        raise OutputError("exists and is not a folder", where=path, mend="choose another output folder")


def configs_folder() -> Path:
    """The configuration tree: in the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
