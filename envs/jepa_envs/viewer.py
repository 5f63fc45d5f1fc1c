"""MuJoCo's own window, to look at a simulation while keys drive it."""

from __future__ import annotations

import copy
import importlib
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from jepa_envs.gl import mujoco

# GLFW's numbers of the keys to which the window itself gives no meaning, or none that matters here.
KEYS: Mapping[int, str] = {
    262: "right", 263: "left", 265: "up", 264: "down", 266: "page up", 267: "page down", 268: "home", 269: "end",
    260: "insert", 261: "delete", 54: "6", 55: "7", 56: "8", 57: "9", 32: "space", 45: "-", 61: "=",
    257: "enter", 335: "enter", 259: "backspace",
}  # fmt: skip

NO_DISPLAY = (
    "no display to open a window on; set DISPLAY (for a machine far away: ssh -X) or WAYLAND_DISPLAY, "
    "or start it on a desktop"
)

_CLOSING_SECONDS = 5.0  # to wait at most


class Viewer:
    """A window with a copy of a scene: whatever is pulled or changed in it does not touch the simulation.

    Args:
        model, data: the simulation; `show` brings the window up to date with it.
        camera: where the window looks from at first.
        on_key: called, in a thread of the window's own, with the name of each key of `KEYS` that is pressed or held.

    Raises:
        RuntimeError: there is no display here, or no library to open a window with.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: mujoco.MjvCamera,
        on_key: Callable[[str], object],
    ):
        viewer = _library()
        self._source = data
        self._model = copy.copy(model)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_copyData(self._data, self._model, data)

        def pressed(key: int) -> None:
            if key in KEYS:
                on_key(KEYS[key])

        others = set(threading.enumerate())
        self._window = viewer.launch_passive(
            self._model, self._data, key_callback=pressed, show_left_ui=False, show_right_ui=False
        )
        self._threads = set(threading.enumerate()) - others
        with self._window.lock():
            for name in ("type", "fixedcamid", "lookat", "distance", "azimuth", "elevation"):
                setattr(self._window.cam, name, getattr(camera, name))
        self._window.sync()

    def show(self) -> None:
        """Show the simulation as it stands now."""
        with self._window.lock():
            mujoco.mj_copyData(self._data, self._model, self._source)
        self._window.sync()

    def is_open(self) -> bool:
        """Whether nobody has closed the window."""
        return bool(self._window.is_running())

    def close(self) -> None:
        """Close the window, and wait until it has given back its OpenGL: a process that ends before that crashes."""
        self._window.close()
        for thread in self._threads:
            thread.join(_CLOSING_SECONDS)


def _library() -> Any:
    """``mujoco.viewer``, if it can open a window: without a display it would wait for one forever."""
    try:
        glfw = importlib.import_module("glfw")
        viewer = importlib.import_module("mujoco.viewer")
    except (ImportError, RuntimeError, OSError) as error:
        raise RuntimeError(f"no library to open a window with ({error}): pip install glfw") from error
    with warnings.catch_warnings():  # what GLFW has to say is in the error
        warnings.simplefilter("ignore")
        if not glfw.init():
            raise RuntimeError(NO_DISPLAY)
    return viewer
