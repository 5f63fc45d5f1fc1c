"""MuJoCo, imported after choosing which OpenGL it draws with.

MuJoCo reads the choice when it is imported, so the other modules take it from here:
``from jepa_envs.gl import mujoco``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from pathlib import Path

MISSING = (
    "no OpenGL to draw pictures with; expected EGL or OSMesa; "
    "install it, on Debian or Ubuntu: apt-get install libegl1 libgl1 libgl1-mesa-dri "
    "(or libosmesa6, with MUJOCO_GL=osmesa)"
)


def choose_backend() -> None:
    """Set the environment variable MUJOCO_GL, where the user has not: EGL if it has a device, else OSMesa.

    Does not open a display, so that it is safe before a fork. Where neither library is found the variable says
    ``egl``, and the first picture, not this call, fails with `MISSING`. Only Linux needs the choice.

    Mesa's software driver is told to draw in the calling thread (LP_NUM_THREADS=0): small pictures are drawn faster
    than threads wake up, and workers that collect in parallel do not fight over the cores. The pixels are the same.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if platform.system() != "Linux" or os.environ.get("MUJOCO_GL"):
        return
    osmesa = not _egl_has_device() and _loads("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
    os.environ["MUJOCO_GL"] = "osmesa" if osmesa else "egl"


def load_triton() -> None:
    """Load Triton's library, if it is installed; to be called before Mesa's is loaded.

    Mesa's software driver makes the symbols of its LLVM global. Triton, which torch's optimizers import, has an LLVM
    of another version in it, and crashes the process when it comes second.
    """
    found = importlib.util.find_spec("triton")
    if found is None or found.origin is None:
        return
    for library in Path(found.origin).parent.glob("_C/libtriton*.so"):
        try:
            ctypes.CDLL(str(library))
        except OSError:
            continue  # it is broken, and will say so to whoever imports it


def _loads(*names: str) -> bool:
    for name in names:
        try:
            ctypes.CDLL(name)
            return True
        except OSError:
            continue
    return False


def _egl_has_device() -> bool:
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    except (OSError, AttributeError):
        return False
    if not address:
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32))(address)
    count = ctypes.c_int32(0)
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0


load_triton()
choose_backend()
try:
    import mujoco  # noqa: F401
except ModuleNotFoundError:
    raise
except (AttributeError, ImportError, OSError, RuntimeError) as error:  # a library that is missing
    raise RuntimeError(f"MUJOCO_GL={os.environ.get('MUJOCO_GL')} does not work ({error}): {MISSING}") from error
