"""What the tasks of other packages need, said in words when it is missing."""

from __future__ import annotations

import contextlib
import importlib
import io
from types import ModuleType

from jepa_envs.gl import mujoco


def require(extra: str, module: str, mujoco_before: str | None = None) -> ModuleType:
    """Import a module of the package that an extra brings.

    Args:
        extra: of this distribution.
        module: its name.
        mujoco_before: the first version of MuJoCo with which it does not work any more, as ``major.minor``.

    Raises:
        ImportError: it is not installed, or MuJoCo is too new for it; names the extra and the command.
    """
    mend = f"install the extra, in an environment of its own: pip install 'jepa-robot[{extra}]'"
    package = module.partition(".")[0]
    if mujoco_before is not None and _version(mujoco.__version__) >= _version(mujoco_before):
        raise ImportError(
            f"{package} does not work with MuJoCo {mujoco.__version__}, expected one before {mujoco_before}; {mend}"
        )
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # packages announce changes of tasks that are none of ours
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(f"{package} is not installed; {mend}") from error


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
