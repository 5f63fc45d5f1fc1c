"""Offscreen pictures of a MuJoCo scene, fast under software OpenGL."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_envs.gl import MISSING, mujoco

# What costs most under software OpenGL, and shows least in a small picture.
_OFF = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)


@dataclass(frozen=True)
class FreeCamera:
    """A camera that a model does not have itself.

    Attributes:
        lookat: the point (x, y, z) that it looks at, metres.
        distance: from there, metres.
        azimuth, elevation: direction in which it looks, degrees; elevation -90 looks straight down.
    """

    lookat: tuple[float, float, float]
    distance: float
    azimuth: float = 90.0
    elevation: float = -45.0


class Renderer:
    """Draws cameras of a model, and free ones, into uint8 [size, size, 3] RGB pictures.

    The OpenGL context is made with the first picture, in the process that draws it, so that a renderer may be made
    before a fork; it must be used from one thread.

    Args:
        model: the MuJoCo model; its offscreen buffer is given the picture's size.
        camera: name of the camera that `render` draws unless told otherwise.
        size: height and width in pixels.
        free: cameras by name that the model does not have.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, size: int, free: Mapping[str, FreeCamera] | None = None):
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        self._model = model
        self._size = size
        self._rect = mujoco.MjrRect(0, 0, size, size)
        self._views = {name: _free_view(settings) for name, settings in (free or {}).items()}
        self._views |= {model.camera(i).name: _fixed_view(i) for i in range(model.ncam)}
        self._default = camera
        self._option = mujoco.MjvOption()
        self._pixels = np.empty((size, size, 3), np.uint8)
        self._gl = self._context = self._scene = self._free = None

    def render(self, data: mujoco.MjData, camera: str | None = None) -> np.ndarray:
        """A new picture uint8 [size, size, 3] of ``data``, whose positions must be up to date.

        Args:
            data: of this renderer's model.
            camera: name of another camera to draw.

        Raises:
            RuntimeError: there is no OpenGL here; says which package to install.
        """
        if self._context is None:
            self._open()
        self._gl.make_current()
        view = self.view(self._default if camera is None else camera)
        # Older versions of MuJoCo keep the scale of textures that the model had when the context was made.
        self._context.mat_texrepeat[: 2 * self._model.nmat] = self._model.mat_texrepeat.ravel()
        mujoco.mjv_updateScene(self._model, data, self._option, None, view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()  # OpenGL's rows run from the bottom up

    def view(self, camera: str) -> mujoco.MjvCamera:
        """A camera by name, as MuJoCo's own renderer takes them."""
        return self._views[camera]

    def close(self) -> None:
        """Give the OpenGL context back; the next picture makes a new one."""
        if self._free is not None:
            self._free()
            atexit.unregister(self._free)
        self._gl = self._context = self._scene = self._free = None

    def _open(self) -> None:
        try:
            self._gl = _context_class()(self._size, self._size)
            self._gl.make_current()
            self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except Exception as error:  # every driver has errors of its own
            self._gl = self._context = None
            backend = os.environ.get("MUJOCO_GL", "")
            raise RuntimeError(f"MUJOCO_GL={backend} does not work ({error}): {MISSING}") from error
        self._free = weakref.finalize(self, _free, self._gl, self._context, os.getpid())
        # At exit, before MuJoCo closes the display: what was registered last is called first.
        atexit.register(self._free)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + self._model.nsite + 100)
        for flag in _OFF:
            self._scene.flags[flag] = False


def _fixed_view(camera: int) -> mujoco.MjvCamera:
    view = mujoco.MjvCamera()
    view.type = mujoco.mjtCamera.mjCAMERA_FIXED
    view.fixedcamid = camera
    return view


def _free_view(settings: FreeCamera) -> mujoco.MjvCamera:
    view = mujoco.MjvCamera()
    view.type = mujoco.mjtCamera.mjCAMERA_FREE
    view.lookat[:] = settings.lookat
    view.distance, view.azimuth, view.elevation = settings.distance, settings.azimuth, settings.elevation
    return view


def _free(gl: Any, context: mujoco.MjrContext, pid: int) -> None:
    """Free contexts, in the process that made them: after a fork they are the parent's."""
    if os.getpid() == pid:
        gl.make_current()
        context.free()
        gl.free()


def _context_class() -> type:
    """MuJoCo's context class for MUJOCO_GL, also when MuJoCo was imported before the variable was set."""
    backend = os.environ.get("MUJOCO_GL", "").lower()
    if backend == "egl":
        from mujoco.egl import GLContext
    elif backend == "osmesa":
        from mujoco.osmesa import GLContext
    else:
        from mujoco import GLContext
    return GLContext
