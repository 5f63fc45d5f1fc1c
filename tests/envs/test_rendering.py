"""Which OpenGL is used, when its context is made, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import platform
import subprocess
import sys

import jepa_envs
import numpy as np
import pytest
from jepa_envs import gl, renderer
from jepa_envs.panda import HIGH, LOW, Panda

on_linux = pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has a choice")


@on_linux
@pytest.mark.parametrize(("egl", "osmesa", "chosen"), [(1, 1, "egl"), (0, 1, "osmesa"), (0, 0, "egl")])
def test_backend_is_egl_else_osmesa(monkeypatch: pytest.MonkeyPatch, egl: int, osmesa: int, chosen: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(gl, "_egl_has_device", lambda: bool(egl))
    monkeypatch.setattr(gl, "_loads", lambda *names: bool(osmesa))
    gl.choose_backend()
    assert os.environ["MUJOCO_GL"] == chosen


def test_the_users_backend_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    gl.choose_backend()
    assert os.environ["MUJOCO_GL"] == "glfw"


def test_without_opengl_one_line_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> type:
        raise ImportError("libEGL.so.1 not found")

    monkeypatch.setattr(renderer, "_context_class", broken)
    env = jepa_envs.make("panda_reach").unwrapped  # making it needs no OpenGL
    with pytest.raises(RuntimeError, match="libEGL.so.1 not found.*apt-get install libegl1") as caught:
        env.reset(seed=0)
    assert "\n" not in str(caught.value)
    env.close()


@on_linux
def test_an_opengl_that_mujoco_cannot_import_is_named_too() -> None:
    environment = {**os.environ, "MUJOCO_GL": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", "import jepa_envs.gl"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "MUJOCO_GL=nonsense does not work" in done.stderr.splitlines()[-1]
    assert "apt-get install libegl1" in done.stderr.splitlines()[-1]


def test_a_closed_renderer_opens_again_with_the_same_pixels() -> None:
    panda = Panda()
    panda.place((LOW + HIGH) / 2)
    camera = renderer.Renderer(panda.model, "front", 48)
    first = camera.render(panda.data)
    camera.close()
    camera.close()
    assert first.shape == (48, 48, 3) and first.std() > 20
    np.testing.assert_array_equal(camera.render(panda.data), first)
    camera.close()


def test_two_renderers_in_turn_do_not_disturb_each_other() -> None:
    low, high = Panda(), Panda()
    low.place(LOW)
    high.place(HIGH)
    small, large = renderer.Renderer(low.model, "front", 32), renderer.Renderer(high.model, "front", 64)
    first = small.render(low.data), large.render(high.data)
    second = small.render(low.data), large.render(high.data)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    small.close()
    large.close()


def _first_picture(queue: multiprocessing.Queue) -> None:
    env = jepa_envs.make("panda_reach")
    queue.put(env.reset(seed=5)[0]["front"])
    env.close()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes_draw_the_same(method: str) -> None:
    env = jepa_envs.make("panda_reach")
    expected = env.reset(seed=5)[0]["front"]
    env.close()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=_first_picture, args=(queue,))
    worker.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    worker.join(timeout=60)
    assert worker.exitcode == 0


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_can_be_imported_after_drawing() -> None:
    """Its LLVM and Mesa's do not go together in the other order: the process would die."""
    code = """
import jepa_envs
env = jepa_envs.make("panda_reach")
env.reset(seed=0)
import triton._C.libtriton
env.step(env.action_space.low)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
